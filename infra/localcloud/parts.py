"""What the local cloud is made of: each part's command, environment and readiness probe."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from localcloud.gateway.gateway import Gateway
from localcloud.home import Home

CONTROL_PLANE: Final = "controlplane"
MINISTACK: Final = "ministack"
ENVOY: Final = "envoy"

HOME_VARIABLE: Final = "LAB_CLOUD_HOME"
PORTS_VARIABLE: Final = "LAB_CLOUD_PORTS"
PART_VARIABLE: Final = "LAB_CLOUD_PART"
"""In the environment of every part: whose it is, so that it is found again when the state file is lost."""

_NOWHERE: Final = "http://127.0.0.1:9"
"""Loopback's discard port: whatever tries to leave the machine through a proxy fails at once."""
_STAYS_HERE: Final = {
    "HTTP_PROXY": _NOWHERE, "HTTPS_PROXY": _NOWHERE, "ALL_PROXY": _NOWHERE,
    "http_proxy": _NOWHERE, "https_proxy": _NOWHERE, "all_proxy": _NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "DO_NOT_TRACK": "1", "SAGEMAKER_TELEMETRY_OPT_OUT": "1",
}  # fmt: skip
_INHERITED: Final = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "SSL_CERT_FILE",
    "LAB_LAMBDA_RUNTIME_CLIENT",
)  # fmt: skip
_INHERITED_PREFIXES: Final = ("PIP_", "UV_")
"""Where a job's `requirements=` come from is the user's choice."""


@dataclass(frozen=True)
class Part:
    """A process that the supervisor keeps running."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    """Called before each start."""


def all_parts(home: Home, ports: Mapping[str, int]) -> tuple[Part, ...]:
    """Every part, in the order in which they are started (none waits for another)."""
    gateway = Gateway(home, ports)
    return (
        Part(
            MINISTACK,
            _python("localcloud.aws.ministack"),
            _answers(ports["ministack"], "/_ministack/health"),
        ),
        Part(
            ENVOY,
            tuple(gateway.command()),
            _answers(ports["envoy_admin"], "/ready"),
            prepare=gateway.write_bootstrap,
        ),
        Part(
            CONTROL_PLANE,
            _python("localcloud", "controlplane", "--home", str(home.root)),
            _answers(ports["control"], "/_lab/health"),
        ),
    )


def environment(home: Home, ports: Mapping[str, int], part: Part) -> dict[str, str]:
    """The whole environment of a part: little of the user's, nothing that leads off the machine."""
    own = {
        HOME_VARIABLE: str(home.root),
        PART_VARIABLE: part.name,
        PORTS_VARIABLE: format_ports(ports),
        "LAB_HOME": str(home.root),
        "PYTHONUNBUFFERED": "1",
    }
    return inherited() | _STAYS_HERE | own | dict(part.env)


def inherited() -> dict[str, str]:
    """What a process of the cloud may know of the user's environment."""
    return {k: v for k, v in os.environ.items() if k in _INHERITED or k.startswith(_INHERITED_PREFIXES)}


def format_ports(ports: Mapping[str, int]) -> str:
    """Such as `aws=4566,control=20313`."""
    return ",".join(f"{name}={port}" for name, port in ports.items())


def parse_ports(text: str) -> dict[str, int]:
    """The inverse of format_ports; raises ValueError."""
    pairs = (item.split("=", 1) for item in text.split(",") if item)
    return {name: int(port) for name, port in pairs}


def _python(*arguments: str) -> tuple[str, ...]:
    # -P: the current folder must not shadow modules.
    return (sys.executable, "-P", "-m", *arguments)


def _answers(port: int, path: str) -> Callable[[], bool]:
    """A probe: GET returns 200 within half a second."""

    def probe() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return probe
