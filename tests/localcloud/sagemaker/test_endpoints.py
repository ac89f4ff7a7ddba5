"""Endpoints through boto3: what serves, how it changes, how it fails."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from .conftest import INFERENCE, INSTANCE, archive, model_archive

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def served(module_sagemaker):
    """Two models, two configurations, and an endpoint with two variants, weighted 3 to 1."""
    sagemaker = module_sagemaker
    sagemaker.model("doubles", model_archive(2))
    sagemaker.model("triples", model_archive(3))
    sagemaker.config(
        "both",
        {"VariantName": "A", "ModelName": "doubles", "InitialVariantWeight": 3},
        {"VariantName": "B", "ModelName": "triples", "InitialVariantWeight": 1},
    )
    sagemaker.config("second", {"VariantName": "A", "ModelName": "triples"})
    described = sagemaker.endpoint("served", "both")
    assert described["EndpointStatus"] == "InService", described.get("FailureReason")
    return sagemaker


def test_variants_share_traffic_by_weight(served):
    answers = Counter(served.invoke("served")[0] for _ in range(200))
    assert 120 <= answers["A"] <= 180
    assert answers["A"] + answers["B"] == 200


def test_target_variant(served):
    assert served.invoke("served", TargetVariant="B")[1]["answer"] == [3]
    with pytest.raises(ClientError, match="TargetVariant is not a production variant of endpoint served"):
        served.invoke("served", TargetVariant="C")


def test_payload_of_six_megabytes_is_the_limit(served):
    body = b"[" + b" " * (6_291_456 - 3) + b"1]"
    assert served.invoke("served", body, TargetVariant="A")[1]["answer"] == [2]
    with pytest.raises(ClientError) as raised:
        served.invoke("served", body + b" ")
    assert raised.value.response["Error"]["Code"] == "413"
    assert "HTTP content length exceeded 6291456 bytes" in str(raised.value)


def test_model_error_has_the_models_own_words(served):
    with pytest.raises(served.runtime.exceptions.ModelError) as raised:
        served.invoke("served", b'{"no": "list"')
    assert raised.value.response["OriginalStatusCode"] == 500
    assert "/aws/sagemaker/Endpoints/served" in raised.value.response["LogStreamArn"]


def test_unknown_endpoint(served):
    with pytest.raises(ClientError, match=rf"Endpoint nowhere of account {served.account} not found"):
        served.invoke("nowhere")
    with pytest.raises(ClientError, match="not part of the local cloud"):
        served.runtime.invoke_endpoint_async(EndpointName="served", InputLocation=f"s3://{served.bucket}/x")


def test_update_loses_no_request(served):
    served.client.create_endpoint(EndpointName="updated", EndpointConfigName="both")
    served.settled("updated")
    stop, counts = threading.Event(), Counter()

    def load():
        while not stop.is_set():
            try:
                counts[json.dumps(served.invoke("updated")[1]["answer"])] += 1
            except ClientError as error:
                counts[str(error)] += 1

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    served.client.update_endpoint(EndpointName="updated", EndpointConfigName="second")
    pending = served.client.describe_endpoint(EndpointName="updated")
    described = served.settled("updated")
    served.wait_until(lambda: counts["[3]"] > 20, what="answers of the new model")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(counts) == {"[2]", "[3]"}
    assert pending["PendingDeploymentSummary"]["EndpointConfigName"] == "second"
    assert described["EndpointConfigName"] == "second"
    assert [variant["VariantName"] for variant in described["ProductionVariants"]] == ["A"]


def test_weights_and_capacities(served):
    served.client.create_endpoint(EndpointName="resized", EndpointConfigName="both")
    served.settled("resized")
    served.client.update_endpoint_weights_and_capacities(
        EndpointName="resized",
        DesiredWeightsAndCapacities=[
            {"VariantName": "A", "DesiredWeight": 0},
            {"VariantName": "B", "DesiredInstanceCount": 2, "DesiredWeight": 0.5},
        ],
    )
    variants = {each["VariantName"]: each for each in served.settled("resized")["ProductionVariants"]}
    assert (variants["A"]["CurrentWeight"], variants["B"]["CurrentWeight"]) == (0.0, 0.5)
    assert variants["B"]["CurrentInstanceCount"] == 2
    answers = [served.invoke("resized") for _ in range(60)]
    assert {variant for variant, _ in answers} == {"B"}
    assert len({answer["pid"] for _, answer in answers}) == 2


def test_retained_variant_properties(served):
    served.client.create_endpoint(EndpointName="retained", EndpointConfigName="both")
    served.settled("retained")
    served.client.update_endpoint_weights_and_capacities(
        EndpointName="retained", DesiredWeightsAndCapacities=[{"VariantName": "A", "DesiredWeight": 7}]
    )
    served.settled("retained")
    served.client.update_endpoint(EndpointName="retained", EndpointConfigName="second", RetainAllVariantProperties=True)
    assert served.settled("retained")["ProductionVariants"][0]["CurrentWeight"] == 7


def test_update_in_progress_is_refused(served):
    served.client.create_endpoint(EndpointName="busy", EndpointConfigName="both")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        served.client.update_endpoint(EndpointName="busy", EndpointConfigName="second")
    served.client.delete_endpoint(EndpointName="busy")
    gone = 'Could not find endpoint "arn:aws:sagemaker'

    def is_gone():
        try:
            served.client.describe_endpoint(EndpointName="busy")
        except ClientError as error:
            return gone in str(error)
        return False

    served.wait_until(is_gone, what="the end of the endpoint")


BROKEN = {
    "missing": (None, "Failed to download model data for container"),
    "climbs-out": (archive({"../evil": b"1"}), "'../evil' leads out of the folder"),
    "no-archive": (b"plain text", "is a valid tar.gz archive"),
    "no-code": (archive({"readme.md": b"hi"}), "Add code/inference.py with model_fn"),
    "crashes": (
        archive({"code/inference.py": b"raise RuntimeError('out of flights')"}),
        "RuntimeError: out of flights",
    ),
    "needs-more": (
        archive({"code/inference.py": INFERENCE, "code/requirements.txt": b"no-such-package==1\n"}),
        "pip ran offline",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_endpoint_fails_with_the_reason(served, name):
    data, reason = BROKEN[name]
    served.model(name, data)
    served.config(name, {"VariantName": "A", "ModelName": name})
    described = served.endpoint(name, name)
    assert described["EndpointStatus"] == "Failed"
    assert reason in described["FailureReason"]
    assert len(described["FailureReason"]) <= 1024
    assert "/replicas/models/" not in described["FailureReason"], "paths are those of the container"
    with pytest.raises(ClientError, match="is not InService: its status is Failed"):
        served.invoke(name)
    served.client.delete_endpoint(EndpointName=name)


def test_failed_update_leaves_the_old_model_serving(served):
    served.client.create_endpoint(EndpointName="survivor", EndpointConfigName="second")
    served.settled("survivor")
    served.model("broken", archive({"code/inference.py": b"import nothing_like_that"}))
    served.config("broken", {"VariantName": "A", "ModelName": "broken"})
    served.client.update_endpoint(EndpointName="survivor", EndpointConfigName="broken")
    described = served.settled("survivor")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "second")
    assert "nothing_like_that" in described["FailureReason"]
    assert served.invoke("survivor")[1]["answer"] == [3]


def test_requests_and_logs_are_in_cloudwatch(served, wait_until):
    served.invoke("served", TargetVariant="B")
    dimensions = [{"Name": "EndpointName", "Value": "served"}, {"Name": "VariantName", "Value": "B"}]

    def invocations():
        answer = served.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=dimensions, Period=3600,
            StartTime=time.time() - 3600, EndTime=time.time() + 3600, Statistics=["Sum"],
        )  # fmt: skip
        return sum(point["Sum"] for point in answer["Datapoints"]) >= 1

    wait_until(invocations, what="the metric Invocations")
    found = served.cloudwatch.list_metrics(Namespace="AWS/SageMaker", Dimensions=dimensions)["Metrics"]
    assert {each["MetricName"] for each in found} == {
        "Invocations", "Invocation4XXErrors", "Invocation5XXErrors", "ModelLatency", "OverheadLatency",
    }  # fmt: skip
    group = "/aws/sagemaker/Endpoints/served"
    streams = served.logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert {each["logStreamName"].split("/")[0] for each in streams} == {"A", "B"}
    lines = served.lines(group, streams[0]["logStreamName"])
    assert any("The model in /opt/ml/model is loaded" in line for line in lines)


def test_hosting_is_billed_by_the_second(served, cloud):
    rows = cloud.control("GET", f"/_lab/tenants/{served.account}/usage")
    hosting = [row for row in rows if row["sku"] == "ml.m5.large Hosting" and row["resource"] == "served"]
    assert len(hosting) == 2
    assert all(row["quantity"] > 0 for row in hosting)


VARIANT = {"VariantName": "A", "ModelName": "doubles", "InstanceType": INSTANCE, "InitialInstanceCount": 1}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"ProductionVariants": [VARIANT | {"ModelName": "unknown"}]}, 'Could not find model "arn:aws:sagemaker'),
        ({"ProductionVariants": [VARIANT, VARIANT]}, "Production variant names must be unique"),
        ({"ProductionVariants": [VARIANT | {"InitialVariantWeight": 0}]}, "must have a weight greater than 0"),
        ({"ProductionVariants": [VARIANT | {"InstanceType": "ml.none"}]}, "Member must satisfy enum value set"),
        (
            {"ProductionVariants": [{"VariantName": "A", "ModelName": "doubles", "ServerlessConfig":
                {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}]},
            "A production variant with ServerlessConfig is not part of the local cloud",
        ),
        (
            {"ProductionVariants": [VARIANT],
             "AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://bucket/x"}}},
            "CreateEndpointConfig with AsyncInferenceConfig is not part of the local cloud",
        ),
        ({"ProductionVariants": [VARIANT | {"InitialInstanceCount": 21}]}, "at most 20 replicas"),
    ],
)  # fmt: skip
def test_configuration_is_refused(served, request_, message):
    with pytest.raises(ClientError) as raised:
        served.client.create_endpoint_config(EndpointConfigName="refused", **request_)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "Either PrimaryContainer or Containers must be specified"),
        ({"PrimaryContainer": {"ModelDataUrl": "s3://bucket/x"}}, "Container image is required"),
        ({"Containers": [{"Image": "a"}, {"Image": "b"}]}, "An inference pipeline"),
        ({"PrimaryContainer": {"Image": "a", "Mode": "MultiModel"}}, "A multi-model container"),
    ],
)
def test_model_is_refused(served, request_, message):
    with pytest.raises(ClientError) as raised:
        served.client.create_model(ModelName="refused", ExecutionRoleArn=served.role, **request_)
    assert message in str(raised.value)


def test_canary_is_refused_plainly(served):
    canary = {"Type": "CANARY", "WaitIntervalInSeconds": 60, "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    with pytest.raises(ClientError, match="Traffic routing of type CANARY is not part of the local cloud"):
        served.client.update_endpoint(
            EndpointName="served", EndpointConfigName="second",
            DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": canary}},
        )  # fmt: skip


def test_existing_names_are_refused(served):
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        served.model("doubles", None)
    with pytest.raises(ClientError, match="Cannot create already existing endpoint configuration"):
        served.config("both", {"VariantName": "A", "ModelName": "doubles"})
    with pytest.raises(ClientError, match="Cannot create already existing endpoint "):
        served.client.create_endpoint(EndpointName="served", EndpointConfigName="both")
