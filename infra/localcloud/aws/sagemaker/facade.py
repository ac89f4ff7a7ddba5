"""SageMaker as a facade of the local cloud: its routes, its background work, and what a tenant has in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.aws import logs
from localcloud.aws.sagemaker.endpoint_configs import EndpointConfigs
from localcloud.aws.sagemaker.endpoint_driver import EndpointDrivers
from localcloud.aws.sagemaker.endpoint_logs import EndpointLogs
from localcloud.aws.sagemaker.endpoint_metrics import InstanceMetrics, RequestMetrics, Variant
from localcloud.aws.sagemaker.endpoints import Endpoints
from localcloud.aws.sagemaker.errors import SageMakerError, not_implemented
from localcloud.aws.sagemaker.faults import Enactor
from localcloud.aws.sagemaker.job_driver import Drivers
from localcloud.aws.sagemaker.model_data import ModelStore
from localcloud.aws.sagemaker.models import Models
from localcloud.aws.sagemaker.naming import ENDPOINT, KINDS, TRAINING_JOB, Scope
from localcloud.aws.sagemaker.registry import Registry
from localcloud.aws.sagemaker.service_model import LazyModel
from localcloud.aws.sagemaker.setting import Setting
from localcloud.aws.sagemaker.tags import Tags
from localcloud.aws.sagemaker.training import TrainingJobs
from localcloud.aws.sagemaker.wire import Operation, Wire, runtime_error_response, scope_of_authorization
from localcloud.gateway.spec import Fault
from localcloud.loops import Loop

if TYPE_CHECKING:
    from localcloud.cloud import Cloud

_PARTS: Final = (TrainingJobs, Models, EndpointConfigs, Endpoints, Registry, Tags)
OPERATIONS: Final = tuple(sorted(name for part in _PARTS for name in vars(part) if name[0].isupper()))
"""Implemented operations of the service `sagemaker`, for `lab coverage`."""
RUNTIME_OPERATIONS: Final = ("InvokeEndpoint",)
"""Implemented operations of the service `sagemaker-runtime`."""

_LOGS_SECONDS: Final = 0.5
_INSTANCE_METRICS_SECONDS: Final = 15.0
_USAGE_SECONDS: Final = 10.0


class SageMaker:
    """The control plane of SageMaker, and the answers of sagemaker-runtime where no endpoint serves."""

    def __init__(self, cloud: Cloud) -> None:
        endpoint = f"http://127.0.0.1:{cloud.state.ports['aws']}"
        self._setting = Setting(cloud.store, cloud.clients, cloud.home, endpoint)
        self._cloud = cloud
        self._models = ModelStore(cloud.home.replicas / "models")
        self._jobs = Drivers(self._setting)
        self._endpoints = EndpointDrivers(self._setting, cloud.deployments, self._models)
        self._wire = Wire(self._operations(), LazyModel())
        self._logs = EndpointLogs(self._setting)
        self._instance_metrics = InstanceMetrics(cloud.clients)
        self._enactor = Enactor(self._setting, self._jobs, cloud.deployments)
        cloud.access_log.add_listener(RequestMetrics(cloud.clients))
        cloud.faults.enact = self.enact

    def routes(self) -> list[Route]:
        """POST / for the control plane; invocations that found no replica."""
        return [
            Route("/", self._wire.handle, methods=["POST"]),
            Route("/endpoints/{name}/{operation}", self._not_served, methods=["POST"]),
        ]

    def loops(self) -> list[Loop]:
        """Replica logs and instance metrics."""
        return [
            Loop("endpoint logs", _LOGS_SECONDS, self._logs.pump),
            Loop("instance metrics", _INSTANCE_METRICS_SECONDS, self._sample_instances),
            Loop("training usage", _USAGE_SECONDS, self.sample_usage),
        ]

    def adopt(self) -> None:
        """Go on with jobs and endpoints as the store has them."""
        self._models.clean()
        self._jobs.adopt()
        self._endpoints.adopt()

    def sample_usage(self) -> None:
        """Bring the ledger up to date for running jobs."""
        self._jobs.sample_usage()

    def enact(self, fault: Fault) -> None:
        """Do a kill or a spot reclaim to the jobs and endpoints that a fault names."""
        self._enactor.enact(fault)

    def leftovers(self, account: str) -> list[dict[str, Any]]:
        """What a tenant still has. Ended training jobs are no leftovers: on AWS they stay, and cost nothing."""
        return list(self._leftovers(account))

    def delete_tenant(self, account: str) -> None:
        """Stop and remove everything a tenant has."""
        store = self._setting.store
        for endpoint in store.list(ENDPOINT.stored, account):
            self._cloud.deployments.delete(endpoint.body["_deployment"])
        for job in store.list(TRAINING_JOB.stored, account):
            self._jobs.forget(job.key)
        for resource in [each for kind in KINDS for each in store.list(kind.stored, account)]:
            store.delete(resource.key)
        self._models.forget(account)
        logs.forget(store, account)
        for folder in (self._setting.home.jobs / account, self._setting.home.logs / "endpoints" / account):
            shutil.rmtree(folder, ignore_errors=True)

    def _operations(self) -> dict[str, Operation]:
        store = self._setting.store
        parts = (
            TrainingJobs(store, self._setting.clients, self._jobs),
            Models(store),
            EndpointConfigs(store),
            Endpoints(store, self._endpoints),
            Registry(store),
            Tags(store),
        )
        return {name: getattr(part, name) for part in parts for name in dir(part) if name in OPERATIONS}

    def _sample_instances(self) -> None:
        """CPU and memory of all replicas, into CloudWatch."""
        replicas = []
        for endpoint in self._setting.store.list(ENDPOINT.stored):
            for replica in self._cloud.deployments.replicas(endpoint.body["_deployment"]):
                variant = Variant(endpoint.key.tenant, endpoint.key.region, endpoint.key.name, replica.pool.name)
                if replica.identity is not None:
                    replicas.append((variant, replica.identity.pid, replica.pool.limits.memory_bytes or 1 << 40))
        self._instance_metrics.sample(replicas)

    def _leftovers(self, account: str) -> Iterator[dict[str, Any]]:
        for kind in KINDS:
            for resource in self._setting.store.list(kind.stored, account):
                is_job = kind is TRAINING_JOB
                if is_job and resource.body["_phase"] == "ended":
                    continue
                billable = is_job or kind is ENDPOINT
                yield {
                    "service": "sagemaker", "kind": kind.arn, "name": resource.key.name, "billable": billable,
                }  # fmt: skip

    def _not_served(self, request: Request) -> Response:
        """An invocation that the gateway could not send to a replica: why not, in the vendor's shape."""
        try:
            scope = scope_of_authorization(request.headers.get("authorization", ""))
            return runtime_error_response(self._why_not_served(scope, **request.path_params))
        except SageMakerError as error:
            return runtime_error_response(error)

    def _why_not_served(self, scope: Scope, name: str, operation: str) -> SageMakerError:
        if operation != "invocations":
            words = re.sub(r"(?:^|-)(\w)", lambda match: match[1].upper(), operation)
            return not_implemented(f"The runtime operation {words}")
        endpoint = self._setting.store.get(scope.key(ENDPOINT, name))
        if endpoint is None:
            return SageMakerError("ValidationError", f"Endpoint {name} of account {scope.account} not found.")
        status = endpoint.body["EndpointStatus"]
        if status in ("InService", "Updating"):
            return SageMakerError("ServiceUnavailable", f"Endpoint {name} is being routed. Try again.", 503)
        message = f"Endpoint {name} of account {scope.account} is not InService: its status is {status}."
        return SageMakerError("ValidationError", message)
