"""Clean-up: delete what a lab made through the vendor's own calls; swallow nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from labs.control import Leftover
from labs.show import Progress
from labs.wait import wait_until

if TYPE_CHECKING:
    from labs.aws import Lab

_GONE: Final = frozenset({
    "ValidationException", "ResourceNotFound", "ResourceNotFoundException", "NoSuchEntity", "NoSuchBucket", "404",
    "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NotFoundException",
})  # fmt: skip
"""Error codes that can mean: it is not there."""
_GONE_WORDS: Final = ("could not find", "does not exist", "not found", "cannot be found", "nonexistent")
_DELETION_SECONDS: Final = 300
_RUNNING: Final = frozenset({"InProgress", "Stopping"})


class CleanupError(RuntimeError):
    """Something could not be deleted or is still there; the message lists all of it."""


@dataclass(frozen=True)
class Thing:
    """Something to delete."""

    service: str
    kind: str
    name: str
    delete: Callable[[], object]


@dataclass(frozen=True)
class Cleaned:
    """What a clean-up deleted."""

    things: tuple[str, ...]

    def __str__(self) -> str:
        count = len(self.things)
        return (
            "Nothing is left."
            if count == 0
            else f"Deleted {count} {'thing' if count == 1 else 'things'}; nothing is left."
        )

    def _ipython_display_(self) -> None:
        """Nothing: `Lab.cleanup` has said it already."""


def run(things: Iterable[Thing], deleted: Callable[[str, str, str], None]) -> Cleaned:
    """Delete one after another, all of them even when some fail; raises CleanupError with every failure."""
    done: list[str] = []
    failures: list[str] = []
    with Progress("Cleaning up") as progress:
        for thing in things:
            progress.update(detail=f"{thing.kind} {thing.name}")
            try:
                _delete(thing)
            except Exception as error:  # collected, and raised together below
                failures.append(f"{thing.service} {thing.kind} {thing.name}: {error}")
                continue
            deleted(thing.service, thing.kind, thing.name)
            done.append(f"{thing.kind} {thing.name}")
        progress.update(detail="")
    if failures:
        raise CleanupError("Could not delete:\n  " + "\n  ".join(failures) + "\nRun the clean-up again.")
    return Cleaned(tuple(done))


def refuse_leftovers(leftovers: list[Leftover]) -> None:
    """Raise CleanupError when something is left, naming it."""
    if not leftovers:
        return
    lines = [f"{each.service} {each.kind} {each.name}{' (costs money)' if each.billable else ''}" for each in leftovers]
    raise CleanupError("Still there after the clean-up:\n  " + "\n  ".join(lines) + "\nRun the clean-up again.")


def everything(lab: Lab) -> Iterable[Thing]:
    """All that the tenant's account holds: on the local cloud the whole account belongs to the lab.

    Lists lazily and in the order of dependence: what serves and runs first, then what it was made of.
    """
    for kind, names in _LISTS.items():
        try:
            found = names(lab)
        except Exception as error:  # reported with the other failures; the other kinds go on
            yield Thing(*kind, "(could not be listed)", partial(_raise, error))
            continue
        for name in found:
            yield thing(lab, kind, name)


def thing(lab: Lab, kind: tuple[str, str], name: str) -> Thing:
    """A thing of a known kind (service, kind), ready to be deleted; KeyError for an unknown kind."""
    delete = _DELETIONS[kind]
    return Thing(kind[0], kind[1], name, lambda: delete(lab, name))


def can_delete(kind: tuple[str, str]) -> bool:
    """Whether things of this kind (service, kind) can be deleted here."""
    return kind in _DELETIONS


def objects(lab: Lab, bucket: str, prefix: str) -> Iterable[Thing]:
    """The objects under a prefix as one thing; nothing when there are none or no such bucket."""
    if bucket in _buckets(lab) and lab.client("s3").list_object_versions(Bucket=bucket, Prefix=prefix, MaxKeys=1).get(
        "Versions"
    ):
        yield Thing("s3", "objects", f"{bucket}/{prefix}", lambda: empty(lab, bucket, prefix))


def empty(lab: Lab, bucket: str, prefix: str = "") -> None:
    """Delete all objects and versions under a prefix."""
    s3 = lab.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        batch = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        if batch:
            _refuse_errors(s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True}))
    for upload in s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _raise(error: Exception) -> None:
    raise error


def _refuse_errors(answer: Mapping[str, Any]) -> None:
    errors = answer.get("Errors", [])
    if errors:
        raise CleanupError("; ".join(f"{each['Key']}: {each['Code']} {each.get('Message', '')}" for each in errors))


def _delete(thing: Thing) -> None:
    from botocore.exceptions import ClientError

    try:
        thing.delete()
    except ClientError as error:
        if not _is_gone(error):
            raise


def _is_gone(error: Any) -> bool:
    found = error.response["Error"]
    words = found.get("Message", "").lower()
    return found["Code"] in _GONE and (found["Code"] != "ValidationException" or any(w in words for w in _GONE_WORDS))


def _names(service: str, operation: str, field: str, key: str | None) -> Callable[[Lab], list[str]]:
    """Lists names with a paginator: the `key` of each item under `field`, or the item itself."""

    def names(lab: Lab) -> list[str]:
        pages = lab.client(service).get_paginator(operation).paginate()
        return [item[key] if key else item for page in pages for item in page.get(field, [])]

    return names


def _call(service: str, operation: str, argument: str) -> Callable[[Lab, str], object]:
    """Deletes by one call with one argument."""
    return lambda lab, name: getattr(lab.client(service), operation)(**{argument: name})


def _running_jobs(lab: Lab) -> list[str]:
    pages = lab.client("sagemaker").get_paginator("list_training_jobs").paginate()
    return [
        job["TrainingJobName"]
        for page in pages
        for job in page["TrainingJobSummaries"]
        if job["TrainingJobStatus"] in _RUNNING
    ]


def _stop_job(lab: Lab, name: str) -> None:
    sagemaker = lab.client("sagemaker")

    def status() -> str:
        return str(sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"])

    if status() == "InProgress":
        sagemaker.stop_training_job(TrainingJobName=name)
    wait_until(lambda: status() not in _RUNNING, _DELETION_SECONDS, f"Stopping {name}", every=_every(lab), quiet=True)


def _delete_endpoint(lab: Lab, name: str) -> None:
    sagemaker = lab.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName=name)

    def is_gone() -> bool:
        found = sagemaker.list_endpoints(NameContains=name)["Endpoints"]
        return all(each["EndpointName"] != name for each in found)

    wait_until(is_gone, _DELETION_SECONDS, f"Deleting {name}", every=_every(lab), quiet=True)


def _every(lab: Lab) -> float:
    return 0.1 if lab.target == "local" else 5.0


def _model_packages(lab: Lab) -> list[str]:
    sagemaker = lab.client("sagemaker")
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageType="Both")
    return [each["ModelPackageArn"] for page in pages for each in page["ModelPackageSummaryList"]]


def _delete_group(lab: Lab, name: str) -> None:
    sagemaker = lab.client("sagemaker")
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=name)
    for package in [each["ModelPackageArn"] for page in pages for each in page["ModelPackageSummaryList"]]:
        sagemaker.delete_model_package(ModelPackageName=package)
    sagemaker.delete_model_package_group(ModelPackageGroupName=name)


def _delete_bucket(lab: Lab, name: str) -> None:
    empty(lab, name)
    lab.client("s3").delete_bucket(Bucket=name)


def _roles(lab: Lab) -> list[str]:
    pages = lab.client("iam").get_paginator("list_roles").paginate()
    return [r["RoleName"] for page in pages for r in page["Roles"] if not r["Path"].startswith("/aws-service-role/")]


def _delete_role(lab: Lab, name: str) -> None:
    iam = lab.client("iam")
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    for inline in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=inline)
    iam.delete_role(RoleName=name)


def _delete_alarm(lab: Lab, name: str) -> None:
    lab.client("cloudwatch").delete_alarms(AlarmNames=[name])


def _delete_secret(lab: Lab, name: str) -> None:
    # At once: a secret in its recovery window keeps its name, and a lab must be able to run again.
    lab.client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def _budgets(lab: Lab) -> list[str]:
    pages = lab.client("budgets").get_paginator("describe_budgets").paginate(AccountId=lab.account)
    return [each["BudgetName"] for page in pages for each in page.get("Budgets", [])]


def _delete_budget(lab: Lab, name: str) -> None:
    lab.client("budgets").delete_budget(AccountId=lab.account, BudgetName=name)


def _delete_layer(lab: Lab, name: str) -> None:
    functions = lab.client("lambda")
    for page in functions.get_paginator("list_layer_versions").paginate(LayerName=name):
        for version in page["LayerVersions"]:
            functions.delete_layer_version(LayerName=name, VersionNumber=version["Version"])


def _delete_usage_plan(lab: Lab, name: str) -> None:
    # A plan that still covers a stage of an API cannot be deleted.
    gateway = lab.client("apigateway")
    stages = gateway.get_usage_plan(usagePlanId=name).get("apiStages", [])
    covered = [{"op": "remove", "path": "/apiStages", "value": f"{each['apiId']}:{each['stage']}"} for each in stages]
    if covered:
        gateway.update_usage_plan(usagePlanId=name, patchOperations=covered)
    gateway.delete_usage_plan(usagePlanId=name)


def _buckets(lab: Lab) -> list[str]:
    return [each["Name"] for each in lab.client("s3").list_buckets().get("Buckets", [])]


_LISTS: Final[Mapping[tuple[str, str], Callable[[Lab], list[str]]]] = {
    ("cloudwatch", "alarm"): _names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("sagemaker", "endpoint"): _names("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
    ("sagemaker", "training-job"): _running_jobs,
    ("sagemaker", "endpoint-config"): _names(
        "sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"
    ),
    ("sagemaker", "model"): _names("sagemaker", "list_models", "Models", "ModelName"),
    ("sagemaker", "model-package"): _model_packages,
    ("sagemaker", "model-package-group"): _names(
        "sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList", "ModelPackageGroupName"
    ),
    ("apigateway", "usage-plan"): _names("apigateway", "get_usage_plans", "items", "id"),
    ("apigateway", "api-key"): _names("apigateway", "get_api_keys", "items", "id"),
    ("apigateway", "rest-api"): _names("apigateway", "get_rest_apis", "items", "id"),
    ("apigatewayv2", "api"): _names("apigatewayv2", "get_apis", "Items", "ApiId"),
    ("lambda", "event-source-mapping"): _names("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    ("lambda", "function"): _names("lambda", "list_functions", "Functions", "FunctionName"),
    ("lambda", "layer"): _names("lambda", "list_layers", "Layers", "LayerName"),
    ("sqs", "queue"): _names("sqs", "list_queues", "QueueUrls", None),
    ("logs", "log-group"): _names("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("s3", "bucket"): _buckets,
    ("secretsmanager", "secret"): _names("secretsmanager", "list_secrets", "SecretList", "ARN"),
    ("budgets", "budget"): _budgets,
    ("iam", "role"): _roles,
}
_DELETIONS: Final[Mapping[tuple[str, str], Callable[[Lab, str], object]]] = {
    ("cloudwatch", "alarm"): _delete_alarm,
    ("sagemaker", "endpoint"): _delete_endpoint,
    ("sagemaker", "training-job"): _stop_job,
    ("sagemaker", "endpoint-config"): _call("sagemaker", "delete_endpoint_config", "EndpointConfigName"),
    ("sagemaker", "model"): _call("sagemaker", "delete_model", "ModelName"),
    ("sagemaker", "model-package"): _call("sagemaker", "delete_model_package", "ModelPackageName"),
    ("sagemaker", "model-package-group"): _delete_group,
    ("apigateway", "usage-plan"): _delete_usage_plan,
    ("apigateway", "api-key"): _call("apigateway", "delete_api_key", "apiKey"),
    ("apigateway", "rest-api"): _call("apigateway", "delete_rest_api", "restApiId"),
    ("apigatewayv2", "api"): _call("apigatewayv2", "delete_api", "ApiId"),
    ("lambda", "event-source-mapping"): _call("lambda", "delete_event_source_mapping", "UUID"),
    ("lambda", "function"): _call("lambda", "delete_function", "FunctionName"),
    ("lambda", "layer"): _delete_layer,
    ("sqs", "queue"): _call("sqs", "delete_queue", "QueueUrl"),
    ("logs", "log-group"): _call("logs", "delete_log_group", "logGroupName"),
    ("s3", "bucket"): _delete_bucket,
    ("secretsmanager", "secret"): _delete_secret,
    ("budgets", "budget"): _delete_budget,
    ("iam", "role"): _delete_role,
}
