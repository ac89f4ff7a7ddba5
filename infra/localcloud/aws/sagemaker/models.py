"""Models: which container and which data make an endpoint."""

from __future__ import annotations

import time
from typing import Any, Final

from localcloud.aws.sagemaker.errors import not_implemented, validation
from localcloud.aws.sagemaker.listing import Listing, page
from localcloud.aws.sagemaker.naming import MODEL, PACKAGE, Scope, public
from localcloud.aws.sagemaker.tags import at_creation
from localcloud.store import ResourceExistsError, Store

_LISTING: Final = Listing(answer="Models", name="ModelName", sort_by={"Name": "ModelName"}, default_order="Descending")


class Models:
    """The operations on models."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def CreateModel(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Remember a model. Its data is fetched when an endpoint uses it, as on AWS."""
        _refuse_what_cannot_run(request)
        name = request["ModelName"]
        for container in containers(request):
            self._check_container(scope, container)
        body = {
            **{member: value for member, value in request.items() if member != "Tags"},
            "ModelArn": scope.arn(MODEL, name),
            "CreationTime": time.time(),
            "EnableNetworkIsolation": bool(request.get("EnableNetworkIsolation")),
            "_tags": at_creation(request),
        }
        try:
            self._store.insert(scope.key(MODEL, name), body)
        except ResourceExistsError:
            raise validation(f'Cannot create already existing model "{body["ModelArn"]}".') from None
        return {"ModelArn": body["ModelArn"]}

    def DescribeModel(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """A model as it was created."""
        return public(get_model(self._store, scope, request["ModelName"]))

    def DeleteModel(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a model. Endpoints that use it go on, as on AWS."""
        if not self._store.delete(scope.key(MODEL, request["ModelName"])):
            raise _missing(scope, request["ModelName"])
        return {}

    def ListModels(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """One page of models."""
        entries = [
            {member: resource.body[member] for member in ("ModelName", "ModelArn", "CreationTime")}
            for resource in self._store.list(MODEL.stored, scope.account, scope.region)
        ]
        return page(_LISTING, entries, request)

    def _check_container(self, scope: Scope, container: dict[str, Any]) -> None:
        if container.get("ModelPackageName"):
            approved_package(self._store, scope, container["ModelPackageName"])
        elif not container.get("Image"):
            raise validation("Container image is required: give Image or ModelPackageName in the container definition.")
        if container.get("ModelDataUrl") and container.get("ModelDataSource"):
            raise validation("Both ModelDataUrl and ModelDataSource are set. Only one of them can be specified.")


def containers(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers of a model: the primary one, or the pipeline."""
    primary = model.get("PrimaryContainer")
    return [primary] if primary else list(model.get("Containers") or [])


def get_model(store: Store, scope: Scope, name: str) -> dict[str, Any]:
    """A model's stored body; raises as the real service does when there is none."""
    resource = store.get(scope.key(MODEL, name))
    if resource is None:
        raise _missing(scope, name)
    return resource.body


def effective_container(store: Store, scope: Scope, model: dict[str, Any]) -> dict[str, Any]:
    """The one container to run, a model package replaced by what it holds."""
    container = containers(model)[0]
    if not container.get("ModelPackageName"):
        return container
    package = approved_package(store, scope, container["ModelPackageName"])
    packaged: dict[str, Any] = package["InferenceSpecification"]["Containers"][0]
    environment = {**(packaged.get("Environment") or {}), **(container.get("Environment") or {})}
    return {**packaged, "Environment": environment}


def approved_package(store: Store, scope: Scope, name: str) -> dict[str, Any]:
    """A model package that may be deployed; raises for one that is missing, unapproved or has no container."""
    resource = scope.get(store, PACKAGE, name)
    if resource is None:
        raise validation(PACKAGE.missing.format(arn=name))
    package = resource.body
    status = package.get("ModelApprovalStatus", "Approved")
    if status != "Approved":
        raise validation(
            f"Cannot create Model with ModelPackage {package['ModelPackageArn']}: its approval status is {status}."
            " Approve it first: update_model_package(ModelApprovalStatus='Approved')"
        )
    if not package.get("InferenceSpecification"):
        raise validation(f"ModelPackage {package['ModelPackageArn']} has no InferenceSpecification to deploy.")
    return package


def _missing(scope: Scope, name: str) -> Exception:
    return validation(MODEL.missing.format(arn=scope.arn(MODEL, name)))


def _refuse_what_cannot_run(request: dict[str, Any]) -> None:
    found = containers(request)
    if not found:
        raise validation("Either PrimaryContainer or Containers must be specified.")
    if request.get("PrimaryContainer") and request.get("Containers"):
        raise validation("Only one of PrimaryContainer and Containers can be specified.")
    if len(found) > 1:
        raise not_implemented("An inference pipeline (CreateModel with several Containers)")
    if found[0].get("Mode", "SingleModel") != "SingleModel":
        raise not_implemented("A multi-model container (Mode MultiModel)")
    if found[0].get("AdditionalModelDataSources"):
        raise not_implemented("CreateModel with AdditionalModelDataSources")
    if request.get("VpcConfig"):
        raise not_implemented("CreateModel with VpcConfig")
