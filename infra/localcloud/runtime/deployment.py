"""Deployments: revisions of replicas behind the gateway, kept as they should be.

Each deployment has a worker (see worker.py) that does what is missing; this is what facades call. Everything is in
the store, so that a restarted control plane finds its replicas again and goes on where it was.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from localcloud.gateway.spec import Publication
from localcloud.home import Home
from localcloud.runtime import process, records, replica
from localcloud.runtime.records import Deployment, Records, Replica, Revision
from localcloud.runtime.spec import DeploymentSpec, DeploymentStatus, PoolStatus
from localcloud.runtime.worker import Gateway, Worker
from localcloud.store import Store

__all__ = ["DeploymentError", "Deployments", "Gateway"]

_LIMITS_SECONDS: Final = 1.0
_ID: Final = re.compile(r"[a-z0-9-]{1,100}")


class DeploymentError(Exception):
    """What was asked of a deployment is impossible; nothing was changed."""


class Deployments:
    """All deployments of all tenants. Safe to share between threads."""

    def __init__(self, store: Store, gateway: Gateway, home: Home) -> None:
        self._records = Records(store)
        self._gateway = gateway
        self._folder = home.replicas
        self._exits = replica.Exits()
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()
        self._limits_at = 0.0

    # What facades ask for

    def apply(self, spec: DeploymentSpec) -> int:
        """Roll out a new revision beside the one that serves; its number. Returns at once: see `status`.

        Raises DeploymentError when the deployment is being deleted, its id is unfit, or no pool has a weight.
        """
        if not _ID.fullmatch(spec.id):
            raise DeploymentError(f"{spec.id!r} cannot be an id: use 1 to 100 of a-z, 0-9 and '-'.")
        _check_weights(spec.id, {pool.name: pool.weight for pool in spec.pools})
        with self._records.store.transaction():
            found = self._records.deployment(spec.id)
            if found is not None and found.state == "deleting":
                raise DeploymentError(f"{spec.id} is being deleted. Wait until it is gone, then create it again.")
            wanted = records.first(spec) if found is None else records.next_revision(found, spec)
            self._records.save(wanted)
        self._care_for(spec.id)
        return wanted.latest

    def set_pools(self, deployment_id: str, pools: Mapping[str, tuple[int, int]]) -> None:
        """Change weight and number of replicas of pools, by name, without a new revision. Returns at once.

        Raises DeploymentError for an unknown deployment or pool, or when no pool would have a weight.
        """
        with self._records.store.transaction():
            found = self._existing(deployment_id)
            current = found.target if found.serving is None else found.serving
            known = {pool.name: pool.weight for pool in current.pools} if current else {}
            if unknown := set(pools) - set(known):
                raise DeploymentError(f"{deployment_id} has no pool {', '.join(sorted(unknown))}.")
            _check_weights(deployment_id, known | {name: weight for name, (weight, _) in pools.items()})
            self._records.save(
                replace(
                    found,
                    state="updating" if found.serving and not found.target else found.state,
                    serving=_resized(found.serving, pools),
                    target=_resized(found.target, pools),
                    updated=time.time(),
                )
            )
        self._care_for(deployment_id)

    def status(self, deployment_id: str) -> DeploymentStatus | None:
        """What is; None when there is no such deployment (any more)."""
        found = self._records.deployment(deployment_id)
        if found is None:
            return None
        shown = found.serving or found.target
        living = [each for each in self._records.replicas(deployment_id) if each.state == "ready"]
        return DeploymentStatus(
            state=found.state,
            revision=found.serving.number if found.serving else 0,
            pools=_pool_statuses(shown, living) if shown else (),
            reason=found.reason,
            updated=found.updated,
        )

    def delete(self, deployment_id: str) -> None:
        """Withdraw, stop the replicas, forget. Returns at once; `status` is None when all is done."""
        deleting = self._records.change(
            deployment_id, lambda found: replace(found, state="deleting") if found.state != "deleting" else None
        )
        if deleting is not None:
            self._care_for(deployment_id)

    def kill_replica(self, deployment_id: str, pool: str | None = None) -> str | None:
        """Kill one living replica (of that pool) without warning; its id, or None when there is none."""
        for each in self.replicas(deployment_id):
            if each.state == "ready" and pool in (None, each.pool.name) and replica.is_alive(each):
                replica.kill(each)
                self._care_for(deployment_id)
                return each.id
        return None

    def replicas(self, deployment_id: str | None = None) -> list[Replica]:
        """Replicas as the store has them: id, revision, pool, port, log, identity, state; oldest first."""
        return self._records.replicas(deployment_id)

    def ids(self, tenant: str) -> list[str]:
        """The deployments that a tenant has."""
        return [each.id for each in self._records.deployments() if each.tenant == tenant]

    # What the control plane's loops call

    def reconcile(self) -> None:
        """One pass: notice deaths, enforce limits, and wake the workers concerned. Never waits for one of them."""
        existing = {deployment.id for deployment in self._records.deployments()}
        for deployment_id in existing:
            self._care_for(deployment_id, wake=False)
        self._forget_workers(existing)
        replicas = self._records.replicas()
        if time.monotonic() >= self._limits_at:
            self._limits_at = time.monotonic() + _LIMITS_SECONDS
            replica.enforce_limits(replicas, self._exits)
        for deployment_id in {each.deployment for each in replicas if not replica.is_alive(each)}:
            self._care_for(deployment_id)

    def sample_usage(self) -> None:
        """Write the seconds so far of every replica into the ledger."""
        replica.sample(self._records, time.time())

    def adopt(self) -> None:
        """After a restart: keep the replicas that live, bill the dead until they were last seen, kill orphans.

        Call it once, before the first `reconcile`.
        """
        known = set()
        for each in self._records.replicas():
            if replica.is_alive(each):
                known.add(each.token)
            elif each.state != "dead":
                replica.declare_dead(self._records, each, until=None)
        self._kill_orphans(known)

    def publications(self) -> list[Publication]:
        """What the gateway should route now, for Gateway.restore after a restart."""
        replicas = [each for each in self._records.replicas() if each.state == "ready" and replica.is_alive(each)]
        return [
            records.publication(each, each.serving, _of_revision(each, each.serving, replicas))
            for each in self._records.deployments()
            if each.serving is not None and each.state != "deleting"
        ]

    def close(self, timeout: float = 5.0) -> None:
        """Stop all workers. Replicas go on, and are found again by `adopt`."""
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join(timeout)

    def _existing(self, deployment_id: str) -> Deployment:
        found = self._records.deployment(deployment_id)
        if found is None or found.state == "deleting":
            raise DeploymentError(f"There is no deployment {deployment_id}.")
        return found

    def _care_for(self, deployment_id: str, *, wake: bool = True) -> None:
        """Make sure that the deployment has a worker, and that it looks now."""
        with self._lock:
            worker = self._workers.get(deployment_id)
            if worker is None or worker.ended:
                self._workers[deployment_id] = Worker(
                    deployment_id, self._records, self._gateway, self._folder, self._exits
                )
            elif wake:
                worker.wake()

    def _forget_workers(self, existing: set[str]) -> None:
        with self._lock:
            for gone in [name for name, worker in self._workers.items() if worker.ended and name not in existing]:
                del self._workers[gone]

    def _kill_orphans(self, known: set[str]) -> None:
        for pid, token in process.find_by_token(replica.scope(self._folder)).items():
            if token not in known and (identity := process.identify(pid, token)):
                process.kill_all(identity)


def _resized(revision: Revision | None, pools: Mapping[str, tuple[int, int]]) -> Revision | None:
    if revision is None:
        return None
    changed = (
        replace(pool, weight=pools[pool.name][0], replicas=pools[pool.name][1]) if pool.name in pools else pool
        for pool in revision.pools
    )
    return replace(revision, pools=tuple(changed))


def _pool_statuses(revision: Revision, living: list[Replica]) -> tuple[PoolStatus, ...]:
    healthy = [each.pool.name for each in living if each.revision == revision.number and replica.is_alive(each)]
    return tuple(
        PoolStatus(pool.name, pool.replicas, min(healthy.count(pool.name), pool.replicas), pool.weight)
        for pool in revision.pools
    )


def _of_revision(deployment: Deployment, revision: Revision, replicas: list[Replica]) -> list[Replica]:
    return [each for each in replicas if (each.deployment, each.revision) == (deployment.id, revision.number)]


def _check_weights(deployment_id: str, weights: Mapping[str, int]) -> None:
    if not any(weight > 0 for weight in weights.values()):
        raise DeploymentError(f"{deployment_id} would get no traffic: give at least one pool a weight above 0.")
