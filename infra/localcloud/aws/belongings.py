"""What an account has in MiniStack's services: lists it, and removes it, through the services' own APIs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from localcloud.clients import Clients
from localcloud.home import Home

_GLOBAL_REGION: Final = "us-east-1"

Client = Any
"""A boto3 client of the service in question."""


@dataclass(frozen=True)
class Kind:
    """A kind of resource: how to list names, and how to delete one."""

    service: str
    """boto3's name."""
    state: str
    """The name of MiniStack's state file for it."""
    kind: str
    names: Callable[[Client], Iterable[str]]
    delete: Callable[[Client, str], Any]
    billable: bool = False
    is_global: bool = False


@dataclass(frozen=True)
class Belonging:
    """One resource of an account."""

    kind: Kind
    region: str
    name: str

    def as_json(self) -> dict[str, Any]:
        """For the control API's list of leftovers."""
        return {
            "service": self.kind.service,
            "kind": self.kind.kind,
            "name": self.name,
            "billable": self.kind.billable,
            "region": self.region,
        }


def of_account(clients: Clients, home: Home, account: str) -> Iterator[Belonging]:
    """Everything that an account has, in all regions where it has something."""
    for kind in KINDS:
        for region in sorted(_regions(home, kind, account)):
            for name in kind.names(clients.aws(kind.service, account, region)):
                yield Belonging(kind, region, name)


def remove(clients: Clients, home: Home, account: str) -> None:
    """Delete everything that an account has; what is gone already is no error."""
    for each in of_account(clients, home, account):
        try:
            each.kind.delete(clients.aws(each.kind.service, account, each.region), each.name)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") not in (400, 404):
                raise


def _regions(home: Home, kind: Kind, account: str) -> set[str]:
    """Where to look, from MiniStack's saved state, so that a service that was not used is not even loaded."""
    saved = [*home.ministack.glob(f"state/{kind.state}.json"), *home.ministack.glob(f"state/{kind.state}.*.journal")]
    texts = [text for path in saved if account in (text := path.read_text(errors="replace"))]
    if not texts:
        return set()
    if kind.is_global:
        return {_GLOBAL_REGION}
    marks = re.compile(rf'{account}(?:\\u0000|", "region": ")([a-z0-9-]+)')
    return {region for text in texts for region in marks.findall(text)}


def _pages(operation: str, items: str, field: str | None, **arguments: Any) -> Callable[[Client], Iterator[str]]:
    def names(client: Client) -> Iterator[str]:
        for page in client.get_paginator(operation).paginate(**arguments):
            for item in page.get(items) or []:
                yield item if field is None else item[field]

    return names


def _delete_bucket(s3: Client, name: str) -> None:
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        if objects:
            s3.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True}, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=name)


def _delete_role(iam: Client, name: str) -> None:
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for profile in iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=profile["InstanceProfileName"], RoleName=name)
    iam.delete_role(RoleName=name)


def _delete_user(iam: Client, name: str) -> None:
    for policy in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=name, PolicyArn=policy["PolicyArn"])
    for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
        iam.delete_user_policy(UserName=name, PolicyName=policy)
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    with contextlib.suppress(ClientError):
        iam.delete_login_profile(UserName=name)
    iam.delete_user(UserName=name)


def _delete_layer(functions: Client, name: str) -> None:
    for page in functions.get_paginator("list_layer_versions").paginate(LayerName=name):
        for version in page["LayerVersions"]:
            functions.delete_layer_version(LayerName=name, VersionNumber=version["Version"])


def _delete_usage_plan(gateway: Client, plan: str) -> None:
    stages = gateway.get_usage_plan(usagePlanId=plan).get("apiStages", [])
    gone = [{"op": "remove", "path": "/apiStages", "value": f"{each['apiId']}:{each['stage']}"} for each in stages]
    if gone:
        gateway.update_usage_plan(usagePlanId=plan, patchOperations=gone)
    gateway.delete_usage_plan(usagePlanId=plan)


