"""Faults that are done to jobs and endpoints: a kill, and the reclaim of spot capacity."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final, Protocol

from localcloud.aws.sagemaker.job_driver import Drivers
from localcloud.aws.sagemaker.job_instances import Attempt
from localcloud.aws.sagemaker.naming import ENDPOINT, TRAINING_JOB, Kind, scope_of
from localcloud.aws.sagemaker.setting import Setting
from localcloud.gateway.spec import Fault
from localcloud.runtime import job as runtime
from localcloud.runtime.process import kill_group
from localcloud.store import Resource

_log: Final = logging.getLogger(__name__)


class ReplicaKiller(Protocol):
    """What kills one replica of a deployment."""

    def kill_replica(self, deployment_id: str, pool: str | None, /) -> Any:
        """Kill one of its replicas."""


class Enactor:
    """Does what a fault asks, to the jobs and endpoints that it names."""

    def __init__(self, setting: Setting, drivers: Drivers, deployments: ReplicaKiller) -> None:
        self._setting = setting
        self._drivers = drivers
        self._deployments = deployments

    def enact(self, fault: Fault) -> int:
        """Kill or reclaim; returns how many targets were hit."""
        if fault.kind == "spot-reclaim":
            return sum(self._reclaim(job) for job in self._targets(TRAINING_JOB, fault))
        if fault.kind == "kill":
            jobs = sum(self._kill_job(job) for job in self._targets(TRAINING_JOB, fault))
            return jobs + sum(self._kill_replica(endpoint, fault) for endpoint in self._targets(ENDPOINT, fault))
        return 0

    def _targets(self, kind: Kind, fault: Fault) -> list[Resource]:
        """Resources by name; `endpoint/variant` names one variant."""
        name = (fault.target or "").split("/")[0]
        found = self._setting.store.list(kind.stored, fault.tenant, fault.region)
        return [resource for resource in found if resource.key.name == name]

    def _reclaim(self, job: Resource) -> bool:
        if not job.body.get("EnableManagedSpotTraining") or job.body["_phase"] != "training":
            _log.warning("spot-reclaim: %s is not a spot job in training; nothing to reclaim", job.key.name)
            return False
        self._setting.store.change(job.key, lambda body: body.update(_reclaim=True))
        self._drivers.wake(job.key)
        return True

    def _kill_job(self, job: Resource) -> bool:
        killed = 0
        for folder in Attempt(self._setting, scope_of(job.key), job.body).folders.values():
            main = runtime.main_identity(folder.root)
            # Without its token only its own session is meant, not the shim that looks after it.
            killed += kill_group(replace(main, token="")) if main else 0
        return killed > 0

    def _kill_replica(self, endpoint: Resource, fault: Fault) -> bool:
        _, _, variant = (fault.target or "").partition("/")
        self._deployments.kill_replica(endpoint.body["_deployment"], variant or None)
        return True
