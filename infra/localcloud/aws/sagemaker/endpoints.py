"""The operations on endpoints. What happens to an endpoint after a request is in endpoint_driver.py."""

from __future__ import annotations

import time
from typing import Any, Final

from localcloud.aws.sagemaker.endpoint_configs import get_endpoint_config
from localcloud.aws.sagemaker.endpoint_driver import EndpointDrivers
from localcloud.aws.sagemaker.endpoint_pools import deployment_id
from localcloud.aws.sagemaker.errors import not_implemented, validation
from localcloud.aws.sagemaker.listing import Listing, page
from localcloud.aws.sagemaker.models import effective_container, get_model
from localcloud.aws.sagemaker.naming import ENDPOINT, Scope, public
from localcloud.aws.sagemaker.tags import at_creation
from localcloud.store import Resource, ResourceExistsError, Store

_LISTING: Final = Listing(
    answer="Endpoints",
    name="EndpointName",
    status="EndpointStatus",
    sort_by={"Name": "EndpointName", "Status": "EndpointStatus"},
    default_order="Descending",
)
_SUMMARY: Final = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
_MOST_REPLICAS: Final = 20


class Endpoints:
    """The operations on endpoints."""

    def __init__(self, store: Store, drivers: EndpointDrivers) -> None:
        self._store = store
        self._drivers = drivers

    def CreateEndpoint(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Begin to make an endpoint from a configuration."""
        _check_deployment(request.get("DeploymentConfig"))
        name, config_name = request["EndpointName"], request["EndpointConfigName"]
        key, arn, now = scope.key(ENDPOINT, name), scope.arn(ENDPOINT, name), time.time()
        body = {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": config_name,
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
            "_tags": at_creation(request),
            "_deployment": deployment_id(scope, name, now),
            "_variants": [],
            "_pending": self._pending(scope, config_name),
        }
        try:
            self._store.insert(key, body)
        except ResourceExistsError:
            raise validation(f'Cannot create already existing endpoint "{arn}".') from None
        self._drivers.drive(key)
        return {"EndpointArn": arn}

    def UpdateEndpoint(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Begin to move an endpoint to another configuration: the new replicas must be healthy before any traffic."""
        _check_deployment(request.get("DeploymentConfig"))
        name = request["EndpointName"]
        pending = self._pending(scope, request["EndpointConfigName"])
        if request.get("RetainAllVariantProperties"):
            excluded = {each["VariantPropertyType"] for each in request.get("ExcludeRetainedVariantProperties") or []}
            _retain(pending["variants"], self._endpoint(scope, name).body["_variants"], excluded)
        return self._begin(scope, name, pending)

    def UpdateEndpointWeightsAndCapacities(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Begin to change weights and instance counts of variants, without a new revision."""
        name = request["EndpointName"]
        endpoint = self._endpoint(scope, name).body
        variants = [dict(variant) for variant in endpoint["_variants"]]
        by_name = {variant["name"]: variant for variant in variants}
        for wanted in request["DesiredWeightsAndCapacities"]:
            variant = by_name.get(wanted["VariantName"])
            if variant is None:
                raise validation(
                    f'Could not find production variant "{wanted["VariantName"]}" for endpoint'
                    f' "{endpoint["EndpointArn"]}".'
                )
            _apply_desired(variant, wanted)
        if not any(variant["weight"] > 0 for variant in variants):
            raise validation("At least one production variant must have a weight greater than 0.")
        pending = {"kind": "capacity", "config": endpoint["EndpointConfigName"], "variants": variants}
        return self._begin(scope, name, {**pending, "since": time.time(), "revision": None})

    def DescribeEndpoint(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """An endpoint as it is now."""
        body = self._endpoint(scope, request["EndpointName"]).body
        answer = public(body)
        variants = self._drivers.summaries(body)
        if variants:
            answer["ProductionVariants"] = variants
        pending = body.get("_pending")
        if pending and body["EndpointStatus"] == "Updating" and pending["kind"] == "config":
            answer["PendingDeploymentSummary"] = _pending_summary(pending)
        return answer

    def DeleteEndpoint(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Begin to remove an endpoint; requests under way are answered."""
        resource = self._endpoint(scope, request["EndpointName"])

        def update(body: dict[str, Any]) -> None:
            body.update(EndpointStatus="Deleting", LastModifiedTime=time.time(), _pending=None)

        self._store.change(resource.key, update)
        self._drivers.drive(resource.key)
        return {}

    def ListEndpoints(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """One page of endpoints."""
        entries: list[dict[str, Any]] = [
            {member: resource.body[member] for member in _SUMMARY}
            for resource in self._store.list(ENDPOINT.stored, scope.account, scope.region)
        ]
        return page(_LISTING, entries, request)

    def _begin(self, scope: Scope, name: str, pending: dict[str, Any]) -> dict[str, Any]:
        resource = self._endpoint(scope, name)

        def update(body: dict[str, Any]) -> None:
            if body["EndpointStatus"] != "InService":
                raise validation(f'Cannot update in-progress endpoint "{body["EndpointArn"]}".')
            body.update(EndpointStatus="Updating", LastModifiedTime=time.time(), _pending=pending)
            body.pop("FailureReason", None)

        self._store.change(resource.key, update)
        self._drivers.drive(resource.key)
        return {"EndpointArn": resource.body["EndpointArn"]}

    def _endpoint(self, scope: Scope, name: str) -> Resource:
        resource = self._store.get(scope.key(ENDPOINT, name))
        if resource is None:
            raise validation(ENDPOINT.missing.format(arn=scope.arn(ENDPOINT, name)))
        return resource

    def _pending(self, scope: Scope, config_name: str) -> dict[str, Any]:
        """The variants of a configuration with their containers, copied: models may be deleted later."""
        config = get_endpoint_config(self._store, scope, config_name)
        variants = []
        for variant in config["ProductionVariants"]:
            model = get_model(self._store, scope, variant["ModelName"])
            seconds = variant.get("ContainerStartupHealthCheckTimeoutInSeconds")
            variants.append(
                {
                    "name": variant["VariantName"],
                    "instance_type": variant["InstanceType"],
                    "count": variant["InitialInstanceCount"],
                    "weight": variant["InitialVariantWeight"],
                    "container": effective_container(self._store, scope, model),
                    **({"start_seconds": seconds} if seconds else {}),
                }
            )
        return {
            "kind": "config",
            "config": config_name,
            "variants": variants,
            "since": time.time(),
            "revision": None,
        }


def _apply_desired(variant: dict[str, Any], wanted: dict[str, Any]) -> None:
    if wanted.get("ServerlessUpdateConfig"):
        raise not_implemented("UpdateEndpointWeightsAndCapacities with ServerlessUpdateConfig")
    variant["weight"] = wanted.get("DesiredWeight", variant["weight"])
    variant["count"] = wanted.get("DesiredInstanceCount", variant["count"])
    if not 1 <= variant["count"] <= _MOST_REPLICAS:
        raise validation(
            f"DesiredInstanceCount {variant['count']} for variant {variant['name']}: the local cloud runs 1 to"
            f" {_MOST_REPLICAS} replicas of a variant on this machine."
        )


def _retain(variants: list[dict[str, Any]], now: list[dict[str, Any]], excluded: set[str]) -> None:
    """Give new variants the counts and weights that those of the same name have now."""
    kept = {variant["name"]: variant for variant in now}
    for variant in variants:
        old = kept.get(variant["name"])
        if old and "DesiredInstanceCount" not in excluded:
            variant["count"] = old["count"]
        if old and "DesiredWeight" not in excluded:
            variant["weight"] = old["weight"]


def _pending_summary(pending: dict[str, Any]) -> dict[str, Any]:
    variants = [
        {
            "VariantName": each["name"],
            "DesiredWeight": each["weight"],
            "DesiredInstanceCount": each["count"],
            "CurrentInstanceCount": 0,
        }
        for each in pending["variants"]
    ]
    return {
        "EndpointConfigName": pending["config"],
        "StartTime": pending["since"],
        "ProductionVariants": variants,
    }


def _check_deployment(config: dict[str, Any] | None) -> None:
    """Updates here are blue/green and all at once; what asks for anything else is refused."""
    if not config:
        return
    if config.get("RollingUpdatePolicy"):
        raise not_implemented("DeploymentConfig with RollingUpdatePolicy")
    if (config.get("AutoRollbackConfiguration") or {}).get("Alarms"):
        raise not_implemented("DeploymentConfig with AutoRollbackConfiguration")
    traffic = (config.get("BlueGreenUpdatePolicy") or {}).get("TrafficRoutingConfiguration") or {}
    if traffic.get("Type", "ALL_AT_ONCE") != "ALL_AT_ONCE":
        raise not_implemented(f"Traffic routing of type {traffic['Type']}")
