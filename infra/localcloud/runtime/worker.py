"""Brings one deployment from what is to what should be, step by step, in a thread of its own.

Every step looks at the store and at the processes and does what is missing; nothing else is remembered, so a step
after a restart of this process is a step like any other. The order inside a step keeps traffic safe: replicas start
before they are published, and only replicas that are no longer published are stopped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from localcloud.gateway.admin import EnvoyDownError
from localcloud.gateway.errors import GatewayError
from localcloud.gateway.spec import Publication
from localcloud.runtime import process, replica
from localcloud.runtime.records import Deployment, Records, Replica, Revision, publication
from localcloud.runtime.spec import DeploymentState, Pool

_LOG = logging.getLogger(__name__)
_BUSY_SECONDS: Final = 0.03
_ERROR_SECONDS: Final = 1.0
_PORT_TAKEN: Final = "address already in use"
_PORT_ATTEMPTS: Final = 5
_LONGEST_BACK_OFF: Final = 30.0
_STABLE_SECONDS: Final = 10.0
"""A replica that ran for so long did not crash at its start: the count of crashes begins anew."""
_CRASHES_TO_TELL: Final = 3
_REFUSALS: Final = 3
"""So often the gateway may fail to take a new revision before that is the revision's failure."""


class Gateway(Protocol):
    """What is asked of the gateway; localcloud.gateway.gateway.Gateway is one."""

    def publish(self, publication: Publication) -> None:
        """Route to exactly these replicas; return when others have no work left. Raises GatewayError."""
        ...

    def withdraw(self, publication_id: str) -> None:
        """Stop routing to a deployment; return when its replicas have no work left. Raises GatewayError."""
        ...


@dataclass
class _Crashes:
    count: int = 0
    retry_at: float = 0.0
    reason: str = ""

    def add(self, reason: str) -> None:
        self.count += 1
        self.reason = reason
        self.retry_at = time.monotonic() + (min(_LONGEST_BACK_OFF, 0.5 * 2**self.count) if self.count > 1 else 0.0)


