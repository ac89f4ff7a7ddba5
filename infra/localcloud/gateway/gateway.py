"""The gateway: Envoy, told what to do by deployments, tenants and faults, without losing a request.

A switch of revisions goes in the order that was measured to lose nothing: endpoints and clusters, wait until all
replicas are healthy, routes, wait until they are in force, wait until the old replicas have answered what they had,
remove the old clusters. The caller stops the old replicas after that.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from localcloud.gateway import bootstrap, xds
from localcloud.gateway.admin import Admin, EnvoyDownError, Host
from localcloud.gateway.clusters import Endpoint, check_name, deployment_cluster, load_assignment
from localcloud.gateway.errors import GatewayError
from localcloud.gateway.listeners import View, route_table
from localcloud.gateway.spec import Cluster, Fault, Publication
from localcloud.home import Home

_LOG: Final = logging.getLogger(__name__)

__all__ = ["EnvoyDownError", "Gateway", "GatewayError"]

HEALTHY_SECONDS: Final = 30.0
"""How long new replicas may take to pass their first health check at the gateway."""
_ADOPT_SECONDS: Final = 2.0
_SETTLE_SECONDS: Final = 5.0
_DRAIN_EXTRA_SECONDS: Final = 5.0
_QUIET_SECONDS: Final = 0.1
"""A drained replica must be idle for so long: a retry may be between two attempts."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Pool:
    """A cluster as Envoy knows it: the replicas that serve, and those that only finish."""

    owner: str
    pool: str
    cluster: Cluster
    draining: tuple[Endpoint, ...] = ()


