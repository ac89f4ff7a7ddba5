"""What the runtime and the facades ask of the gateway: plain data, no Envoy JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """An answer that the gateway gives by itself, in the vendor's own shape."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Includes content-type."""


@dataclass(frozen=True)
class Route:
    """How requests find a deployment: listener, path and headers, all of which must match."""

    listener: str
    """`aws`."""
    path: str
    """Exact path."""
    header_prefixes: Mapping[str, str] = field(default_factory=dict)
    """Header (lower case) to the prefix its value must have."""
    header_contains: Mapping[str, str] = field(default_factory=dict)
    pin_header: str | None = None
    """A header whose value names the pool that must answer."""
    rewrite_path: str | None = None
    """The path the replica sees."""
    timeout_seconds: float = 60.0
    max_body_bytes: int | None = None
    too_large: Reply | None = None
    """The answer when content-length exceeds max_body_bytes."""
    unknown_pin: Reply | None = None
    """The answer when pin_header names no pool."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Written to the access log: tenant, region, service, resource."""


@dataclass(frozen=True)
class Cluster:
    """Replicas of one pool of one revision. The name carries the revision and is never used again."""

    name: str
    endpoints: tuple[tuple[str, int], ...]
    """Host and port of each replica."""
    health_path: str


@dataclass(frozen=True)
class Target:
    """A share of a route's traffic."""

    pool: str
    cluster: str
    weight: int
    response_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Publication:
    """Everything the gateway must know to serve one deployment."""

    id: str
    route: Route
    clusters: tuple[Cluster, ...]
    targets: tuple[Target, ...]
    """Weights may sum to anything above 0."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong on purpose between `start` and `end` (unix seconds; None: until cleared)."""

    id: str
    kind: str
    """`error` (answer `status` to a share of requests), `latency` (delay them), `outage` (all fail), `kill`,
    `spot-reclaim`."""
    service: str | None = None
    """SigV4 service name, with `sagemaker-runtime` for the data plane; None: all."""
    region: str | None = None
    tenant: str | None = None
    percent: float = 100.0
    status: int = 503
    delay_seconds: float = 0.0
    target: str | None = None
    """For `kill` and `spot-reclaim`: the job or endpoint."""
    start: float = 0.0
    end: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For the control API."""
        return dict(vars(self))
