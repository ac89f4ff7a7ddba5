"""What a training job leaves behind: artifacts in S3, metrics, and the reason of a failure."""

from __future__ import annotations

import re
import shutil
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from localcloud.aws.sagemaker import python_environment
from localcloud.aws.sagemaker.job_instances import Attempt
from localcloud.aws.sagemaker.s3_transfer import Location, files_in, put
from localcloud.aws.sagemaker.training_files import InstanceFolder
from localcloud.aws.sagemaker.training_status import REASON_LENGTH
from localcloud.runtime.process import log_tail
from localcloud.runtime.spec import JobStatus

_ERROR_LINE: Final = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b.*", re.MULTILINE)
_WRAPPER: Final = "CalledProcessError"
_TAIL_LENGTH: Final = 700


def upload(attempt: Attempt, with_model: bool) -> None:
    """Upload /opt/ml/model and /opt/ml/output/data of all instances; empty ones leave nothing, as on AWS."""
    folders = list(attempt.folders.values())
    if with_model:
        _upload_folders(attempt, [folder.model for folder in folders], "model")
    _upload_folders(attempt, [folder.output for folder in folders], "output")


def _upload_folders(attempt: Attempt, folders: list[Path], name: str) -> None:
    files = _merged(folders)
    if not files:
        return
    base = Location.parse(attempt.job["_output"])
    if attempt.job["OutputDataConfig"].get("CompressionType") == "NONE":
        for path, file in files.items():
            put(attempt.s3(), file, Location(base.bucket, f"{base.key}/{name}/{path}"))
        return
    archive = attempt.folders["algo-1"].root / f"{name}.tar.gz"
    _pack(files, archive)
    put(attempt.s3(), archive, Location(base.bucket, f"{base.key}/{archive.name}"))
    archive.unlink()


def _merged(folders: list[Path]) -> dict[str, Path]:
    """Files of all instances by relative path; where two have the same, the first instance's counts."""
    merged: dict[str, Path] = {}
    for folder in folders:
        for file in files_in(folder) if folder.is_dir() else ():
            merged.setdefault(file.relative_to(folder).as_posix(), file)
    return dict(sorted(merged.items()))


def _pack(files: dict[str, Path], archive: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name, file in files.items():
            member = tar.gettarinfo(str(file), arcname=name)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            if member.isreg():
                with file.open("rb") as data:
                    tar.addfile(member, data)
            elif member.issym():
                tar.addfile(member)


def failure_reason(folder: InstanceFolder, host: str, status: JobStatus) -> str:
    """The FailureReason of one instance that did not end well."""
    if status.reason == "memory":
        return (
            "ClientError: Please use an instance type with more memory, or reduce the size of training data processed"
            f" on an instance. {host}: {status.message}, exit code: 137"
        )
    if status.reason == "shim-killed":
        return f"InternalServerError: {host} was lost: {status.message} Create the training job again."
    if status.reason == "stopped":  # nobody asked SageMaker: the whole cloud was taken down
        return f"InternalServerError: {host} was stopped with the cloud (lab down). Create the training job again."
    if status.reason in ("cannot-start", "log-size"):
        return f"ClientError: {host}: {folder.vendor(status.message)}"
    return _algorithm_error(folder, status)


def _algorithm_error(folder: InstanceFolder, status: JobStatus) -> str:
    tail = log_tail(folder.log, lines=60)
    own = folder.failure.read_text(errors="replace").strip() if folder.failure.is_file() else ""
    hint = python_environment.explained(tail)
    text = " ".join(part for part in (hint, own or _without_trace(tail)) if part)
    last = _last_error(tail)
    if own and last and last not in own:
        text = f"{last}\n{text}"
    ending = f", exit code: {status.exit_code}"
    room = REASON_LENGTH - len("AlgorithmError: ") - len(ending)
    return f"AlgorithmError: {folder.vendor(text)[:room]}{ending}"


def _last_error(tail: str) -> str:
    found = [line for line in _ERROR_LINE.findall(tail) if _WRAPPER not in line]
    return found[-1] if found else ""


def _without_trace(tail: str) -> str:
    """The end of a log without the lines that `set -x` prints."""
    return "\n".join(line for line in tail.splitlines() if not line.startswith("+"))[-_TAIL_LENGTH:]


class MetricReader:
    """Finds metrics in log lines. `latest` holds the last value of each, in the order of their definitions."""

    def __init__(self, job: dict[str, Any]) -> None:
        definitions = job["AlgorithmSpecification"].get("MetricDefinitions") or []
        self._patterns = [(each["Name"], re.compile(each["Regex"])) for each in definitions]
        self._latest = {each["MetricName"]: each for each in job.get("FinalMetricDataList", [])}
        self.fresh: list[dict[str, Any]] = []
        """Found since the last `take`."""

    def read(self, lines: Sequence[str]) -> bool:
        """Look at lines; True when something was found."""
        found = False
        for name, pattern in self._patterns:
            for line in lines:
                match = pattern.search(line)
                value = _number(match.group(1)) if match else None
                if value is not None:
                    found = True
                    self._latest[name] = {"MetricName": name, "Value": value, "Timestamp": time.time()}
                    self.fresh.append(self._latest[name])
        return found

    @property
    def final(self) -> list[dict[str, Any]]:
        """FinalMetricDataList."""
        return [self._latest[name] for name, _ in self._patterns if name in self._latest]

    def take(self) -> list[dict[str, Any]]:
        """What was found since the last call."""
        taken, self.fresh = self.fresh, []
        return taken


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def clear(attempt: Path) -> None:
    """Free the disk of one attempt; logs stay."""
    for folder in attempt.glob("*"):
        InstanceFolder(folder).clear()


def remove(folder: Path) -> None:
    """Remove a job's folder with everything in it."""
    shutil.rmtree(folder, ignore_errors=True)
