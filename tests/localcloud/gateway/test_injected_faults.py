"""Faults in force: who is hit, how often, how it looks, and from when until when."""

import time
from collections import Counter

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config
from localcloud.gateway.errors import GatewayError
from localcloud.gateway.listeners import LATENCY_SLOTS
from localcloud.gateway.spec import Fault

PATH = "/endpoints/iris/invocations"
ACCOUNT, OTHER = "111122223333", "444455556666"


@pytest.fixture
def cloud(door, backend, publication):
    """A door with everything behind it up, and an endpoint."""
    backend("control-plane", door.ports["control"])
    backend("ministack", door.ports["ministack"])
    door.gateway.publish(publication("iris", {"all": ([backend("iris")], 1)}))
    return door


REQUESTS = {
    "s3": ("/b/k", {"service": "s3"}),
    "s3 elsewhere": ("/b/k", {"service": "s3", "region": "eu-west-1"}),
    "s3 of another": ("/b/k", {"service": "s3", "account": OTHER}),
    "sagemaker": ("/", {}),
    "invocation": (PATH, {}),
    "unsigned": ("/b/k", None),
    "presigned": (
        f"/b/k?X-Amz-Credential={ACCOUNT}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=5",
        None,
    ),
}


@pytest.mark.parametrize(
    ("scope", "hit"),
    [
        ({}, set(REQUESTS)),
        ({"service": "s3"}, {"s3", "s3 elsewhere", "s3 of another", "presigned"}),
        ({"service": "s3", "region": "us-east-1"}, {"s3", "s3 of another", "presigned"}),
        ({"region": "us-east-1"}, {"s3", "s3 of another", "sagemaker", "invocation", "presigned"}),
        ({"tenant": OTHER}, {"s3 of another"}),
        ({"tenant": ACCOUNT, "service": "s3"}, {"s3", "s3 elsewhere", "presigned"}),
        ({"service": "sagemaker"}, {"sagemaker"}),
        ({"service": "sagemaker-runtime"}, {"invocation"}),
        ({"service": "sqs"}, set()),
        ({"region": "us-east"}, set()),
    ],
)
@pytest.mark.parametrize("kind", ["outage", "latency"])
def test_a_fault_hits_its_service_region_and_tenant_only(cloud, signed, kind, scope, hit):
    cloud.gateway.set_faults([Fault("f1", kind, **scope, delay_seconds=0.001)])
    for path, options in REQUESTS.values():
        cloud.client.get(path, headers={} if options is None else signed(**options))
    seen = [line["labels"].get("fault") == "f1" or "DI" in line["flags"] for line in cloud.lines()]
    assert {name for name, was_hit in zip(REQUESTS, seen, strict=True) if was_hit} == hit


def test_an_error_fault_hits_its_share(cloud, signed):
    cloud.gateway.set_faults([Fault("f1", "error", "sagemaker-runtime", percent=30, status=503)])
    statuses = Counter(cloud.client.post(PATH, headers=signed()).status_code for _ in range(600))
    assert statuses.keys() == {200, 503}
    assert 112 <= statuses[503] <= 248  # 180 expected; 6 standard deviations


def _error(door, service, call):
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={})
    client = boto3.session.Session().client(
        service,
        region_name="us-east-1",
        endpoint_url=door.url,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="local",
        config=config,
    )
    with pytest.raises(botocore.exceptions.ClientError) as failed:
        call(client)
    return failed.value.response


@pytest.mark.parametrize(
    ("service", "call", "status", "code"),
    [
        ("s3", lambda s3: s3.list_buckets(), 503, "SlowDown"),
        ("s3", lambda s3: s3.list_buckets(), 500, "InternalError"),
        ("iam", lambda iam: iam.list_roles(), 503, "ServiceUnavailable"),
        ("sqs", lambda sqs: sqs.list_queues(), 429, "ThrottlingException"),
        ("sagemaker", lambda sm: sm.list_models(), 400, "ValidationException"),
        ("sagemaker-runtime", lambda r: r.invoke_endpoint(EndpointName="iris", Body=b""), 503, "ServiceUnavailable"),
        ("sagemaker-runtime", lambda r: r.invoke_endpoint(EndpointName="iris", Body=b""), 500, "InternalFailure"),
    ],
)
def test_an_injected_error_has_the_services_shape_and_says_what_it_is(cloud, service, call, status, code):
    cloud.gateway.set_faults([Fault("f1", "error", service, status=status)])
    error = _error(cloud, service, call)
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]) == (status, code)
    assert "lab fault clear f1" in error["Error"]["Message"]


def test_a_delay_is_added_to_the_requests_it_hits(cloud, signed):
    cloud.gateway.set_faults([Fault("f1", "latency", "sagemaker-runtime", delay_seconds=0.2, tenant=ACCOUNT)])
    cloud.client.post(PATH, headers=signed())
    cloud.client.post("/", headers=signed())
    slow, quick = cloud.lines()
    assert slow["total_us"] >= 190_000  # timers are a little early
    assert (slow["flags"], slow["status"], quick["flags"]) == ("DI", 200, "-")


def test_delays_add_up(cloud, signed):
    faults = [Fault(f"f{n}", "latency", "sagemaker", delay_seconds=0.1) for n in range(3)]
    cloud.gateway.set_faults(faults)
    cloud.client.post("/", headers=signed())
    assert cloud.lines()[0]["total_us"] >= 290_000


def test_faults_begin_and_end_by_themselves(cloud, signed, wait_until):
    now = time.time()
    cloud.gateway.set_faults([Fault("f1", "outage", start=now + 0.4, end=now + 1.0)])

    def status():
        cloud.gateway.refresh()
        return cloud.client.post(PATH, headers=signed()).status_code

    assert status() == 200
    wait_until(lambda: status() == 503)
    wait_until(lambda: status() == 200)
    assert time.time() >= now + 1.0


def test_too_many_delays_are_refused_and_block_nothing(cloud, backend, publication, signed):
    later = time.time() + 3600
    faults = [Fault(f"f{n}", "latency", "sagemaker", delay_seconds=1, start=later) for n in range(LATENCY_SLOTS + 1)]
    with pytest.raises(GatewayError, match="lab fault clear"):
        cloud.gateway.set_faults(faults)
    cloud.gateway.set_faults(faults[:-1])
    cloud.gateway.publish(publication("wine", {"all": ([backend("wine")], 1)}))
    assert cloud.client.post("/endpoints/wine/invocations", headers=signed()).json()["name"] == "wine"


def test_a_switch_waits_for_requests_that_a_fault_holds_back(cloud, backend, publication, load, wait_until):
    cloud.gateway.set_faults([Fault("f1", "latency", "sagemaker-runtime", delay_seconds=0.5)])
    with load("iris", workers=4) as running:
        wait_until(lambda: len(running.statuses) >= 4)
        old, new = backend("old"), backend("new")
        cloud.gateway.publish(publication("iris", {"all": ([old], 1)}))
        cloud.gateway.publish(publication("iris", {"all": ([new], 1)}))
        old.stop()
        wait_until(lambda: "new" in running.names)
    assert running.errors == []
    assert set(running.statuses) == {200}
