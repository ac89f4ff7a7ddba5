"""The model registry: groups of model packages, their versions and their approval."""

from __future__ import annotations

import time
from typing import Any, Final

from localcloud.aws.sagemaker.errors import SageMakerError, not_found, not_implemented, validation
from localcloud.aws.sagemaker.listing import Listing, page
from localcloud.aws.sagemaker.naming import PACKAGE, PACKAGE_GROUP, Scope, public
from localcloud.aws.sagemaker.tags import at_creation
from localcloud.store import Key, Resource, ResourceExistsError, Store

_GROUPS: Final = Listing(
    answer="ModelPackageGroupSummaryList",
    name="ModelPackageGroupName",
    sort_by={"Name": "ModelPackageGroupName"},
)
_PACKAGES: Final = Listing(
    answer="ModelPackageSummaryList",
    name="_name",
    sort_by={"Name": "_name"},
    equals={"ModelApprovalStatus": "ModelApprovalStatus"},
)
_GROUP_SUMMARY: Final = (
    "ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime",
    "ModelPackageGroupStatus",
)  # fmt: skip
_PACKAGE_SUMMARY: Final = (
    "ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription",
    "CreationTime", "ModelPackageStatus", "ModelApprovalStatus", "ModelLifeCycle", "ModelPackageRegistrationType",
)  # fmt: skip
_BATCH_SUMMARY: Final = (
    "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime",
    "InferenceSpecification", "ModelPackageStatus", "ModelApprovalStatus",
)  # fmt: skip
_UPDATABLE: Final = (
    "ModelApprovalStatus", "ApprovalDescription", "InferenceSpecification", "SourceUri", "ModelCard", "ModelLifeCycle",
    "ModelPackageRegistrationType",
)  # fmt: skip
_NOT_STORED: Final = frozenset({"Tags", "ClientToken"})