def _delete_rule(events: Client, name: str) -> None:
    targets = [each["Id"] for each in events.list_targets_by_rule(Rule=name)["Targets"]]
    if targets:
        events.remove_targets(Rule=name, Ids=targets)
    events.delete_rule(Name=name)


KINDS: Final = (
    Kind("s3", "s3", "bucket", lambda s3: [b["Name"] for b in s3.list_buckets()["Buckets"]], _delete_bucket,
         billable=True, is_global=True),
    Kind("sqs", "sqs", "queue", _pages("list_queues", "QueueUrls", None),
         lambda sqs, url: sqs.delete_queue(QueueUrl=url)),
    Kind("sns", "sns", "topic", _pages("list_topics", "Topics", "TopicArn"),
         lambda sns, arn: sns.delete_topic(TopicArn=arn)),
    Kind("logs", "cloudwatch_logs", "log group", _pages("describe_log_groups", "logGroups", "logGroupName"),
         lambda logs, name: logs.delete_log_group(logGroupName=name), billable=True),
    Kind("cloudwatch", "cloudwatch", "alarm", _pages("describe_alarms", "MetricAlarms", "AlarmName"),
         lambda cloudwatch, name: cloudwatch.delete_alarms(AlarmNames=[name]), billable=True),
    Kind("cloudwatch", "cloudwatch", "dashboard", _pages("list_dashboards", "DashboardEntries", "DashboardName"),
         lambda cloudwatch, name: cloudwatch.delete_dashboards(DashboardNames=[name]), billable=True, is_global=True),
    Kind("dynamodb", "dynamodb", "table", _pages("list_tables", "TableNames", None),
         lambda dynamodb, name: dynamodb.delete_table(TableName=name), billable=True),
    Kind("lambda", "lambda", "function", _pages("list_functions", "Functions", "FunctionName"),
         lambda functions, name: functions.delete_function(FunctionName=name)),
    Kind("lambda", "lambda", "event source", _pages("list_event_source_mappings", "EventSourceMappings", "UUID"),
         lambda functions, uuid: functions.delete_event_source_mapping(UUID=uuid)),
    Kind("lambda", "lambda", "layer", _pages("list_layers", "Layers", "LayerName"), _delete_layer),
    Kind("apigateway", "apigateway_v1", "REST API", _pages("get_rest_apis", "items", "id"),
         lambda gateway, api: gateway.delete_rest_api(restApiId=api)),
    Kind("apigateway", "apigateway_v1", "usage plan", _pages("get_usage_plans", "items", "id"), _delete_usage_plan),
    Kind("apigateway", "apigateway_v1", "API key", _pages("get_api_keys", "items", "id"),
         lambda gateway, key: gateway.delete_api_key(apiKey=key)),
    Kind("apigatewayv2", "apigateway", "HTTP API", _pages("get_apis", "Items", "ApiId"),
         lambda gateway, api: gateway.delete_api(ApiId=api)),
    Kind("events", "eventbridge", "rule", lambda events: [each["Name"] for each in events.list_rules()["Rules"]],
         _delete_rule),
    Kind("secretsmanager", "secretsmanager", "secret", _pages("list_secrets", "SecretList", "ARN"),
         lambda secrets, arn: secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True), billable=True),
    Kind("ssm", "ssm", "parameter", _pages("describe_parameters", "Parameters", "Name"),
         lambda ssm, name: ssm.delete_parameter(Name=name)),
    Kind("iam", "iam", "user", _pages("list_users", "Users", "UserName"), _delete_user, is_global=True),
    Kind("iam", "iam", "role", _pages("list_roles", "Roles", "RoleName"), _delete_role, is_global=True),
    Kind("iam", "iam", "policy", _pages("list_policies", "Policies", "Arn", Scope="Local"),
         lambda iam, arn: iam.delete_policy(PolicyArn=arn), is_global=True),
)  # fmt: skip
