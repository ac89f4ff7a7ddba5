"""Drives endpoints from one state to the next: models in place, replicas healthy, traffic moved; or the reason why not.

What is to be done is in the store (`_pending`, or the status Deleting), so that a restarted control plane goes on.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.aws.sagemaker.endpoint_pools import Variant, log_folder, pool, route, weight_units
from localcloud.aws.sagemaker.model_data import ModelDataError, ModelStore, vendor_text
from localcloud.aws.sagemaker.naming import ENDPOINT, scope_of
from localcloud.aws.sagemaker.setting import Setting
from localcloud.aws.sagemaker.training_status import clipped
from localcloud.runtime.spec import DeploymentSpec, DeploymentStatus
from localcloud.store import Key, StoreFullError

_TICK_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 60.0
_log: Final = logging.getLogger(__name__)


class Deployments(Protocol):
    """What the runtime does for endpoints."""

    def apply(self, spec: DeploymentSpec, /) -> int:
        """Make a new revision; returns its number at once."""

    def set_pools(self, deployment_id: str, pools: Mapping[str, tuple[int, int]], /) -> None:
        """Change weights and replica counts."""

    def status(self, deployment_id: str, /) -> DeploymentStatus | None:
        """How the deployment is."""

    def delete(self, deployment_id: str, /) -> None:
        """Stop it."""


class EndpointDrivers:
    """One thread for each endpoint that is on its way to another state."""

    def __init__(self, setting: Setting, deployments: Deployments, models: ModelStore) -> None:
        self._setting = setting
        self._deployments = deployments
        self._models = models
        self._lock = threading.Lock()
        self._busy: set[Key] = set()

    def drive(self, key: Key) -> None:
        """Bring an endpoint to where the store wants it; a thread that is at it already sees the change itself."""
        with self._lock:
            if key in self._busy:
                return
            self._busy.add(key)
        threading.Thread(target=self._run, args=(key,), name=f"endpoint-{key.name}", daemon=True).start()

    def adopt(self) -> None:
        """Go on with all endpoints that were on their way when the control plane died."""
        for resource in self._setting.store.list(ENDPOINT.stored):
            if _has_work(resource.body):
                self.drive(resource.key)

    def summaries(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """ProductionVariants of DescribeEndpoint, with what the runtime says at this moment."""
        status = self._deployments.status(body["_deployment"])
        healthy = {each.name: each.healthy for each in status.pools} if status else {}
        variants = body["_variants"]
        wanted = {each["name"]: each for each in _capacity(body) or variants}
        return [_summary(each, wanted.get(each["name"], each), healthy.get(each["name"], 0)) for each in variants]

    def _run(self, key: Key) -> None:
        patience = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with self._lock:  # a change that is made after this look starts a new thread
                resource = self._setting.store.get(key)
                if resource is None or not _has_work(resource.body):
                    self._busy.discard(key)
                    return
            try:
                if not self._step(key, resource.body):
                    time.sleep(_TICK_SECONDS)
                patience = time.monotonic() + _PATIENCE_SECONDS
            except ModelDataError as error:
                self._settle(key, resource.body["_pending"], f"{error}")
            except (StoreFullError, BotoCoreError, ClientError, OSError) as error:
                if time.monotonic() > patience and resource.body.get("_pending"):
                    self._settle(
                        key, resource.body["_pending"], f"Request to service failed. {error} Look at: lab status"
                    )
                time.sleep(0.2)
            except Exception as error:
                _log.exception("%s failed", key)
                self._settle(key, resource.body.get("_pending"), f"Internal failure: {type(error).__name__}: {error}")
                time.sleep(0.2)

    def _step(self, key: Key, body: dict[str, Any]) -> bool:
        """One step; False when there is nothing to do but wait."""
        if body["EndpointStatus"] == "Deleting":
            return self._delete(key, body)
        pending = body["_pending"]
        if pending["revision"] is None:
            self._apply(key, body, pending)
            return True
        return self._look(key, body, pending)

    def _apply(self, key: Key, body: dict[str, Any], pending: dict[str, Any]) -> None:
        if pending["kind"] == "capacity":
            wanted = {each["name"]: (weight_units(each["weight"]), each["count"]) for each in pending["variants"]}
            self._deployments.set_pools(body["_deployment"], wanted)
            revision = 0
        else:
            revision = self._deployments.apply(self._spec(key, body, pending))

        def update(body: dict[str, Any]) -> None:
            if body.get("_pending") == pending:
                body["_pending"] = {**pending, "revision": revision}

        if self._setting.store.change(key, update) is None:  # the tenant was deleted meanwhile
            self._deployments.delete(body["_deployment"])

    def _spec(self, key: Key, body: dict[str, Any], pending: dict[str, Any]) -> DeploymentSpec:
        scope = scope_of(key)
        s3 = self._setting.clients.aws("s3", scope.account, scope.region)
        pools = []
        for described in pending["variants"]:
            variant = Variant(**described)
            model = self._models.ready(s3, scope.account, variant.container)
            pools.append(pool(self._setting, scope, key.name, variant, model))
        return DeploymentSpec(
            id=body["_deployment"],
            tenant=scope.account,
            region=scope.region,
            route=route(scope, key.name),
            pools=tuple(pools),
        )

    def _look(self, key: Key, body: dict[str, Any], pending: dict[str, Any]) -> bool:
        status = self._deployments.status(body["_deployment"])
        if status is None:
            self._settle(key, pending, "The deployment is gone. Delete the endpoint and create it again.")
            return True
        if status.state == "failed":
            self._settle(key, pending, _failure(status, pending))
            return True
        if status.state == "in-service" and _is_reached(status, pending):
            self._settle(key, pending)
            return True
        return False

    def _settle(self, key: Key, pending: dict[str, Any] | None, failure: str = "") -> None:
        """Enter the state that a change leads to; after a failed update the old replicas serve on."""

        def update(body: dict[str, Any]) -> None:
            if body.get("_pending") is None or body["EndpointStatus"] == "Deleting" or pending is None:
                return
            body.update(_pending=None, LastModifiedTime=time.time())
            if not failure:
                body.update(
                    EndpointStatus="InService", EndpointConfigName=pending["config"], _variants=pending["variants"]
                )
                return
            created = bool(body["_variants"])
            body.update(
                EndpointStatus="InService" if created else "Failed", FailureReason=clipped(vendor_text(failure))
            )

        self._setting.store.change(key, update)

    def _delete(self, key: Key, body: dict[str, Any]) -> bool:
        if self._deployments.status(body["_deployment"]) is not None:
            self._deployments.delete(body["_deployment"])
            return False
        self._setting.store.delete(key)
        shutil.rmtree(log_folder(self._setting, scope_of(key), key.name), ignore_errors=True)
        return True


def _has_work(body: dict[str, Any]) -> bool:
    return body["EndpointStatus"] == "Deleting" or body.get("_pending") is not None


def _capacity(body: dict[str, Any]) -> list[dict[str, Any]] | None:
    pending = body.get("_pending")
    return pending["variants"] if pending and pending["kind"] == "capacity" else None


def _is_reached(status: DeploymentStatus, pending: dict[str, Any]) -> bool:
    if pending["kind"] == "config":
        return status.revision >= int(pending["revision"])
    now = {each.name: (each.weight, each.healthy) for each in status.pools}
    wanted = {each["name"]: (weight_units(each["weight"]), each["count"]) for each in pending["variants"]}
    return all(now.get(name) == state for name, state in wanted.items())


def _failure(status: DeploymentStatus, pending: dict[str, Any]) -> str:
    short = [each.name for each in status.pools if each.healthy < each.desired]
    name = short[0] if short else pending["variants"][0]["name"]
    return (
        f"The primary container for production variant {name} did not pass the ping health check. Please check"
        f" CloudWatch logs for this endpoint. {status.reason}"
    )


def _summary(variant: dict[str, Any], wanted: dict[str, Any], healthy: int) -> dict[str, Any]:
    image = variant["container"].get("Image")
    summary = {
        "VariantName": variant["name"],
        "CurrentWeight": float(variant["weight"]),
        "DesiredWeight": float(wanted["weight"]),
        "CurrentInstanceCount": healthy,
        "DesiredInstanceCount": wanted["count"],
    }
    return {**summary, "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image}]} if image else summary