class Gateway:
    """The one writer of Envoy's configuration. Safe to share between threads; making one changes nothing."""

    def __init__(self, home: Home, ports: Mapping[str, int], patience: float = xds.ACKNOWLEDGE_SECONDS) -> None:
        """`patience`: how many seconds an update waits for an Envoy that is away."""
        self._home = home
        self._ports = dict(ports)
        self._admin = Admin(self._ports["envoy_admin"])
        self._files = xds.XdsFiles(home.gateway)
        self._delivery = xds.Delivery(self._files, self._admin, bootstrap.envoy_log(home), patience)
        self._lock = threading.RLock()
        self._turns: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._publications: dict[str, Publication] = {}
        self._pools: dict[str, _Pool] = {}
        self._stale: dict[str, dict[str, Any]] = {}
        self._idle: set[str] = set()
        self._tenants: dict[str, float] = {}
        self._faults: list[Fault] = []
        self._sent: View | None = None
        self._delayed_until = 0.0

    # Starting Envoy

    def write_bootstrap(self) -> None:
        """Write the files that Envoy reads at its start; routes that are there already stay in force."""
        bootstrap.write_bootstrap(self._home, self._ports)

    def command(self) -> list[str]:
        """Envoy's command line."""
        return bootstrap.command(self._home)

    @property
    def access_log(self) -> Path:
        """One JSON line per request."""
        return bootstrap.access_log(self._home)

    def reopen_logs(self) -> None:
        """Make Envoy open the access log again, after it was renamed; raises EnvoyDownError."""
        self._admin.reopen_logs()

    def settle_log(self) -> None:
        """Return when everything answered until now is in the access log. Raises GatewayError, EnvoyDownError."""
        unwritten = "filesystem.write_total_buffered"
        xds.wait_until(
            lambda: not self._admin.stats(re.escape(unwritten)).get(unwritten, 0),
            _SETTLE_SECONDS,
            f"Envoy does not write {self.access_log}: is the disk full? Free some space (lab clean).",
        )

    # Deployments

    def publish(self, publication: Publication, healthy_seconds: float = HEALTHY_SECONDS) -> None:
        """Route to exactly these replicas, and return when no other replica of this id has work left.

        Raises GatewayError (with the cause) when replicas stay unhealthy, Envoy refuses, or Envoy stays away; then
        everything is as it was.
        """
        with self._turn(publication.id):
            before = self._add_pools(publication)
            try:
                self._await_healthy(publication, healthy_seconds)
                self._switch(publication)
            except GatewayError:
                self._take_back(publication, before)
                raise
            self._retire(publication, before)

    def withdraw(self, publication_id: str) -> None:
        """Stop routing to a deployment, and return when its replicas have no work left. Unknown ids are fine."""
        with self._turn(publication_id):
            with self._lock:
                gone = self._publications.pop(publication_id, None)
                before = self._owned(publication_id)
                try:
                    self._send_routes()
                except GatewayError:
                    if gone is not None:
                        self._publications[publication_id] = gone
                    raise
            self._drain_and_remove(before, _patience(gone))

    def restore(
        self, publications: Iterable[Publication], tenants: Mapping[str, float], faults: Iterable[Fault]
    ) -> None:
        """Take over what the store says. Whatever Envoy serves goes on; clusters nobody owns any more drain first."""
        with self._lock:
            self._tenants, self._faults = dict(tenants), list(faults)
            self._publications = {p.id: p for p in publications}
            self._pools = {name: pool for p in self._publications.values() for name, pool in _pools(p).items()}
            known = self._files.clusters_on_disk()
            self._stale = {name: cluster for name, cluster in known.items() if name not in self._pools}
            send = self._delivery.send if self._admin.is_ready() else self._delivery.write
            for name in self._pools:
                self._delivery.write(self._endpoint_update(name))
            send(self._cluster_update())
            if send == self._delivery.send:
                self._await_any_healthy([n for n, p in self._pools.items() if n not in known and p.cluster.endpoints])
            self._send_routes(send)

    # Tenants and faults

    def set_tenants(self, accounts: Mapping[str, float]) -> None:
        """Let in these accounts until their expiry (unix seconds), and nobody else."""
        with self._lock:
            before, self._tenants = self._tenants, dict(accounts)
            try:
                self._send_routes()
            except GatewayError:
                self._tenants = before
                raise

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Put these faults in force, each between its start and end. Raises GatewayError when there are too many."""
        with self._lock:
            before, self._faults = self._faults, list(faults)
            try:
                # All of them at once must be possible: those that begin later must not block everything then.
                self._tables(replace(self._view(), faults=tuple(self._faults)))
                self._send_routes()
            except GatewayError:
                self._faults = before
                raise

    def refresh(self) -> None:
        """Act on what time has changed: expired tenants, faults that begin or end, old clusters now idle."""
        with self._lock:
            if self._sent is not None and self._view() != self._sent:
                self._send_routes()
        self._remove_stale()

    # What Envoy reports

    def members_healthy(self, cluster: str) -> int:
        """How many replicas of a cluster take requests; 0 for an unknown one. Raises EnvoyDownError."""
        name = f"cluster.{cluster}.membership_healthy"
        return int(self._admin.stats(re.escape(name)).get(name, 0))

    def stats(self, prefix: str) -> dict[str, float]:
        """Envoy's counters and gauges whose names begin so. Raises EnvoyDownError."""
        found = self._admin.stats(f"{re.escape(prefix)}.*")
        return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}

    # Steps of a switch

    def _turn(self, publication_id: str) -> threading.Lock:
        """One switch at a time per deployment; different deployments wait only for each other's short steps."""
        with self._lock:
            return self._turns[publication_id]

    def _add_pools(self, publication: Publication) -> dict[str, _Pool]:
        """Tell Envoy of the new replicas beside the old; returns what this deployment had before."""
        with self._lock:
            self._check(publication)
            before = self._owned(publication.id)
            wanted = _pools(publication)
            added = {name: _merged(pool, before.get(name)) for name, pool in wanted.items()}
            self._pools |= added
            self._stale = {name: cluster for name, cluster in self._stale.items() if name not in added}
            try:
                self._send_pools({name for name, pool in added.items() if pool != before.get(name)}, before)
            except GatewayError:
                self._put_back(publication.id, before)
                raise
            return before

    def _send_pools(self, changed: set[str], before: Mapping[str, _Pool]) -> None:
        for name in sorted(changed):
            # Envoy watches the file of a known cluster; that of a new one it reads with the cluster.
            send = self._delivery.send if name in before else self._delivery.write
            send(self._endpoint_update(name))
        if changed - set(before):
            self._delivery.send(self._cluster_update())

    def _await_healthy(self, publication: Publication, patience: float) -> None:
        wanted = {cluster.name: set(cluster.endpoints) for cluster in publication.clusters if cluster.endpoints}
        missing: dict[str, set[Endpoint]] = wanted

        def all_healthy() -> bool:
            nonlocal missing
            missing = {name: ends - self._healthy(name) for name, ends in missing.items()}
            missing = {name: ends for name, ends in missing.items() if ends}
            return not missing

        try:
            xds.wait_until(all_healthy, patience, "")
        except GatewayError:
            raise GatewayError(_unhealthy(publication, missing, patience)) from None

    def _await_any_healthy(self, clusters: list[str]) -> None:
        """Best effort: a replica may have died with the machine."""
        with contextlib.suppress(GatewayError):
            xds.wait_until(lambda: all(self._healthy(name) for name in clusters), _ADOPT_SECONDS, "")

    def _healthy(self, cluster: str) -> set[Endpoint]:
        return {endpoint for endpoint, host in self._hosts(cluster).items() if host.healthy}

    def _switch(self, publication: Publication) -> None:
        with self._lock:
            before = self._publications.get(publication.id)
            self._publications[publication.id] = publication
            try:
                self._send_routes()
            except GatewayError:
                _set_or_remove(self._publications, publication.id, before)
                raise

    def _retire(self, publication: Publication, before: Mapping[str, _Pool]) -> None:
        """Drain and remove the clusters that are no longer used, and the replicas that left clusters still used."""
        wanted = _pools(publication)
        patience = _patience(publication)
        self._drain_and_remove({n: p for n, p in before.items() if n not in wanted}, patience)
        for name, pool in wanted.items():
            left = set(before[name].cluster.endpoints) - set(pool.cluster.endpoints) if name in before else set()
            if left:
                self._drain_endpoints(name, pool, left, patience)

    def _drain_endpoints(self, name: str, pool: _Pool, left: set[Endpoint], patience: float) -> None:
        self._set_pool(name, replace(pool, draining=tuple(sorted(left))))
        self._await_idle(lambda: sum(h.active for e, h in self._hosts(name).items() if e in left), patience)
        self._set_pool(name, pool)

    def _set_pool(self, name: str, pool: _Pool) -> None:
        with self._lock:
            self._pools[name] = pool
            with contextlib.suppress(GatewayError):  # Envoy is down: it reads the file when it starts
                self._delivery.send(self._endpoint_update(name))

    def _drain_and_remove(self, pools: Mapping[str, _Pool], patience: float) -> None:
        if not pools:
            return
        self._await_idle(lambda: sum(self._active(name) for name in pools), patience)
        with self._lock:
            for name in pools:
                self._stale[name] = self._cluster(name, self._pools.pop(name, pools[name]))
            self._forget(pools)

    def _forget(self, names: Iterable[str]) -> None:
        """Remove stale clusters. What Envoy cannot confirm now stays stale, and is tried again by refresh."""
        aside = {name: self._stale.pop(name) for name in names}
        try:
            self._delivery.send(self._cluster_update())
        except GatewayError:
            _LOG.warning("clusters %s are not removed yet", sorted(aside), exc_info=True)
            self._stale |= aside
            return
        for name in aside:
            self._files.forget_endpoints(name)

    def _await_idle(self, count: Callable[[], float], patience: float) -> None:
        """Wait until nothing is under way; after `patience` seconds go on all the same: no request lives longer."""
        # A request that a fault holds back has chosen its cluster already, but is not counted there yet.
        until = max(time.monotonic() + _QUIET_SECONDS, self._delayed_until)

        def idle() -> bool:
            nonlocal until
            now = time.monotonic()
            if count() > 0:
                until = max(until, now + _QUIET_SECONDS)
            return now >= until

        with contextlib.suppress(GatewayError):
            xds.wait_until(idle, max(patience, until - time.monotonic() + 1), "")

    def _active(self, cluster: str) -> float:
        prefix = f"cluster.{cluster}."
        try:
            found = self._admin.stats(re.escape(prefix) + "upstream_rq_(active|pending_active)")
        except EnvoyDownError:
            return 0  # its connections died with it
        return sum(float(value) for value in found.values())

    def _hosts(self, cluster: str) -> dict[Endpoint, Host]:
        try:
            return self._admin.hosts(cluster)
        except EnvoyDownError:
            return {}

    # Undoing

    def _take_back(self, publication: Publication, before: Mapping[str, _Pool]) -> None:
        """After a failed switch: only the pools of before."""
        with self._lock:
            changed = {n for n, pool in before.items() if self._pools.get(n) != pool}
            self._put_back(publication.id, before)
            for name in changed:
                self._delivery.write(self._endpoint_update(name))

    def _put_back(self, publication_id: str, before: Mapping[str, _Pool]) -> None:
        new = self._owned(publication_id)
        for name in new:
            _set_or_remove(self._pools, name, before.get(name))
        self._delivery.write(self._cluster_update())
        for name in new:
            if name in before:
                self._delivery.write(self._endpoint_update(name))

    # Rendering

    def _check(self, publication: Publication) -> None:
        names = {cluster.name for cluster in publication.clusters}
        if len(names) < len(publication.clusters):
            raise GatewayError(f"{publication.id} names a cluster twice: every pool needs a name of its own.")
        for name in names:
            check_name(name)
            owner = self._pools[name].owner if name in self._pools else publication.id
            if owner != publication.id:
                raise GatewayError(f"Cluster {name} belongs to {owner}: {publication.id} needs a name of its own.")
        unknown = [target.cluster for target in publication.targets if target.cluster not in names]
        if unknown:
            raise GatewayError(f"{publication.id} sends traffic to clusters that it does not bring: {unknown}.")
        if sum(target.weight for target in publication.targets) <= 0:
            raise GatewayError(f"The traffic weights of {publication.id} sum to 0: one at least must be above 0.")

    def _owned(self, publication_id: str) -> dict[str, _Pool]:
        return {name: pool for name, pool in self._pools.items() if pool.owner == publication_id}

    def _view(self) -> View:
        now = time.time()
        return View(
            publications=tuple(self._publications[key] for key in sorted(self._publications)),
            accounts=tuple(sorted(account for account, expires in self._tenants.items() if expires > now)),
            faults=tuple(f for f in self._faults if f.start <= now and (f.end is None or now < f.end)),
        )

    def _send_routes(self, send: Callable[[xds.Update], object] | None = None) -> None:
        """Put the routes in force; when Envoy refuses them, the ones that it took before are written back."""
        view = self._view()
        tables = self._tables(view)
        try:
            for table in tables:
                (send or self._delivery.send)(self._files.route_update(table))
        except GatewayError:
            self._write_routes(self._sent)
            raise
        self._note_delays(self._sent, view)
        self._sent = view

    def _write_routes(self, view: View | None) -> None:
        for table in self._tables(view) if view is not None else ():
            self._delivery.write(self._files.route_update(table))

    def _tables(self, view: View) -> list[dict[str, Any]]:
        return [route_table(listener, view) for listener in bootstrap.LISTENERS]

    def _note_delays(self, *views: View | None) -> None:
        delays = [f.delay_seconds for view in views if view for f in view.faults if f.kind == "latency"]
        if delays:
            self._delayed_until = max(self._delayed_until, time.monotonic() + max(delays))

    def _cluster_update(self) -> xds.Update:
        own = [self._cluster(name, pool) for name, pool in sorted(self._pools.items())]
        return self._files.cluster_update([*own, *self._stale.values()])

    def _cluster(self, name: str, pool: _Pool) -> dict[str, Any]:
        return deployment_cluster(pool.cluster, pool.pool, self._files.endpoints(name))

    def _endpoint_update(self, name: str) -> xds.Update:
        pool = self._pools[name]
        return self._files.endpoint_update(load_assignment(name, pool.cluster.endpoints, pool.draining))

    def _remove_stale(self) -> None:
        if not self._stale or time.monotonic() < self._delayed_until:
            return
        idle = {name for name in list(self._stale) if self._active(name) == 0}
        with self._lock:
            # Idle twice in a row: a retry may be between two attempts.
            self._idle, certain = idle, idle & self._idle & set(self._stale)
            if certain:
                self._forget(certain)


