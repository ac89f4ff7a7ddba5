"""Jobs: processes that run to an end, each under its own shim, so that they survive whoever started them.

A job is its folder: spec.json (what to run), lock (held by the shim while it lives), status.json (what the shim last
reported), stop.json (somebody wants it stopped).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from localcloud.runtime import process, procfs, shim
from localcloud.runtime.spec import EndReason, JobSpec, JobStatus

_POLL_SECONDS: Final = 0.02
_FIELDS: Final = tuple(JobStatus.__dataclass_fields__)
# Without the site module the shim starts in half the time; elsewhere it needs site-packages for psutil.
_SHIM: Final = (sys.executable, "-I", *(("-S",) if procfs.LINUX else ()), str(Path(shim.__file__)))


def start(spec: JobSpec) -> None:
    """Start the job, unless it was started before. Returns as soon as the shim runs; raises OSError if it cannot."""
    folder = spec.folder
    with _locked(folder) as lock:
        if lock is None or (folder / "status.json").exists():
            return
        if (folder / "spec.json").exists():  # an earlier shim was killed before it could report
            _kill_leftovers(folder)
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        shim.write_json(str(folder / "spec.json"), _as_json(spec))
        process.spawn(
            (*_SHIM, str(folder), str(lock)),
            env={},
            cwd=folder,
            log=folder / "shim.log",
            token=process.new_token(_scope(folder)),
            pass_fds=(lock,),
        )


def status(folder: Path) -> JobStatus:
    """What the shim last reported. Finds out, and reports, when the shim was killed; then kills the job's processes."""
    report = _report(folder)
    if report is None:
        return JobStatus("pending")
    if report["state"] == "running":
        report = _after_a_killed_shim(folder) or report
    return JobStatus(**{name: report[name] for name in _FIELDS if name in report})


def stop(folder: Path, reason: EndReason = "stopped") -> None:
    """Ask the shim to end the job: SIGTERM, the grace of its limits, SIGKILL. Returns at once.

    A job that has not started yet never will; for one that has ended nothing changes.
    """
    if not (folder / "stop.json").exists():
        shim.write_json(str(folder / "stop.json"), {"reason": reason})
    keeper = shim_identity(folder)
    if keeper is not None and process.is_alive(keeper):
        process.signal_pid(keeper.pid, signal.SIGTERM)


def wait(folder: Path, timeout: float) -> JobStatus:
    """The status when the job has ended, or after `timeout` seconds whatever it is then."""
    deadline = time.monotonic() + timeout
    while True:
        found = status(folder)
        if found.state == "ended" or time.monotonic() >= deadline:
            return found
        time.sleep(_POLL_SECONDS)


def shim_identity(folder: Path) -> process.Identity | None:
    """The shim of a job that has started; None before."""
    report = _report(folder)
    return process.Identity(**report["shim"]) if report and "shim" in report else None


def main_identity(folder: Path) -> process.Identity | None:
    """The job's own first process; None before it has started."""
    report = _report(folder)
    return process.Identity(**report["main"]) if report and "main" in report else None


def _after_a_killed_shim(folder: Path) -> dict[str, Any] | None:
    """The final report when nobody holds the lock any more; None while somebody does."""
    with _locked(folder) as lock:
        if lock is None:
            return None
        report = _report(folder)
        if report is None or report["state"] == "ended":
            return report
        last_sign_of_life = os.fstat(lock).st_mtime
        killed = process.members(main) if (main := main_identity(folder)) else []
        _kill_leftovers(folder)
        report.update(
            state="ended",
            reason="shim-killed",
            ended=time.time() if killed else last_sign_of_life,
            message="The process that looks after the job was killed, and the job with it.",
        )
        shim.write_json(str(folder / "status.json"), report)
        return report


def _kill_leftovers(folder: Path) -> None:
    main = main_identity(folder)
    if main is not None:
        process.kill_all(main)
    while left := process.find_by_token(_scope(folder)):
        for pid in left:
            process.signal_pid(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _report(folder: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError):
        found: dict[str, Any] = json.loads((folder / "status.json").read_text())
        return found
    return None


def _scope(folder: Path) -> str:
    return f"job-{process.digest(str(folder.resolve()))}"


def _as_json(spec: JobSpec) -> dict[str, Any]:
    return {
        "command": list(spec.command),
        "env": dict(spec.env),
        "working_folder": str(spec.working_folder),
        "log": str(spec.log),
        "limits": asdict(spec.limits),
    }


@contextmanager
def _locked(folder: Path) -> Iterator[int | None]:
    """The exclusive lock on the folder, or None when somebody else has it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor if _lock(descriptor) else None
    finally:
        os.close(descriptor)  # frees the lock, unless a shim has inherited it


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
