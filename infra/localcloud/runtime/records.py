"""What the store holds of deployments and replicas, and how it is read and written."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter

from localcloud.gateway.spec import Cluster, Publication, Route, Target
from localcloud.meter import usage
from localcloud.runtime.process import Identity
from localcloud.runtime.spec import DeploymentSpec, DeploymentState, Pool
from localcloud.store import Key, Store

DEPLOYMENT: Final = "runtime/deployment"
REPLICA: Final = "runtime/replica"

ReplicaState = Literal["starting", "ready", "stopping", "dead"]


@dataclass(frozen=True)
class Revision:
    """One version of what should serve. Its number is never given again."""

    number: int
    route: Route
    pools: tuple[Pool, ...]

    def pool(self, name: str) -> Pool | None:
        """The pool of that name."""
        return next((pool for pool in self.pools if pool.name == name), None)


@dataclass(frozen=True)
class Deployment:
    """What should be. `serving` has the traffic; `target` is being rolled out to take its place."""

    id: str
    tenant: str
    region: str
    state: DeploymentState
    latest: int
    """The highest revision number given so far."""
    birth: str
    """Tells this deployment from an earlier one of the same id: cluster names must never come again."""
    serving: Revision | None = None
    target: Revision | None = None
    reason: str = ""
    updated: float = 0.0

    @property
    def key(self) -> Key:
        """Where the store keeps it."""
        return Key(DEPLOYMENT, self.tenant, self.region, self.id)

    @property
    def wanted(self) -> tuple[Revision, ...]:
        """The revisions whose replicas should run."""
        return () if self.state == "deleting" else tuple(each for each in (self.serving, self.target) if each)


@dataclass(frozen=True)
class Replica:
    """One serving process, from before its start to after its end."""

    id: str
    deployment: str
    tenant: str
    region: str
    revision: int
    pool: Pool
    port: int
    token: str
    folder: Path
    started: float
    state: ReplicaState = "starting"
    identity: Identity | None = None
    """None until it has been spawned."""
    stop_by: float = 0.0
    """When `stopping`: the unix time at which it is killed."""

    @property
    def key(self) -> Key:
        """Where the store keeps it."""
        return Key(REPLICA, self.tenant, self.region, self.id)

    @property
    def log(self) -> Path:
        """Its standard output and error."""
        return self.pool.log / f"{self.id}.log"

    def used(self, until: float) -> usage.Usage:
        """Its row of the ledger: the seconds so far."""
        billing = self.pool.billing
        return usage.Usage(
            id=f"replica:{self.id}",
            tenant=self.tenant,
            provider=billing.provider,
            region=self.region,
            service=billing.service,
            sku=billing.sku,
            resource=billing.resource,
            unit="second",
            quantity=max(0.0, until - self.started),
            started=self.started,
            ended=max(until, self.started),
        )


_DEPLOYMENTS: Final = TypeAdapter(Deployment)
_REPLICAS: Final = TypeAdapter(Replica)


def first(spec: DeploymentSpec) -> Deployment:
    """A deployment with its first revision still to be rolled out."""
    return Deployment(
        spec.id,
        spec.tenant,
        spec.region,
        state="creating",
        latest=1,
        birth=secrets.token_hex(3),
        target=Revision(1, spec.route, spec.pools),
        updated=time.time(),
    )


def next_revision(deployment: Deployment, spec: DeploymentSpec) -> Deployment:
    """The deployment with one more revision to be rolled out."""
    number = deployment.latest + 1
    return replace(
        deployment,
        state="updating" if deployment.serving else "creating",
        latest=number,
        target=Revision(number, spec.route, spec.pools),
        reason="",
        updated=time.time(),
    )


@dataclass(frozen=True)
class Records:
    """Deployments and replicas in the store."""

    store: Store

    def deployments(self) -> list[Deployment]:
        """All deployments of all tenants."""
        return [_DEPLOYMENTS.validate_python(each.body) for each in self.store.list(DEPLOYMENT)]

    def deployment(self, deployment_id: str) -> Deployment | None:
        """One deployment by its id, which is unique on this machine."""
        found = (each for each in self.store.list(DEPLOYMENT) if each.key.name == deployment_id)
        return next((_DEPLOYMENTS.validate_python(each.body) for each in found), None)

    def replicas(self, deployment_id: str | None = None) -> list[Replica]:
        """All replicas, or those of one deployment; oldest first."""
        found = (each.body for each in self.store.list(REPLICA))
        return [_REPLICAS.validate_python(body) for body in found if deployment_id in (None, body["deployment"])]

    def save(self, record: Deployment | Replica) -> None:
        """Add or replace."""
        if isinstance(record, Deployment):
            self.store.put(record.key, _DEPLOYMENTS.dump_python(record, mode="json"))
        else:
            self.store.put(record.key, _REPLICAS.dump_python(record, mode="json"))

    def change(self, deployment_id: str, update: Callable[[Deployment], Deployment | None]) -> Deployment | None:
        """Read and replace in one transaction; None when it is gone or `update` gives None, and nothing is written."""
        with self.store.transaction():
            found = self.deployment(deployment_id)
            changed = None if found is None else update(found)
            if changed is not None:
                changed = replace(changed, updated=time.time())
                self.save(changed)
            return changed

    def remove(self, record: Deployment | Replica) -> None:
        """Delete; nothing happens when it is gone."""
        self.store.delete(record.key)


def publication(deployment: Deployment, revision: Revision, replicas: Iterable[Replica]) -> Publication:
    """What the gateway must know to send the deployment's traffic to these replicas of a revision."""
    chosen = sorted(replicas, key=lambda each: (each.started, each.id))
    clusters = tuple(
        Cluster(
            cluster_name(deployment, revision.number, pool.name),
            tuple(("127.0.0.1", each.port) for each in chosen if each.pool.name == pool.name),
            pool.health_path,
        )
        for pool in revision.pools
    )
    targets = tuple(
        Target(pool.name, cluster.name, pool.weight, pool.response_headers)
        for pool, cluster in zip(revision.pools, clusters, strict=True)
    )
    return Publication(deployment.id, revision.route, clusters, targets)


def cluster_name(deployment: Deployment, revision: int, pool: str) -> str:
    """Unique for ever: the deployment, its birth, the revision and the pool."""
    return f"{deployment.id}.{deployment.birth}-{revision}.{pool}"