def _pools(publication: Publication) -> dict[str, _Pool]:
    names = {target.cluster: target.pool for target in publication.targets}
    return {c.name: _Pool(publication.id, names.get(c.name, ""), c) for c in publication.clusters}


def _merged(pool: _Pool, before: _Pool | None) -> _Pool:
    """New replicas beside the old ones: those that leave do so only when the new are healthy."""
    if before is None:
        return pool
    both = (*pool.cluster.endpoints, *(e for e in before.cluster.endpoints if e not in pool.cluster.endpoints))
    return replace(pool, cluster=replace(pool.cluster, endpoints=both))


def _patience(publication: Publication | None) -> float:
    return (publication.route.timeout_seconds if publication else 0.0) + _DRAIN_EXTRA_SECONDS


def _unhealthy(publication: Publication, missing: Mapping[str, set[Endpoint]], patience: float) -> str:
    paths = {cluster.name: cluster.health_path for cluster in publication.clusters}
    which = "; ".join(
        f"{name}: GET {paths[name]} on {', '.join(f'{host}:{port}' for host, port in sorted(ends))}"
        for name, ends in missing.items()
    )
    return f"Replicas of {publication.id} did not pass their health check within {patience:.0f} s: {which}."


def _set_or_remove(mapping: dict[str, _T], key: str, value: _T | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value
