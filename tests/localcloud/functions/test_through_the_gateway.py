"""A function in the whole cloud: what it calls passes the gateway, what it uses is in the ledger once."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCORE = """
import boto3, json
runtime = boto3.client('sagemaker-runtime')
def handler(event, context):
    answer = runtime.invoke_endpoint(EndpointName=event['endpoint'], ContentType='application/json',
                                     Body=json.dumps(event['values']))
    return json.loads(answer['Body'].read())
"""
INFERENCE = b"""
import json
def model_fn(model_dir):
    return 3
def input_fn(body, content_type):
    return json.loads(body)
def predict_fn(values, model):
    return [model * value for value in values]
def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


@pytest.fixture
def endpoint(aws: Callable[..., Any], tenant: Any) -> str:
    """The name of an endpoint in service that multiplies by three."""
    s3, sagemaker, bucket = aws("s3"), aws("sagemaker"), f"models-{tenant.account}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(INFERENCE)
        tar.addfile(member, io.BytesIO(INFERENCE))
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="model.tar.gz", Body=packed.getvalue())
    sagemaker.create_model(
        ModelName="m", ExecutionRoleArn=f"arn:aws:iam::{tenant.account}:role/r",
        PrimaryContainer={
            "Image": f"{tenant.account}.dkr.ecr.us-east-1.amazonaws.com/local-sklearn:1.5",
            "ModelDataUrl": f"s3://{bucket}/model.tar.gz",
        },
    )  # fmt: skip
    variant = {"VariantName": "a", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    return "e"


@pytest.mark.contract
def test_a_function_invokes_a_sagemaker_endpoint_and_the_access_log_has_it(
    cloud: Any, tenant: Any, tenant_functions: Any, endpoint: str, wait_until: Any
) -> None:
    name = tenant_functions.create(SCORE, Timeout=30, MemorySize=512)
    answer = tenant_functions.invoke(name, {"endpoint": endpoint, "values": [1, 2]})
    assert (answer.error, answer.payload) == (None, [3, 6])

    def logged() -> list[dict[str, Any]]:
        lines = (cloud.home.gateway / "access.log").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["path"] == f"/endpoints/{endpoint}/invocations"]

    (line,) = wait_until(lambda: [each for each in logged() if each["labels"]["tenant"] == tenant.account])
    assert line["status"] == 200
    rows = cloud.control("GET", f"/_lab/tenants/{tenant.account}/usage")
    counted = [row for row in rows if (row["service"], row["resource"]) == ("SageMaker AI", endpoint)]
    assert sum(row["quantity"] for row in counted if row["unit"] == "request") == 1


def test_faults_and_outages_reach_what_a_function_calls(cloud: Any, tenant: Any, tenant_functions: Any) -> None:
    source = (
        "import boto3\nfrom botocore.config import Config\n"
        "s3 = boto3.client('s3', config=Config(retries={'total_max_attempts': 1}))\n"
        "def handler(e, c):\n    return len(s3.list_buckets()['Buckets'])\n"
    )
    name = tenant_functions.create(source, Timeout=30, MemorySize=512)
    assert tenant_functions.invoke(name).payload == 0
    body = {"kind": "outage", "service": "s3", "tenant": tenant.account, "status": 503}
    fault = cloud.control("POST", "/_lab/faults", body)
    failed = tenant_functions.invoke(name)
    cloud.control("DELETE", f"/_lab/faults/{fault['id']}")
    assert "Injected outage" in failed.payload["errorMessage"]
    assert tenant_functions.invoke(name).payload == 0


def _used(cloud: Any, tenant: Any, service: str = "Lambda") -> dict[str, float]:
    found: dict[str, float] = {}
    for row in cloud.control("GET", f"/_lab/tenants/{tenant.account}/usage"):
        if row["service"] == service and row["sku"] != "requests":
            found[row["sku"]] = found.get(row["sku"], 0) + row["quantity"]
    return found


@pytest.mark.contract
def test_the_ledger_has_each_invocation_once_with_its_billed_duration(
    cloud: Any, tenant: Any, tenant_functions: Any
) -> None:
    name = tenant_functions.create(MemorySize=512)
    reports = [tenant_functions.invoke(name) for _ in range(5)]
    billed = sum(each.milliseconds("Billed Duration") for each in reports)
    found = _used(cloud, tenant)
    assert found["Requests"] == 5
    assert found["Duration x86 first 6B GB-s"] == pytest.approx(billed / 1000 * 512 / 1024)
    assert _used(cloud, tenant) == found


def test_the_ledger_is_exact_although_the_control_plane_is_killed(
    own_cloud: Any, functions_of: Any, wait_until: Any
) -> None:
    tenant = own_cloud.tenant("exact")
    functions = functions_of(own_cloud.client("lambda", tenant), tenant.account)
    name = functions.create()
    for round_ in range(3):
        for _ in range(5):
            functions.invoke(name)
        killed = own_cloud.pid("controlplane")
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda killed=killed: own_cloud.pid("controlplane") != killed)
        own_cloud.wait_ready()
        assert _used(own_cloud, tenant)["Requests"] == 5 * (round_ + 1)


def test_provisioned_concurrency_is_billed_from_put_to_delete_in_steps_of_five_minutes(
    cloud: Any, tenant: Any, tenant_functions: Any, wait_until: Any
) -> None:
    client = tenant_functions.client
    name = tenant_functions.create(MemorySize=1024)
    client.publish_version(FunctionName=name)
    which = {"FunctionName": name, "Qualifier": "1"}
    client.put_provisioned_concurrency_config(**which, ProvisionedConcurrentExecutions=2)
    wait_until(lambda: client.get_provisioned_concurrency_config(**which)["Status"] == "READY")
    report = tenant_functions.invoke(name, Qualifier="1")
    found = _used(cloud, tenant)
    assert found["Provisioned concurrency x86"] == 300 * 2
    assert found["Provisioned concurrency duration x86"] > report.milliseconds("Billed Duration") / 1000
    assert "Duration x86 first 6B GB-s" not in found
    left = cloud.control("GET", f"/_lab/tenants/{tenant.account}/leftovers")
    assert {(each["kind"], each["name"], each["billable"]) for each in left} >= {
        ("provisioned concurrency", f"{name}:1", True)
    }
    client.delete_provisioned_concurrency_config(**which)
    assert _used(cloud, tenant)["Provisioned concurrency x86"] == 300 * 2


def test_nothing_of_a_tenant_is_left_after_it_is_deleted(cloud: Any, functions_of: Any) -> None:
    tenant = cloud.tenant("to be deleted with its functions")
    functions = functions_of(cloud.client("lambda", tenant), tenant.account)
    functions.invoke(functions.create())
    cloud.client("apigateway", tenant).create_rest_api(name="api")
    cloud.client("apigatewayv2", tenant).create_api(Name="http", ProtocolType="HTTP")
    kinds = {each["kind"] for each in cloud.control("GET", f"/_lab/tenants/{tenant.account}/leftovers")}
    assert {"function", "REST API", "HTTP API"} <= kinds
    running = [each for each in cloud.control("GET", "/_lab/processes") if each["tenant"] == tenant.account]
    assert [each["kind"] for each in running] == ["function"]
    cloud.control("DELETE", f"/_lab/tenants/{tenant.account}")
    assert not [each for each in cloud.control("GET", "/_lab/processes") if each["tenant"] == tenant.account]
    assert not (Path(cloud.home.functions) / tenant.account).exists()
