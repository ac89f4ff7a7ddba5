"""Endpoint configurations: production variants with their models, instances and weights."""

from __future__ import annotations

import time
from typing import Any, Final

from localcloud.aws import instances
from localcloud.aws.sagemaker.errors import not_implemented, validation
from localcloud.aws.sagemaker.listing import Listing, page
from localcloud.aws.sagemaker.models import get_model
from localcloud.aws.sagemaker.naming import ENDPOINT_CONFIG, Scope, public
from localcloud.aws.sagemaker.tags import at_creation
from localcloud.store import ResourceExistsError, Store

_LISTING: Final = Listing(
    answer="EndpointConfigs",
    name="EndpointConfigName",
    sort_by={"Name": "EndpointConfigName"},
    default_order="Descending",
)
_REFUSED: Final = (
    "AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants", "VpcConfig", "MetricsConfig",
)  # fmt: skip
_REFUSED_IN_VARIANT: Final = (
    "ServerlessConfig", "AcceleratorType", "CoreDumpConfig", "ManagedInstanceScaling", "InstancePools",
    "CapacityReservationConfig",
)  # fmt: skip
_MOST_REPLICAS: Final = 20


class EndpointConfigs:
    """The operations on endpoint configurations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def CreateEndpointConfig(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Remember a configuration after checking that its variants can run here."""
        _refuse_what_cannot_run(request)
        for variant in request["ProductionVariants"]:
            _check_variant(variant)
            get_model(self._store, scope, variant["ModelName"])
        _check_together(request["ProductionVariants"])
        name = request["EndpointConfigName"]
        body = {
            **{member: value for member, value in request.items() if member != "Tags"},
            "ProductionVariants": [{"InitialVariantWeight": 1.0, **each} for each in request["ProductionVariants"]],
            "EndpointConfigArn": scope.arn(ENDPOINT_CONFIG, name),
            "EnableNetworkIsolation": bool(request.get("EnableNetworkIsolation")),
            "CreationTime": time.time(),
            "_tags": at_creation(request),
        }
        try:
            self._store.insert(scope.key(ENDPOINT_CONFIG, name), body)
        except ResourceExistsError:
            raise validation(
                f'Cannot create already existing endpoint configuration "{body["EndpointConfigArn"]}".'
            ) from None
        return {"EndpointConfigArn": body["EndpointConfigArn"]}

    def DescribeEndpointConfig(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """A configuration as it was created."""
        return public(get_endpoint_config(self._store, scope, request["EndpointConfigName"]))

    def DeleteEndpointConfig(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a configuration. Endpoints made from it go on."""
        name = request["EndpointConfigName"]
        if not self._store.delete(scope.key(ENDPOINT_CONFIG, name)):
            raise _missing(scope, name)
        return {}

    def ListEndpointConfigs(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """One page of configurations."""
        members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        entries = [
            {member: resource.body[member] for member in members}
            for resource in self._store.list(ENDPOINT_CONFIG.stored, scope.account, scope.region)
        ]
        return page(_LISTING, entries, request)


def get_endpoint_config(store: Store, scope: Scope, name: str) -> dict[str, Any]:
    """A configuration's stored body; raises as the real service does when there is none."""
    resource = store.get(scope.key(ENDPOINT_CONFIG, name))
    if resource is None:
        raise _missing(scope, name)
    return resource.body


def _missing(scope: Scope, name: str) -> Exception:
    return validation(ENDPOINT_CONFIG.missing.format(arn=scope.arn(ENDPOINT_CONFIG, name)))


def _refuse_what_cannot_run(request: dict[str, Any]) -> None:
    for member in _REFUSED:
        if request.get(member):
            raise not_implemented(f"CreateEndpointConfig with {member}")
    if (request.get("DataCaptureConfig") or {}).get("EnableCapture"):
        raise not_implemented("CreateEndpointConfig with DataCaptureConfig")
    for variant in request["ProductionVariants"]:
        for member in _REFUSED_IN_VARIANT:
            if variant.get(member):
                raise not_implemented(f"A production variant with {member}")
        if (variant.get("RoutingConfig") or {}).get("RoutingStrategy", "RANDOM") != "RANDOM":
            raise not_implemented("RoutingStrategy LEAST_OUTSTANDING_REQUESTS")


def _check_variant(variant: dict[str, Any]) -> None:
    name = variant["VariantName"]
    if not variant.get("ModelName"):
        raise not_implemented(f"Variant {name} without ModelName (an endpoint for inference components)")
    if not variant.get("InstanceType") or not variant.get("InitialInstanceCount"):
        raise validation(f"InstanceType and InitialInstanceCount are required for production variant {name}.")
    if variant["InitialInstanceCount"] > _MOST_REPLICAS:
        raise validation(
            f"InitialInstanceCount of {variant['InitialInstanceCount']} for variant {name}: the local cloud runs"
            f" at most {_MOST_REPLICAS} replicas of a variant on this machine. Ask for fewer."
        )
    instances.find(variant["InstanceType"])


def _check_together(variants: list[dict[str, Any]]) -> None:
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        raise validation("Production variant names must be unique within an endpoint configuration.")
    if not any(variant.get("InitialVariantWeight", 1.0) > 0 for variant in variants):
        raise validation("At least one production variant must have a weight greater than 0.")
