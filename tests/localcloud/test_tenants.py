"""Tenants: made by name, refused when unknown or expired, isolated, and removed with all they have."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from localcloud.store import Store
from localcloud.tenants import KEPT_AFTER_EXPIRY_SECONDS, Tenants, UnknownTenantError


@pytest.fixture
def published() -> list[Mapping[str, float]]:
    return []


@pytest.fixture
def tenants(tmp_path: Path, published: list[Mapping[str, float]]) -> Tenants:
    return Tenants(Store(tmp_path / "cloud.db"), published.append)


def test_a_tenant_is_the_same_by_name(tenants: Tenants, published: list[Mapping[str, float]]) -> None:
    first = tenants.ensure("a", "lab 1")
    again = tenants.ensure("a", "lab 1")
    other = tenants.ensure("b", "lab 1")
    assert first.account == again.account != other.account
    assert again.expires >= first.expires
    assert len(first.account) == 12
    assert first.account.isdigit()
    assert set(published[-1]) == {first.account, other.account}


def test_many_threads_asking_for_one_name_get_one_account(tenants: Tenants) -> None:
    accounts: list[str] = []
    threads = [threading.Thread(target=lambda: accounts.append(tenants.ensure("a", "l").account)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accounts) == 8
    assert len(set(accounts)) == 1


def test_an_expired_tenant_is_renewed_by_asking_and_overdue_after_a_day(tenants: Tenants) -> None:
    expired = tenants.ensure("a", "l", ttl_hours=-1)
    assert tenants.overdue() == []
    assert tenants.ensure("a", "l").account == expired.account
    assert tenants.get(expired.account).expires > time.time()
    tenants.ensure("a", "l", ttl_hours=-1 - KEPT_AFTER_EXPIRY_SECONDS / 3600)
    assert [each.account for each in tenants.overdue()] == [expired.account]


def test_a_forgotten_tenant_is_unknown(tenants: Tenants, published: list[Mapping[str, float]]) -> None:
    account = tenants.ensure("a", "l").account
    tenants.forget(account)
    assert published[-1] == {}
    with pytest.raises(UnknownTenantError, match=account):
        tenants.get(account)


@pytest.mark.contract
@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("sqs", "list_queues", "UnrecognizedClientException"),
        ("sagemaker", "list_models", "UnrecognizedClientException"),
    ],
)
def test_unknown_accounts_are_refused_as_the_vendor_does(
    cloud: Any, make_client: Callable[..., Any], service: str, call: str, code: str
) -> None:
    client = make_client(service, cloud.url, "000000000001", "x", "us-east-1")
    with pytest.raises(ClientError) as refused:
        getattr(client, call)()
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.contract
def test_a_tenant_expires_while_the_cloud_runs_and_keeps_its_things(cloud: Any, wait_until: Callable[..., Any]) -> None:
    name = f"short-{time.time_ns()}"
    body = {"name": name, "lab": "test", "ttl_hours": 2 / 3600}
    made = cloud.control("POST", "/_lab/tenants", body)
    tenant = cloud.tenant(name)  # renewed: valid for the set-up
    s3 = cloud.client("s3", tenant)
    s3.create_bucket(Bucket=f"bucket-{tenant.account}")
    cloud.control("POST", "/_lab/tenants", {**body, "ttl_hours": 0.2 / 3600})

    def is_refused() -> bool:
        try:
            s3.list_buckets()
        except ClientError as error:
            return bool(error.response["Error"]["Code"] == "InvalidAccessKeyId")
        return False

    wait_until(is_refused, what="the expired tenant to be refused")
    assert cloud.tenant(name).account == made["account"]
    assert s3.list_buckets()["Buckets"]
    cloud.control("DELETE", f"/_lab/tenants/{made['account']}")


@pytest.mark.contract
def test_tenants_do_not_see_each_other(cloud: Any, tenant: Any, aws: Callable[..., Any]) -> None:
    other = cloud.tenant(f"other-{time.time_ns()}")
    bucket = f"bucket-{tenant.account}"
    aws("s3").create_bucket(Bucket=bucket)
    aws("sqs").create_queue(QueueName="mine")
    theirs = cloud.client("s3", other)
    assert theirs.list_buckets()["Buckets"] == []
    with pytest.raises(ClientError, match="AccessDenied"):
        theirs.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert not cloud.client("sqs", other).list_queues().get("QueueUrls")
    cloud.control("DELETE", f"/_lab/tenants/{other.account}")


@pytest.mark.contract
def test_deleting_a_tenant_removes_everything_and_keeps_its_usage(cloud: Any) -> None:
    tenant = cloud.tenant(f"gone-{time.time_ns()}")
    _own_much(cloud, tenant)
    found = cloud.control("GET", f"/_lab/tenants/{tenant.account}/leftovers")
    kinds = {(each["service"], each["kind"]) for each in found}
    assert kinds >= {
        ("s3", "bucket"), ("sqs", "queue"), ("sns", "topic"), ("logs", "log group"), ("cloudwatch", "alarm"),
        ("iam", "role"), ("iam", "policy"), ("dynamodb", "table"), ("secretsmanager", "secret"), ("ssm", "parameter"),
        ("sagemaker", "model"),
    }  # fmt: skip
    assert {each["region"] for each in found if each["service"] == "sqs"} == {"us-east-1", "eu-west-1"}

    cloud.control("DELETE", f"/_lab/tenants/{tenant.account}")
    rows = cloud.control("GET", f"/_lab/tenants/{tenant.account}/usage")
    assert {"S3", "SQS"} <= {row["service"] for row in rows}
    again = cloud.tenant(tenant.name)
    assert again.account != tenant.account
    assert cloud.control("GET", f"/_lab/tenants/{again.account}/leftovers") == []
    cloud.control("DELETE", f"/_lab/tenants/{again.account}")


def _own_much(cloud: Any, tenant: Any) -> None:
    s3, iam, logs = (cloud.client(service, tenant) for service in ("s3", "iam", "logs"))
    bucket = f"bucket-{tenant.account}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.create_multipart_upload(Bucket=bucket, Key="unfinished")
    for region in ("us-east-1", "eu-west-1"):
        cloud.client("sqs", tenant, region=region).create_queue(QueueName="q")
    cloud.client("sns", tenant).create_topic(Name="t")
    logs.create_log_group(logGroupName="g")
    cloud.client("cloudwatch", tenant).put_metric_alarm(
        AlarmName="a", MetricName="m", Namespace="N", Period=60, EvaluationPeriods=1, Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold", Statistic="Sum",
    )  # fmt: skip
    role = "role"
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
    arn = iam.create_policy(PolicyName="p", PolicyDocument=policy)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    iam.put_role_policy(RoleName=role, PolicyName="inline", PolicyDocument=policy)
    cloud.client("dynamodb", tenant).create_table(
        TableName="table", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
    )  # fmt: skip
    cloud.client("secretsmanager", tenant).create_secret(Name="s", SecretString="x")
    cloud.client("ssm", tenant).put_parameter(Name="/p", Value="v", Type="String")
    cloud.client("sagemaker", tenant).create_model(
        ModelName="m", ExecutionRoleArn=f"arn:aws:iam::{tenant.account}:role/role",
        PrimaryContainer={"Image": f"{tenant.account}.dkr.ecr.us-east-1.amazonaws.com/x:1"},
    )  # fmt: skip
