"""What a facade asks of the runtime: plain data, no provider names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from localcloud.gateway.spec import Route


@dataclass(frozen=True)
class Limits:
    """What a process group may use. None means no limit."""

    wall_seconds: float | None = None
    memory_bytes: int | None = None
    """Resident memory of the whole group, sampled."""
    log_bytes: int | None = 1 << 30
    stop_grace_seconds: float = 30.0
    """Between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class JobSpec:
    """One process that runs to an end under its own shim. `folder` identifies the run."""

    folder: Path
    """Holds spec.json, status.json and whatever the facade put there; exists."""
    command: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment: nothing is inherited."""
    working_folder: Path
    log: Path
    """stdout and stderr, appended."""
    limits: Limits = Limits()


JobState = Literal["pending", "running", "ended"]
EndReason = Literal["exit", "stopped", "wall-time", "memory", "log-size", "cannot-start", "shim-killed"]


@dataclass(frozen=True)
class JobStatus:
    """What the shim last wrote. Times are unix seconds."""

    state: JobState
    reason: EndReason | None = None
    """Why it ended; `exit` when the process ended by itself."""
    exit_code: int | None = None
    """As a shell reports it: 128 + signal for a signal."""
    started: float | None = None
    ended: float | None = None
    peak_memory_bytes: int = 0
    message: str = ""


@dataclass(frozen=True)
class Billing:
    """How the seconds of a replica enter the ledger."""

    provider: str
    service: str
    sku: str
    resource: str


@dataclass(frozen=True)
class Pool:
    """Replicas of one kind inside a revision (SageMaker: a production variant)."""

    name: str
    command: tuple[str, ...]
    """`{port}` and `{folder}` are replaced per replica."""
    env: Mapping[str, str]
    replicas: int
    weight: int
    health_path: str
    billing: Billing
    log: Path
    """Folder; each replica appends to `<replica id>.log` there."""
    limits: Limits = Limits()
    start_seconds: float = 60.0
    """A replica not healthy after this long has failed to start."""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    """Added by the gateway to every answer of this pool."""


@dataclass(frozen=True)
class DeploymentSpec:
    """What should serve: one revision's pools and the route that leads to them."""

    id: str
    """Unique on this machine, `[a-z0-9-]`, at most 100 characters."""
    tenant: str
    region: str
    route: Route
    pools: tuple[Pool, ...]


DeploymentState = Literal["creating", "in-service", "updating", "failed", "deleting"]


@dataclass(frozen=True)
class PoolStatus:
    """Replicas that should be and that are healthy, and the traffic weight in force."""

    name: str
    desired: int
    healthy: int
    weight: int


@dataclass(frozen=True)
class DeploymentStatus:
    """A deployment as it is now. `failed` with healthy pools means: the update failed, the old revision serves on."""

    state: DeploymentState
    revision: int
    """The revision that serves (0: none yet)."""
    pools: tuple[PoolStatus, ...]
    reason: str = ""
    """Why it failed: the cause and the end of the replica's log."""
    updated: float = 0.0
