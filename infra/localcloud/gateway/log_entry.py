"""One line of the access log, as listeners.py has it written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_SCOPE: Final = re.compile(
    r"(?:AWS4-HMAC-SHA256 Credential=)?(?P<account>[^/%]+)(?:/|%2F)\d{8}(?:/|%2F)(?P<region>[^/%]+)(?:/|%2F)"
    r"(?P<service>[^/%]+)(?:/|%2F|$)"
)
_REFUSED: Final = "no-tenant"
"""How the names of routes begin that turn a stranger away."""


@dataclass(frozen=True)
class Entry:
    """One request, as the gateway saw it. Unknown texts are empty."""

    time: float
    """Arrival, unix seconds."""
    listener: str
    method: str
    path: str
    """Without the query."""
    operation: str
    """The X-Amz-Target header, such as `SageMaker.CreateModel`."""
    status: int
    """0: the client left before the answer."""
    flags: str
    """Envoy's response flags: `DI` delayed by a fault, `UH` no healthy replica, `-` none."""
    bytes_in: int
    bytes_out: int
    seconds: float
    """From the first byte in to the last byte out."""
    upstream_seconds: float
    """Of these, spent in the replica or the part behind."""
    route: str
    cluster: str
    pool: str
    tenant: str
    """Empty when the request was refused or carried no scope."""
    region: str
    service: str
    """SigV4 name; `sagemaker-runtime` for invocations."""
    resource: str
    fault: str
    """Id of the fault that answered in place of the service."""
    request_id: str


def parse_line(line: bytes) -> Entry | None:
    """One request; None for a damaged line. A line that follows the rest of a torn one is found behind it."""
    start = 0
    while start >= 0:
        try:
            return _entry(json.loads(line[start:]))
        except (ValueError, KeyError, TypeError, AttributeError):
            start = line.find(b'{"', start + 1)
    return None


def _entry(raw: Mapping[str, Any]) -> Entry:
    labels = raw["labels"] or {}
    scope = _SCOPE.match(raw["scope"] or "")
    route = raw["route"] or ""
    tenant = labels.get("tenant") or (scope["account"] if scope else "")
    return Entry(
        time=float(raw["time"]),
        listener=raw["listener"],
        method=raw["method"] or "",
        path=raw["path"] or "",
        operation=raw["operation"] or "",
        status=int(raw["status"] or 0),
        flags=raw["flags"] or "-",
        bytes_in=int(raw["bytes_in"]),
        bytes_out=int(raw["bytes_out"]),
        seconds=(raw["total_us"] or 0) / 1e6,
        upstream_seconds=(raw["upstream_us"] or 0) / 1e6,
        route=route,
        cluster=raw["cluster"] or "",
        pool=raw["pool"] or "",
        tenant="" if route.startswith(_REFUSED) else tenant,
        region=labels.get("region") or (scope["region"] if scope else ""),
        service=labels.get("service") or (scope["service"] if scope else ""),
        resource=labels.get("resource", ""),
        fault=labels.get("fault", ""),
        request_id=raw["request_id"] or "",
    )