class Worker:
    """The caretaker of one deployment; ends when the deployment is deleted."""

    def __init__(
        self, deployment_id: str, records: Records, gateway: Gateway, replicas_folder: Path, exits: replica.Exits
    ) -> None:
        self._id = deployment_id
        self._records = records
        self._gateway = gateway
        self._folder = replicas_folder
        self._exits = exits
        self._published: Publication | None = None
        self._withdrawn = False
        self._crashes: dict[tuple[int, str], _Crashes] = {}
        self._lost_ports = 0
        self._refusals = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"deployment-{deployment_id}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something has changed: take a step now."""
        self._wake.set()

    def stop(self) -> None:
        """Take no further step. Replicas go on."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout)

    @property
    def ended(self) -> bool:
        """True when it takes no steps any more."""
        return not self._thread.is_alive()

    def _current(self, deployment: Deployment) -> Deployment:
        return self._records.deployment(self._id) or deployment

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._wake.clear()
                try:
                    pause = self._step()
                except Exception:
                    _LOG.exception("deployment %s: this step failed, it is tried again", self._id)
                    pause = _ERROR_SECONDS
                if not self._stop.is_set():
                    self._wake.wait(pause)
        finally:
            self._records.store.close()

    def _step(self) -> float | None:
        """Do what can be done now; the seconds until there may be more to do, None for when somebody calls."""
        deployment = self._records.deployment(self._id)
        if deployment is None:
            self._stop.set()
            return None
        replicas = self._find_dead(deployment, self._records.replicas(self._id))
        deployment = self._current(deployment)  # a death may have ended a roll-out
        replicas += self._start_missing(deployment, replicas)
        replicas = [self._probe(deployment, each) for each in replicas]
        deployment = self._move_traffic(deployment, replicas)
        left = self._stop_superfluous(deployment, replicas)
        if deployment.state == "deleting" and not left:
            self._records.remove(deployment)
            self._stop.set()
            return None
        return self._pause(deployment, left)

    # Deaths

    def _find_dead(self, deployment: Deployment, replicas: list[Replica]) -> list[Replica]:
        return [self._declare_dead(deployment, each) if self._just_died(each) else each for each in replicas]

    def _just_died(self, each: Replica) -> bool:
        return each.state != "dead" and not replica.is_alive(each)

    def _declare_dead(self, deployment: Deployment, each: Replica) -> Replica:
        dead = replica.declare_dead(self._records, each, until=time.time())
        if each.state != "stopping":
            self._crashed(deployment, each, self._exits.describe(each))
        return dead

    def _crashed(self, deployment: Deployment, each: Replica, how: str) -> None:
        """Remember a crash; a crash at the start of a revision that is being rolled out is its end."""
        tail = process.log_tail(each.log)
        if each.state == "starting" and _PORT_TAKEN in tail.lower() and self._lost_ports < _PORT_ATTEMPTS:
            self._lost_ports += 1  # somebody took the port between our look and the replica's: the next gets another
            return
        when = "before it was healthy" if each.state == "starting" else "while it was serving"
        reason = f"Replica {each.id} of {each.pool.name} {how} {when}. The end of its log:\n{tail or '(empty)'}"
        _LOG.warning("deployment %s: %s", self._id, reason)
        if time.time() - each.started > _STABLE_SECONDS:
            self._crashes.pop(_line(each), None)
        self._crashes.setdefault(_line(each), _Crashes()).add(reason)
        if deployment.target is not None and deployment.target.number == each.revision:
            self._fail(deployment.target, reason)

    def _fail(self, target: Revision, reason: str) -> None:
        """Give up a roll-out; what served before serves on."""

        def give_up(deployment: Deployment) -> Deployment | None:
            if deployment.state == "deleting" or deployment.target != target:
                return None
            return replace(deployment, state="failed", target=None, reason=reason)

        self._records.change(self._id, give_up)
        self.wake()

    # Starts

    def _start_missing(self, deployment: Deployment, replicas: Iterable[Replica]) -> list[Replica]:
        return [
            replica.start(self._records, deployment, revision, pool, self._folder, self._exits)
            for revision in deployment.wanted
            for pool in revision.pools
            if self._may_start(revision, pool)
            for _ in range(pool.replicas - len(_running(replicas, revision, pool)))
        ]

    def _may_start(self, revision: Revision, pool: Pool) -> bool:
        return time.monotonic() >= self._retry_at(revision, pool)

    def _retry_at(self, revision: Revision, pool: Pool) -> float:
        return self._crashes.get((revision.number, pool.name), _Crashes()).retry_at

    def _probe(self, deployment: Deployment, each: Replica) -> Replica:
        if each.state != "starting":
            return each
        if replica.is_healthy(each) and replica.is_alive(each):
            ready = replace(each, state="ready")
            self._records.save(ready)
            return ready
        if time.time() - each.started > each.pool.start_seconds:
            replica.kill(each)
            dead = replica.declare_dead(self._records, each, until=time.time())
            self._crashed(deployment, each, f"did not answer GET {each.pool.health_path} with 200 within "
                          f"{each.pool.start_seconds:g} s, so it was killed")  # fmt: skip
            return dead
        return each

    # Traffic

    def _move_traffic(self, deployment: Deployment, replicas: list[Replica]) -> Deployment:
        """Publish what should have the traffic now; returns the deployment after that."""
        current = self._current(deployment)
        target = current.target if current.state != "deleting" else None
        complete = target is not None and _is_complete(target, replicas)
        front = target if complete else current.serving
        if front is None or current.state == "deleting":
            if current.state != "creating":
                self._withdraw()
            return current
        try:
            self._publish(publication(current, front, _front_replicas(front, replicas)))
        except EnvoyDownError:
            raise
        except GatewayError as error:
            self._refusals += 1
            if front is not target or self._refusals < _REFUSALS:
                raise
            self._fail(target, f"The gateway did not take the new revision: {error}")
            return self._current(current)
        return self._settle(current, front, replicas)

    def _publish(self, wanted: Publication) -> None:
        if wanted != self._published:
            self._withdrawn = False
            self._gateway.publish(wanted)
            self._published, self._refusals = wanted, 0

    def _withdraw(self) -> None:
        if not self._withdrawn:
            self._gateway.withdraw(self._id)
            self._published, self._withdrawn = None, True

    def _settle(self, current: Deployment, front: Revision, replicas: list[Replica]) -> Deployment:
        """Write down what serves now, and whether that is all that was asked for."""
        if front is current.target:
            return self._commit(front) or self._current(current)
        if current.target is not None:
            return current
        if _is_complete(front, replicas):
            return self._enter(current, "in-service", "") if current.state == "updating" else current
        crashes = max((self._crashes.get((front.number, pool.name), _Crashes()) for pool in front.pools), key=_count)
        if current.state == "updating" and crashes.count >= _CRASHES_TO_TELL:
            return self._enter(current, "failed", crashes.reason)
        return current

    def _commit(self, front: Revision) -> Deployment | None:
        def take_over(deployment: Deployment) -> Deployment | None:
            if deployment.state == "deleting" or deployment.target != front:
                return None
            return replace(deployment, state="in-service", serving=front, target=None, reason="")

        return self._records.change(self._id, take_over)

    def _enter(self, current: Deployment, state: DeploymentState, reason: str) -> Deployment:
        def enter(deployment: Deployment) -> Deployment | None:
            return replace(deployment, state=state, reason=reason) if deployment == current else None

        return self._records.change(self._id, enter) or current

    # Ends

    def _stop_superfluous(self, deployment: Deployment, replicas: list[Replica]) -> list[Replica]:
        """Stop what nobody wants and nobody sends to any more; the replicas that are left."""
        wanted = {each.id for revision in deployment.wanted for each in _wanted(revision, replicas)}
        ports = {port for cluster in (self._published.clusters if self._published else ())
                 for _, port in cluster.endpoints}  # fmt: skip
        left = []
        for each in replicas:
            if each.port in ports or (each.id in wanted and each.state != "dead"):
                left.append(each)
            elif each.state == "dead":
                replica.bury(self._records, each)
            else:
                left.append(self._stop_one(each))
        return left

    def _stop_one(self, each: Replica) -> Replica:
        if each.state != "stopping":
            return replica.begin_stop(self._records, each)
        replica.finish_stop(each)
        return each

    def _pause(self, deployment: Deployment, left: Iterable[Replica]) -> float | None:
        if any(each.state != "ready" for each in left) or deployment.target is not None:
            return _BUSY_SECONDS
        retries = [
            self._retry_at(revision, pool) - time.monotonic()
            for revision in deployment.wanted
            for pool in revision.pools
            if len(_running(left, revision, pool)) < pool.replicas
        ]
        return max(_BUSY_SECONDS, min(retries)) if retries else None


def _line(each: Replica) -> tuple[int, str]:
    return (each.revision, each.pool.name)


def _count(crashes: _Crashes) -> int:
    return crashes.count


def _running(replicas: Iterable[Replica], revision: Revision, pool: Pool) -> list[Replica]:
    """Those of a pool that are or may become healthy: the ready ones first, then the oldest."""
    found = [
        each
        for each in replicas
        if (each.revision, each.pool.name) == (revision.number, pool.name) and each.state in ("ready", "starting")
    ]
    return sorted(found, key=lambda each: (each.state != "ready", each.started, each.id))


def _wanted(revision: Revision, replicas: Iterable[Replica]) -> list[Replica]:
    """As many of each pool as it should have."""
    return [each for pool in revision.pools for each in _running(replicas, revision, pool)[: pool.replicas]]


def _front_replicas(revision: Revision, replicas: Iterable[Replica]) -> list[Replica]:
    return [each for each in _wanted(revision, replicas) if each.state == "ready"]


def _is_complete(revision: Revision, replicas: Iterable[Replica]) -> bool:
    return len(_front_replicas(revision, replicas)) == sum(pool.replicas for pool in revision.pools)
