"""Which runtimes there are, and the process that executes a function of one: its command and its environment."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from localcloud.aws.functions import packages, runtime_client

SUPPORTED: Final = ("python3.11", "python3.12", "python3.13")
"""All of them are executed by this interpreter; what is not here is refused."""
CLIENT_VARIABLE: Final = "LAB_LAMBDA_RUNTIME_CLIENT"
"""`awslambdaric` or `python` (our own); by default the official one where it is installed."""
RESERVED_VARIABLES: Final = frozenset({
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
})  # fmt: skip
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
_NOWHERE: Final = "http://127.0.0.1:9"


@dataclass(frozen=True)
class FunctionVersion:
    """All that decides what an execution environment looks like; equal ones are interchangeable."""

    account: str
    region: str
    name: str
    version: str
    runtime: str
    handler: str
    memory_mb: int
    timeout: float
    """Seconds."""
    architecture: str
    ephemeral_mb: int
    code: Path
    layers: tuple[Path, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    log_group: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Account, region, name and version."""
        return self.account, self.region, self.name, self.version


@dataclass(frozen=True)
class Platform:
    """What all functions share."""

    runtime_packages: Path
    endpoint: str
    """The gateway's URL: what functions call goes through routing, faults and metering."""
    secret: str
    marks: Mapping[str, str] = field(default_factory=dict)
    """Variables by which the local cloud finds its processes."""


def command(handler: str) -> Sequence[str]:
    """-S: nothing of what is installed here is visible, except through PYTHONPATH."""
    client = [runtime_client.__file__] if uses_own_client() else ["-m", packages.OFFICIAL_CLIENT]
    return [sys.executable, "-S", *client, handler]


def uses_own_client() -> bool:
    """Whether the runtime is ours rather than awslambdaric; KeyError names the choices."""
    chosen = os.environ.get(CLIENT_VARIABLE) or ""
    if chosen not in ("", "python", packages.OFFICIAL_CLIENT):
        raise KeyError(f"{CLIENT_VARIABLE}={chosen} is unknown. Use {packages.OFFICIAL_CLIENT} or python.")
    return chosen == "python" or not packages.has_official_client()


def environment(
    function: FunctionVersion, shared: Platform, *, api_port: int, stream: str, initialization: str, tmp: Path
) -> dict[str, str]:
    """Everything that the function's process has in its environment
    (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)."""
    own = dict(function.variables)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",  # AWS mounts the code read-only: what comes without bytecode is compiled anew
        "TMPDIR": str(tmp),
        **own,
        "PYTHONPATH": _path(function, shared, own.get("PYTHONPATH")),
        "LD_LIBRARY_PATH": os.pathsep.join(str(layer / "lib") for layer in function.layers),
        "_HANDLER": function.handler,
        "LAMBDA_TASK_ROOT": str(function.code),
        "LAMBDA_RUNTIME_DIR": str(shared.runtime_packages),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api_port}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization,
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_ACCESS_KEY_ID": function.account,
        "AWS_SECRET_ACCESS_KEY": shared.secret,
        "AWS_ENDPOINT_URL": shared.endpoint,
        **_STAYS_HERE,
        **shared.marks,
    }


def description() -> str:
    """The interpreter behind every runtime."""
    return f"Python {platform.python_version()}"


def _path(function: FunctionVersion, shared: Platform, own: str | None) -> str:
    """As on AWS: the task root first (also with our client), then layers, then the runtime's packages."""
    found = [function.code]
    for layer in function.layers:
        found += [layer / "python" / "lib" / function.runtime / "site-packages", layer / "python"]
    return os.pathsep.join([*([own] if own else []), *map(str, [*found, shared.runtime_packages])])


_STAYS_HERE: Final = {
    "HTTP_PROXY": _NOWHERE, "HTTPS_PROXY": _NOWHERE, "http_proxy": _NOWHERE, "https_proxy": _NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip
