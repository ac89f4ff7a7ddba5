"""Lambda functions for labs: what to pack, how to call them cold, and what they say about it.

Layers: https://docs.aws.amazon.com/lambda/latest/dg/python-layers.html. A layer here holds packages of this Python
environment, so a real account needs the same Python version and, for packages with compiled code, Linux on x86-64.
"""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import io
import json
import marshal
import os
import platform
import re
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labs.show import Progress
from labs.wait import wait_until

if TYPE_CHECKING:
    from labs.aws import Lab

MOST_UNPACKED_BYTES: Final = 262_144_000
"""Code and layers of a function together: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
RUNTIME: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
ROLE_NAME: Final = "LabFunctionRole"
COLD_VARIABLE: Final = "COLD_START"
_FORMAT: Final = 1
"""Part of a packed layer's name; raise it when what is packed changes."""
_LEFT_OUT: Final = re.compile(r"(^|/)(tests?|testing/data|__pycache__|include|datasets/(data|descr|images))/")
_LEFT_OUT_TYPES: Final = (".pyi", ".pyx", ".pxd", ".pxi", ".h", ".hpp", ".c", ".cpp", ".a", ".lib", ".pyc", ".build")
_UNCHECKED_HASH: Final = 0b01
"""Flags of bytecode that is taken without a look at its source: https://peps.python.org/pep-0552/. Time stamps do not
survive a zip, and functions may not write bytecode of their own."""
_READY_SECONDS: Final = 300
_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
_MAY: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": "arn:aws:logs:*:*:log-group:/aws/lambda/*",
        },
    ],
}


class PackingError(RuntimeError):
    """The function cannot be packed as asked for; the message says what to do."""


# --- Packing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """A packed layer on disk."""

    path: Path
    packages: tuple[str, ...]
    """Name and version of each."""
    unpacked_bytes: int

    @property
    def zipped_bytes(self) -> int:
        """What is uploaded."""
        return self.path.stat().st_size


def pack_code(**files: str | bytes | Path) -> bytes:
    """A function's zip; `pack_code(app_py=…, model_json=…)` holds app.py and model.json (the last `_` is the dot)."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            data = content.read_bytes() if isinstance(content, Path) else content
            archive.writestr(_entry(".".join(name.rsplit("_", 1))), data)
    return target.getvalue()


def pack_layer(*packages: str, folder: Path | None = None) -> Layer:
    """A layer of installed packages and all they need, with bytecode, without tests; packed once and kept.

    `folder` is where it is kept (default: beside the data). Raises PackingError when a package is missing or when all
    of it exceeds what Lambda takes.
    """
    found = _with_requirements(packages)
    pinned = tuple(f"{each.name}-{each.version}" for each in found)
    target = (folder or _data_folder()) / f"layer.v{_FORMAT}-{RUNTIME}-{'-'.join(packages)}-{_digest(pinned)}.zip"
    if not target.exists():
        with Progress(f"Packing {', '.join(packages)}", total=len(found)) as progress:
            _write_layer(found, target, progress)
    size = _unpacked_bytes(target)
    if size > MOST_UNPACKED_BYTES:
        raise PackingError(
            f"{', '.join(packages)} and what they need are {size:,} bytes unpacked; Lambda takes"
            f" {MOST_UNPACKED_BYTES:,}. Leave a package out, or use a container image."
        )
    return Layer(target, pinned, size)


def can_run_on_aws() -> bool:
    """Whether compiled packages of this machine run on Lambda's x86-64 machines."""
    return platform.system() == "Linux" and platform.machine() in ("x86_64", "AMD64")


def _with_requirements(packages: Iterable[str]) -> list[importlib.metadata.Distribution]:
    from packaging.requirements import Requirement

    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(packages)
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise PackingError(f"The package {name} is not installed in this environment. Run: ./lab env") from None
        requirements = map(Requirement, found[key].requires or ())
        waiting += [each.name for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]
    return [found[key] for key in sorted(found)]


def _write_layer(found: Iterable[importlib.metadata.Distribution], target: Path, progress: Progress) -> None:
    # By rename: another notebook may be packing the same.
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, distribution in enumerate(found):
            progress.update(number, detail=distribution.name)
            for name, path in _files(distribution):
                archive.writestr(_entry(f"python/{name}"), path.read_bytes())
                if path.suffix == ".py" and (bytecode := _bytecode(path)):
                    archive.writestr(_entry(f"python/{_cached(name)}"), bytecode)
    temporary.replace(target)


def _files(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for file in distribution.files or ():
        name, path = str(file), Path(str(distribution.locate_file(file)))
        left_out = name.startswith("..") or _LEFT_OUT.search(name) or name.endswith(_LEFT_OUT_TYPES)
        if not left_out and path.is_file():
            yield name, path


def _bytecode(path: Path) -> bytes | None:
    """Bytecode that does not depend on time stamps; None for a file that this Python cannot compile."""
    try:
        code = SourceFileLoader(path.stem, str(path)).get_code(path.stem)
    except SyntaxError:
        return None
    if code is None:
        return None
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little")
    return head + importlib.util.source_hash(path.read_bytes()) + marshal.dumps(code)


def _cached(name: str) -> str:
    return importlib.util.cache_from_source(name)


def _entry(name: str) -> zipfile.ZipInfo:
    """The same bytes for the same content: no time of packing. Readable by all, as Lambda wants it."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _unpacked_bytes(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(each.file_size for each in archive.infolist())


def _digest(texts: Iterable[str]) -> str:
    from hashlib import sha256

    return sha256("\n".join(texts).encode()).hexdigest()[:12]


def _data_folder() -> Path:
    from labs import home

    return home.folder() / "data"


# --- Calling --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """What the REPORT line of an invocation says."""

    duration_ms: float
    billed_ms: int
    memory_mb: int
    used_mb: int
    init_ms: float | None
    """None on a warm call, and where the environment was started beforehand."""
    line: str


@dataclass(frozen=True)
class Call:
    """One invocation, as its caller saw it."""

    client_ms: float
    payload: Any
    report: Report


class FunctionFailedError(RuntimeError):
    """The function raised or was stopped; the message holds the end of its log."""


class WarmError(RuntimeError):
    """A first call found an environment that was there already."""


def read_report(log: str) -> Report:
    """The figures of the last REPORT line in a log; ValueError when there is none.

    Fields: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
    """
    lines = [line for line in log.splitlines() if line.startswith("REPORT ")]
    if not lines:
        raise ValueError("There is no REPORT line in this log. Was the function invoked with LogType='Tail'?")
    parts = [part.partition(": ") for part in lines[-1].removeprefix("REPORT ").split("\t")]
    fields = {name.strip(): value.split()[0] for name, _, value in parts if value.split()}
    init = fields.get("Init Duration")
    return Report(
        float(fields["Duration"]), int(fields["Billed Duration"]), int(fields["Memory Size"]),
        int(fields["Max Memory Used"]), float(init) if init else None, lines[-1],
    )  # fmt: skip


def call(lab: Lab, function: str, event: Any, *, qualifier: str | None = None) -> Call:
    """Invoke once and wait; the client's clock runs from before the request until the answer has been read."""
    options = {"Qualifier": qualifier} if qualifier else {}
    client, body = lab.client("lambda", retries=0), json.dumps(event).encode()
    began = time.perf_counter()
    answer = client.invoke(FunctionName=function, Payload=body, LogType="Tail", **options)
    payload = answer["Payload"].read()
    elapsed = (time.perf_counter() - began) * 1000
    log = base64.b64decode(answer["LogResult"]).decode(errors="replace")
    if "FunctionError" in answer:
        raise FunctionFailedError(f"{function}: {payload.decode(errors='replace')}\n{log}")
    return Call(elapsed, json.loads(payload), read_report(log))


def make_cold(lab: Lab, function: str, mark: str) -> None:
    """Change the function's configuration, so that the next call cannot use an environment that exists."""
    _change(lab, function, mark)
    wait_active(lab, function)


def _change(lab: Lab, function: str, mark: str) -> None:
    functions = lab.client("lambda")
    known = functions.get_function_configuration(FunctionName=function).get("Environment", {}).get("Variables", {})
    variables = {**known, COLD_VARIABLE: mark}
    functions.update_function_configuration(FunctionName=function, Environment={"Variables": variables})


def first_calls(
    lab: Lab, functions: Mapping[str, str], event: Any, repetitions: Mapping[str, int]
) -> dict[str, list[Call]]:
    """First calls of cold functions (label to name), in turns, so that whatever disturbs hits all of them alike.

    Raises WarmError when a call was not cold: then nothing was measured.
    """
    found: dict[str, list[Call]] = {label: [] for label in functions}
    with Progress("Cold starts", total=sum(repetitions[label] for label in functions)) as progress:
        for turn in range(max(repetitions[label] for label in functions)):
            labels = [label for label in functions if turn < repetitions[label]]
            for label in labels:
                _change(lab, functions[label], str(turn))
            for label in labels:
                progress.update(sum(map(len, found.values())), detail=label)
                wait_active(lab, functions[label])
                found[label].append(_cold(label, call(lab, functions[label], event)))
    return found


def _cold(label: str, one: Call) -> Call:
    if one.report.init_ms is None:
        raise WarmError(f"{label} answered warm, so no cold start was measured. Is somebody else calling it?")
    return one


def wait_active(lab: Lab, function: str) -> None:
    """Until a function that was made or changed can be called; raises RuntimeError when that failed."""

    def is_ready() -> bool:
        found = lab.client("lambda").get_function_configuration(FunctionName=function)
        if "Failed" in (found.get("State"), found.get("LastUpdateStatus")):
            raise RuntimeError(f"{function}: {found.get('StateReason') or found.get('LastUpdateStatusReason')}")
        return (found.get("State"), found.get("LastUpdateStatus", "Successful")) == ("Active", "Successful")

    wait_until(is_ready, _READY_SECONDS, f"Waiting for {function}", every=_every(lab), quiet=True)


def publish_versions(lab: Lab, function: str, count: int) -> list[str]:
    """Publish `count` versions that differ in configuration only, so that each has environments of its own."""
    published = []
    for number in range(count):
        make_cold(lab, function, f"version {number}")
        published.append(str(lab.client("lambda").publish_version(FunctionName=function)["Version"]))
    return published


def provision(lab: Lab, function: str, qualifiers: Iterable[str], count: int = 1) -> None:
    """Have `count` environments of each version started beforehand, and wait until they are."""
    functions, names = lab.client("lambda"), list(qualifiers)
    for qualifier in names:
        functions.put_provisioned_concurrency_config(
            FunctionName=function, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
        )

    def status(qualifier: str) -> str:
        found = functions.get_provisioned_concurrency_config(FunctionName=function, Qualifier=qualifier)
        if found["Status"] == "FAILED":
            raise RuntimeError(f"{function}:{qualifier} was not provisioned: {found.get('StatusReason')}")
        return str(found["Status"])

    def are_ready() -> bool:
        return all(status(qualifier) == "READY" for qualifier in names)

    wait_until(are_ready, _READY_SECONDS, "Starting environments beforehand", every=_every(lab))


def release(lab: Lab, function: str, qualifiers: Iterable[str]) -> None:
    """Stop holding environments of these versions; until then they cost money, used or not."""
    for qualifier in qualifiers:
        lab.client("lambda").delete_provisioned_concurrency_config(FunctionName=function, Qualifier=qualifier)


# --- What is around a function --------------------------------------------------------------------------------------


def role(lab: Lab) -> str:
    """The ARN of the role that functions run with: it may write their logs, nothing else. Made when there is none."""
    from labs.aws import ignoring

    iam = lab.client("iam")
    lab.track("iam", "role", ROLE_NAME)
    ignoring(
        "EntityAlreadyExists", iam.create_role, RoleName=ROLE_NAME, Tags=lab.tags,
        AssumeRolePolicyDocument=json.dumps(_TRUST),
    )  # fmt: skip
    iam.put_role_policy(RoleName=ROLE_NAME, PolicyName="logs", PolicyDocument=json.dumps(_MAY))
    return f"arn:aws:iam::{lab.account}:role/{ROLE_NAME}"


def create_function(lab: Lab, name: str, **settings: Any) -> str:
    """CreateFunction, then wait until it is active; returns its ARN.

    A real account needs some seconds until Lambda may assume a new role; until then the call is repeated.
    """
    from botocore.exceptions import ClientError

    functions, tags = lab.client("lambda"), {each["Key"]: each["Value"] for each in lab.tags}
    defaults = {"Runtime": RUNTIME, "Role": role(lab), "Timeout": 30, "Tags": tags}
    lab.track("lambda", "function", name)

    def is_made() -> bool:
        try:
            functions.create_function(FunctionName=name, **{**defaults, **settings})
        except ClientError as error:
            if "cannot be assumed by Lambda" in str(error):
                return False
            raise
        return True

    wait_until(is_made, 60, f"Waiting for the role of {name}", every=_every(lab), quiet=True)
    wait_active(lab, name)
    return arn(lab, name)


def publish_layer(lab: Lab, name: str, layer: Layer) -> str:
    """Upload a layer by way of S3 (a zip sent directly may have 50 MB) and publish it; returns the version's ARN."""
    if lab.target == "aws" and not can_run_on_aws():
        raise PackingError("Compiled packages of this machine do not run on Lambda. Run this lab on Linux, x86-64.")
    key = f"{lab.prefix}/{layer.path.name}"
    lab.track("lambda", "layer", name)
    lab.client("s3").upload_file(str(layer.path), lab.bucket, key)
    published = lab.client("lambda").publish_layer_version(
        LayerName=name, Content={"S3Bucket": lab.bucket, "S3Key": key}, CompatibleRuntimes=[RUNTIME]
    )
    return str(published["LayerVersionArn"])


def arn(lab: Lab, function: str) -> str:
    """A function's ARN by its name."""
    return f"arn:aws:lambda:{lab.region}:{lab.account}:function:{function}"


def integration_uri(lab: Lab, function_arn: str) -> str:
    """How API Gateway names a function that it calls, as integration or as authorizer."""
    return f"arn:aws:apigateway:{lab.region}:lambda:path/2015-03-31/functions/{function_arn}/invocations"


def allow_gateway(lab: Lab, function_arn: str, api: str) -> None:
    """Let an API call a function: a statement in the function's own policy."""
    lab.client("lambda").add_permission(
        FunctionName=function_arn, StatementId=f"api-{api}", Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com", SourceArn=f"arn:aws:execute-api:{lab.region}:{lab.account}:{api}/*",
    )  # fmt: skip


def url(lab: Lab, api: str, stage: str, path: str = "") -> str:
    """Where a REST API answers. Locally all APIs share one address, so the API's id is in the path."""
    if lab.target == "aws":
        return f"https://{api}.execute-api.{lab.region}.amazonaws.com/{stage}{path}"
    return f"{os.environ['AWS_ENDPOINT_URL']}/restapis/{api}/{stage}/_user_request_{path}"


def _every(lab: Lab) -> float:
    return 0.02 if lab.target == "local" else 2.0
