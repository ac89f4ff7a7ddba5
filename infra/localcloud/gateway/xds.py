"""Envoy's dynamic configuration: files that it watches, and the proof that it has taken them.

An update is a DiscoveryResponse written by rename; Envoy acknowledges it by showing its version in a `version_text`
metric. https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/xds_api#filesystem-subscriptions
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from localcloud.gateway.admin import Admin, EnvoyDownError
from localcloud.gateway.errors import GatewayError
from localcloud.home import write_atomically

Json = dict[str, Any]

ACKNOWLEDGE_SECONDS: Final = 15.0
"""Long enough for a restart of Envoy on a busy machine."""
_POLL_SECONDS: Final = 0.004
_REASON_SECONDS: Final = 2.0
_CONFIG: Final = "type.googleapis.com/envoy.config."
_ROUTES: Final = f"{_CONFIG}route.v3.RouteConfiguration"
_CLUSTERS: Final = f"{_CONFIG}cluster.v3.Cluster"
_ENDPOINTS: Final = f"{_CONFIG}endpoint.v3.ClusterLoadAssignment"


class RejectedError(GatewayError):
    """Envoy refused an update; the message is its own."""


@dataclass(frozen=True)
class Update:
    """New content of one watched file. `metrics` is the prefix of the metrics that acknowledge it."""

    path: Path
    resources: list[Json]
    metrics: str


class XdsFiles:
    """Names and contents of the watched files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "xds"

    @property
    def clusters(self) -> Path:
        """All deployments' clusters."""
        return self._folder / "clusters.json"

    def routes(self, listener: str) -> Path:
        """A listener's route table."""
        return self._folder / f"routes-{listener}.json"

    def endpoints(self, cluster: str) -> Path:
        """A cluster's replicas."""
        return self._folder / "endpoints" / f"{cluster}.json"

    def route_update(self, table: Json) -> Update:
        """Replace a listener's route table."""
        name = table["name"]
        return Update(self.routes(name), [{"@type": _ROUTES} | table], f"http.{name}.rds.{name}")

    def cluster_update(self, clusters: Iterable[Json]) -> Update:
        """Replace the set of clusters."""
        return Update(self.clusters, [{"@type": _CLUSTERS} | c for c in clusters], "cluster_manager.cds")

    def endpoint_update(self, assignment: Json) -> Update:
        """Replace the replicas of one cluster."""
        name = assignment["cluster_name"]
        return Update(self.endpoints(name), [{"@type": _ENDPOINTS} | assignment], f"cluster.{name}")

    def clusters_on_disk(self) -> dict[str, Json]:
        """The clusters Envoy was last told of, by name."""
        found = _resources(self.clusters) or []
        return {c["name"]: {k: v for k, v in c.items() if k != "@type"} for c in found}

    def repair(self, tables: Mapping[str, Json]) -> None:
        """Make every file that Envoy needs to start; complete files stay as they are."""
        with self.locked():
            for name, table in tables.items():
                if _resources(self.routes(name)) is None:
                    _write(self.route_update(table), version=1)
            known = self.clusters_on_disk()
            # One cluster whose endpoints are missing makes Envoy refuse all of them.
            complete = [c for name, c in known.items() if _resources(self.endpoints(name)) is not None]
            if _resources(self.clusters) is None or len(complete) < len(known):
                _write(self.cluster_update(complete), version=1)

    def write(self, update: Update, version: int) -> None:
        """Replace a watched file by rename."""
        with self.locked():
            _write(update, version)

    def forget_endpoints(self, cluster: str) -> None:
        """Delete a cluster's file; Envoy must have let go of the cluster before."""
        with self.locked():
            self.endpoints(cluster).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other processes off: the supervisor repairs what the control plane writes."""
        self.endpoints("any").parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _write(update: Update, version: int) -> None:
    text = json.dumps({"version_info": str(version), "resources": update.resources})
    write_atomically(update.path, text)


class Delivery:
    """Writes updates and waits until Envoy has taken them. Not thread-safe: one writer at a time."""

    def __init__(self, files: XdsFiles, admin: Admin, envoy_log: Path, patience: float = ACKNOWLEDGE_SECONDS) -> None:
        self._files = files
        self._admin = admin
        self._patience = patience
        self._log = envoy_log
        self._version = 0

    def send(self, update: Update) -> None:
        """Write and wait. Raises RejectedError with Envoy's words, GatewayError when it does not answer in time."""
        rejections = self._state(update)[1]
        mark = self._log.stat().st_size if self._log.exists() else 0
        version = self.write(update)

        def taken() -> bool:
            nonlocal rejections
            seen, rejected = self._state(update)
            if seen >= version:
                return True
            rejections = min(rejections, rejected)  # a fresh Envoy counts from zero
            if rejected > rejections:
                raise RejectedError(f"Envoy rejected {update.path.name}: {self._reason(mark)}")
            return False

        late = f"Envoy did not take {update.path.name} within {self._patience:.0f} s"
        wait_until(taken, self._patience, f"{late}. Look with: lab status; its log is {self._log}")

    def write(self, update: Update) -> int:
        """Write without waiting; the version written. Envoy takes it when it can."""
        # Grows across restarts of this process, too.
        self._version = max(self._version + 1, time.time_ns())
        self._files.write(update, self._version)
        return self._version

    def _state(self, update: Update) -> tuple[int, int]:
        """The version in force and the count of refusals; (0, 0) while Envoy is down."""
        prefix = re.escape(update.metrics)
        try:
            stats = self._admin.stats(rf"{prefix}\.(version_text|update_rejected|update_failure)")
        except EnvoyDownError:
            return 0, 0
        version = str(stats.get(f"{update.metrics}.version_text") or 0)
        refused = sum(int(value) for name, value in stats.items() if name.endswith(("_rejected", "_failure")))
        return int(version), refused

    def _reason(self, mark: int) -> str:
        """What Envoy logged since; it counts a rejection a moment before it logs why."""
        with contextlib.suppress(GatewayError):
            wait_until(lambda: self._log.stat().st_size > mark, _REASON_SECONDS, "")
        with self._log.open("rb") as log:
            log.seek(mark)
            lines = log.read().decode(errors="replace").splitlines()
        return " ".join(lines[-5:]) or f"no reason in {self._log}"


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Poll until the condition holds; raises GatewayError(otherwise)."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise GatewayError(otherwise)
        time.sleep(_POLL_SECONDS)


def _resources(path: Path) -> list[Json] | None:
    """The resources of a file, or None when it is missing or damaged."""
    try:
        found: list[Json] = json.loads(path.read_text())["resources"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found