class Registry:
    """The operations on model package groups and model packages."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def CreateModelPackageGroup(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Make an empty group."""
        name = request["ModelPackageGroupName"]
        arn = scope.arn(PACKAGE_GROUP, name)
        body = {
            **{member: value for member, value in request.items() if member not in _NOT_STORED},
            "ModelPackageGroupArn": arn,
            "CreationTime": time.time(),
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
            "_latest": 0,
            "_tags": at_creation(request),
        }
        try:
            self._store.insert(scope.key(PACKAGE_GROUP, name), body)
        except ResourceExistsError:
            raise validation(f"Model Package Group already exists: {arn}") from None
        return {"ModelPackageGroupArn": arn}

    def DescribeModelPackageGroup(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """A group as it was created."""
        return public(self._group(scope, request["ModelPackageGroupName"]).body)

    def DeleteModelPackageGroup(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Remove a group that holds no packages."""
        with self._store.transaction():
            group = self._group(scope, request["ModelPackageGroupName"])
            if self._versions(scope, group.key.name):
                raise SageMakerError(
                    "ConflictException",
                    f"Model Package Group {group.body['ModelPackageGroupArn']} cannot be deleted because it still"
                    " contains Model Packages.",
                )
            self._store.delete(group.key)
        return {}

    def ListModelPackageGroups(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """One page of groups."""
        entries = [
            _only(resource.body, _GROUP_SUMMARY)
            for resource in self._store.list(PACKAGE_GROUP.stored, scope.account, scope.region)
        ]
        return page(_GROUPS, entries, request)

    def CreateModelPackage(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Register a model: the next version of a group, or a package of its own."""
        _check_package(request)
        with self._store.transaction():
            key, identity = self._identity(scope, request)
            body = {
                **{member: value for member, value in request.items() if member not in _NOT_STORED},
                "ModelPackageName": key.name.split("/")[0],
                **identity,
                "ModelPackageArn": scope.arn(PACKAGE, key.name),
                "CreationTime": time.time(),
                "CreatedBy": {},
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": []},
                "_tags": at_creation(request),
            }
            try:
                self._store.insert(key, body)
            except ResourceExistsError:
                raise SageMakerError(
                    "ConflictException", f"Model Package already exists: {body['ModelPackageArn']}"
                ) from None
        return {"ModelPackageArn": body["ModelPackageArn"]}

    def DescribeModelPackage(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """A package, by name or ARN."""
        return public(self._package(scope, request["ModelPackageName"]).body)

    def BatchDescribeModelPackage(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Several packages at once; those that do not exist are errors in the answer."""
        found: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        for arn in request["ModelPackageArnList"]:
            resource = scope.by_arn(self._store, PACKAGE, arn)
            if resource:
                found[arn] = _only(resource.body, _BATCH_SUMMARY)
            else:
                errors[arn] = {"ErrorCode": "ValidationException", "ErrorResponse": PACKAGE.missing.format(arn=arn)}
        return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": errors}

    def UpdateModelPackage(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Approve or reject a package, or edit what describes it."""
        key = self._package(scope, request["ModelPackageArn"]).key

        def update(body: dict[str, Any]) -> None:
            body.update({member: request[member] for member in _UPDATABLE if member in request})
            properties = {**body.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
            for name in request.get("CustomerMetadataPropertiesToRemove", []):
                properties.pop(name, None)
            if properties or "CustomerMetadataProperties" in body:
                body["CustomerMetadataProperties"] = properties
            more = request.get("AdditionalInferenceSpecificationsToAdd", [])
            if more:
                body["AdditionalInferenceSpecifications"] = body.get("AdditionalInferenceSpecifications", []) + more
            body.update(LastModifiedTime=time.time(), LastModifiedBy={})

        self._store.change(key, update)
        return {"ModelPackageArn": scope.arn(PACKAGE, key.name)}

    def DeleteModelPackage(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Remove a package; its version number is not used again."""
        self._store.delete(self._package(scope, request["ModelPackageName"]).key)
        return {}

    def ListModelPackages(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """One page of packages: of one group, or those of the wanted type (unversioned ones by default, as on AWS)."""
        if request.get("ModelPackageGroupName"):
            group = self._group(scope, request["ModelPackageGroupName"])
            packages = self._versions(scope, group.key.name)
        else:
            wanted = request.get("ModelPackageType", "Unversioned")
            packages = [
                resource
                for resource in self._store.list(PACKAGE.stored, scope.account, scope.region)
                if wanted == "Both" or ("ModelPackageVersion" in resource.body) == (wanted == "Versioned")
            ]
        listed = page(_PACKAGES, [_package_entry(resource) for resource in packages], request)
        listed[_PACKAGES.answer] = [public(entry) for entry in listed[_PACKAGES.answer]]
        return listed

    def _identity(self, scope: Scope, request: dict[str, Any]) -> tuple[Key, dict[str, Any]]:
        """The key and the members that a new package gets from its group (or from its own name)."""
        if not request.get("ModelPackageGroupName"):
            return scope.key(PACKAGE, request["ModelPackageName"]), {}
        group = self._group(scope, request["ModelPackageGroupName"])
        version = group.body["_latest"] + 1
        self._store.put(group.key, {**group.body, "_latest": version})
        identity = {
            "ModelPackageGroupName": group.key.name,
            "ModelPackageVersion": version,
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
        }
        return scope.key(PACKAGE, f"{group.key.name}/{version}"), identity

    def _group(self, scope: Scope, name: str) -> Resource:
        resource = scope.get(self._store, PACKAGE_GROUP, name)
        if resource is None:
            arn = name if name.startswith("arn:") else scope.arn(PACKAGE_GROUP, name)
            raise not_found(PACKAGE_GROUP.missing.format(arn=arn))
        return resource

    def _package(self, scope: Scope, name: str) -> Resource:
        resource = scope.get(self._store, PACKAGE, name)
        if resource is None:
            arn = name if name.startswith("arn:") else scope.arn(PACKAGE, name)
            raise not_found(PACKAGE.missing.format(arn=arn))
        return resource

    def _versions(self, scope: Scope, group: str) -> list[Resource]:
        return [
            resource
            for resource in self._store.list(PACKAGE.stored, scope.account, scope.region)
            if resource.body.get("ModelPackageGroupName") == group
        ]


def _check_package(request: dict[str, Any]) -> None:
    if not request.get("ModelPackageGroupName") and not request.get("ModelPackageName"):
        raise validation("Either ModelPackageName or ModelPackageGroupName must be specified.")
    if request.get("ModelPackageGroupName") and request.get("ModelPackageName"):
        raise validation("ModelPackageName and ModelPackageGroupName cannot both be specified.")
    if request.get("ValidationSpecification"):
        raise not_implemented("CreateModelPackage with ValidationSpecification (it runs batch transform jobs)")
    if request.get("SourceAlgorithmSpecification"):
        raise not_implemented("CreateModelPackage with SourceAlgorithmSpecification (AWS Marketplace algorithms)")


def _package_entry(resource: Resource) -> dict[str, Any]:
    """A summary, with a `_name` that sorts versions by number and can be searched."""
    group, _, version = resource.key.name.partition("/")
    return {**_only(resource.body, _PACKAGE_SUMMARY), "_name": f"{group}/{int(version):09}" if version else group}


def _only(body: dict[str, Any], members: tuple[str, ...]) -> dict[str, Any]:
    return {member: body[member] for member in members if member in body}
