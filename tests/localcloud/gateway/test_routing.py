"""Where requests go by their credential scope, and what the gateway answers by itself."""

import http.client
import json
import subprocess
import threading
import time
from collections import Counter

import boto3
import botocore.exceptions
import httpx
import pytest
from botocore.config import Config
from localcloud.gateway.spec import Fault

PATH = "/endpoints/iris/invocations"
ACCOUNT, OTHER, STRANGER = "111122223333", "444455556666", "999999999999"
PIN = "x-amzn-sagemaker-target-variant"


@pytest.fixture
def parts(door, backend):
    """Stand-ins for the control plane and MiniStack."""
    return backend("control-plane", door.ports["control"]), backend("ministack", door.ports["ministack"])


@pytest.fixture
def sdk(door):
    def make(service, account=ACCOUNT, **options):
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}, **options)
        return boto3.session.Session().client(
            service,
            region_name="us-east-1",
            endpoint_url=door.url,
            aws_access_key_id=account,
            aws_secret_access_key="local",
            config=config,
        )

    return make


@pytest.mark.parametrize(
    ("path", "service", "expected"),
    [
        ("/", "sagemaker", "control-plane"),
        ("/endpoints/unknown/invocations", "sagemaker", "control-plane"),
        ("/endpoints/key", "s3", "ministack"),
        ("/", "sqs", "ministack"),
        ("/2015-03-31/functions/f/invocations", "lambda", "ministack"),
    ],
)
def test_the_scope_decides(door, parts, signed, path, service, expected):
    answer = door.client.post(path, headers=signed(service=service))
    assert (answer.status_code, answer.json()["name"]) == (200, expected)


def test_requests_without_credentials_go_to_ministack(door, parts):
    assert door.client.get("/bucket/key").json()["name"] == "ministack"
    token = {"authorization": "Bearer of-a-lambda-authorizer"}
    assert door.client.get("/restapis/x", headers=token).json()["name"] == "ministack"


@pytest.mark.parametrize("path", ["/b/a//b", "/b/../c", "/b/%2F%2e", "/b/%C3%A9?versions", "/b/a%20+b?x=1&x=2"])
def test_paths_arrive_as_they_were_sent(door, parts, signed, path):
    connection = http.client.HTTPConnection("127.0.0.1", door.ports["aws"])
    connection.request("GET", path, headers=signed(service="s3"))
    seen = json.loads(connection.getresponse().read())
    connection.close()
    assert "?".join(filter(None, (seen["path"], seen["query"]))) == path


def test_an_invocation_goes_straight_to_its_replica(door, backend, publication, signed):
    door.gateway.publish(publication("iris", {"blue": ([backend("blue")], 1)}))
    answer = door.client.post(PATH, headers=signed(), content=b"12345")
    assert answer.json()["path"] == "/invocations"
    assert answer.json()["bytes"] == 5
    assert answer.headers["x-amzn-invoked-production-variant"] == "blue"
    assert answer.headers["server"] == "backend"
    assert answer.headers["x-amzn-requestid"]


def test_endpoints_of_tenants_and_regions_are_apart(door, parts, backend, publication, signed):
    for account, region in ((ACCOUNT, "us-east-1"), (ACCOUNT, "eu-west-1"), (OTHER, "us-east-1")):
        name = f"{account}/{region}"
        door.gateway.publish(publication("iris", {"all": ([backend(name)], 1)}, account=account, region=region))

    def call(account, region):
        return door.client.post(PATH, headers=signed(account=account, region=region)).json()["name"]

    assert call(ACCOUNT, "us-east-1") == f"{ACCOUNT}/us-east-1"
    assert call(ACCOUNT, "eu-west-1") == f"{ACCOUNT}/eu-west-1"
    assert call(OTHER, "us-east-1") == f"{OTHER}/us-east-1"
    assert call(OTHER, "eu-west-1") == "control-plane"


def test_weights_split_the_traffic_and_a_pin_overrides_them(door, backend, publication, signed):
    door.gateway.publish(publication("iris", {"big": ([backend("big")], 80), "small": ([backend("small")], 20)}))
    split = Counter(door.client.post(PATH, headers=signed()).json()["name"] for _ in range(600))
    assert 60 <= split["small"] <= 185  # 120 expected; 6 standard deviations
    assert {door.client.post(PATH, headers=signed(**{PIN: "small"})).json()["name"] for _ in range(20)} == {"small"}
    unknown = door.client.post(PATH, headers=signed(**{PIN: "none"}))
    assert (unknown.status_code, unknown.json()) == (400, {"message": "no such variant"})


def test_a_payload_that_is_too_large_is_refused(door, backend, publication, sdk):
    one = backend("one")
    door.gateway.publish(publication("iris", {"all": ([one], 1)}))
    limit = 6 * 1024 * 1024
    runtime = sdk("sagemaker-runtime")
    assert runtime.invoke_endpoint(EndpointName="iris", Body=b"x" * limit)["ResponseMetadata"]["HTTPStatusCode"] == 200
    for length in (limit + 1, 2 * limit, 5 * limit):
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            runtime.invoke_endpoint(EndpointName="iris", Body=b"x" * length)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert one.served == 1


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("s3", lambda s3: s3.list_buckets(), "InvalidAccessKeyId"),
        ("iam", lambda iam: iam.list_roles(), "InvalidClientTokenId"),
        ("sagemaker", lambda sm: sm.list_models(), "UnrecognizedClientException"),
        ("sqs", lambda sqs: sqs.list_queues(), "UnrecognizedClientException"),
        ("cloudwatch", lambda cw: cw.list_metrics(), "UnrecognizedClientException"),
        ("sagemaker-runtime", lambda r: r.invoke_endpoint(EndpointName="e", Body=b""), "UnrecognizedClientException"),
    ],
)
def test_strangers_are_refused_in_the_services_own_words(door, parts, sdk, service, call, code):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        call(sdk(service, account=STRANGER))
    error = refused.value.response
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]) == (403, code)
    assert "expired" in error["Error"]["Message"]
    assert "lab env" in error["Error"]["Message"]
    assert [part.served for part in parts] == [0, 0]


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_urls_carry_their_tenant(door, parts, sdk, version):
    def get(account):
        client = sdk("s3", account=account, signature_version=version)
        url = client.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
        return httpx.get(url, trust_env=False)

    assert get(ACCOUNT).json()["name"] == "ministack"
    refused = get(STRANGER)
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/xml")
    assert "<Code>InvalidAccessKeyId</Code>" in refused.text


def test_an_expired_tenant_is_refused(door, parts, backend, publication, signed, wait_until):
    door.gateway.publish(publication("iris", {"all": ([backend("iris")], 1)}))
    door.gateway.set_tenants({ACCOUNT: time.time() + 0.5, OTHER: time.time() + 60})
    assert door.client.post(PATH, headers=signed()).status_code == 200

    def refused():
        door.gateway.refresh()
        return door.client.post(PATH, headers=signed()).status_code == 403

    wait_until(refused)
    assert door.client.post("/", headers=signed(account=OTHER)).status_code == 200
    door.gateway.set_tenants({ACCOUNT: time.time() + 60})
    assert door.client.post(PATH, headers=signed()).status_code == 200


@pytest.mark.parametrize(
    ("service", "call", "down"),
    [
        ("s3", lambda s3: s3.list_buckets(), "ministack"),
        ("iam", lambda iam: iam.list_roles(), "ministack"),
        ("sqs", lambda sqs: sqs.list_queues(), "ministack"),
        ("sagemaker", lambda sm: sm.list_models(), "control-plane"),
    ],
)
def test_a_part_that_is_down_is_named(door, sdk, service, call, down):
    with pytest.raises(botocore.exceptions.ClientError) as failed:
        call(sdk(service))
    error = failed.value.response
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]) == (503, "ServiceUnavailable")
    assert error["Error"]["Message"].startswith(f"{down} does not answer")
    assert "lab status" in error["Error"]["Message"]


def test_a_part_that_comes_back_in_time_is_waited_for(door, backend, signed):
    timer = threading.Timer(0.5, lambda: backend("control-plane", door.ports["control"]))
    timer.start()
    answer = door.client.post("/", headers=signed(), content=b"{}")
    timer.join()
    assert (answer.status_code, answer.json()["bytes"]) == (200, 2)


def test_an_endpoint_without_healthy_replicas_is_unavailable(door, backend, publication, sdk):
    one = backend("one")
    door.gateway.publish(publication("iris", {"all": ([one], 1)}))
    one.stop()
    runtime = sdk("sagemaker-runtime")
    with pytest.raises(runtime.exceptions.ServiceUnavailable, match="lab status"):
        runtime.invoke_endpoint(EndpointName="iris", Body=b"x")


def test_a_model_that_takes_too_long_is_a_model_error(door, backend, publication, sdk):
    slow = backend("slow")
    door.gateway.publish(publication("iris", {"all": ([slow], 1)}, timeout_seconds=0.3))
    runtime = sdk("sagemaker-runtime")
    runtime.meta.events.register("before-sign.*", lambda request, **_: request.headers.add_header("x-sleep", "5"))
    with pytest.raises(runtime.exceptions.ModelError, match="timed out while waiting for a response from container"):
        runtime.invoke_endpoint(EndpointName="iris", Body=b"x")


def test_bodies_stream_both_ways(door, parts, signed):
    def body():
        for _ in range(64):
            yield b"x" * 65536

    answer = door.client.put("/b/k", headers=signed(service="s3", expect="100-continue"), content=body())
    assert answer.json()["bytes"] == 64 * 65536


def test_only_this_machine_can_connect(door):
    found = json.loads((door.home.gateway / "bootstrap.json").read_text())
    addresses = [found["admin"]["address"], *(each["address"] for each in found["static_resources"]["listeners"])]
    assert {each["socket_address"]["address"] for each in addresses} == {"127.0.0.1"}


def test_the_admin_port_cannot_stop_envoy(door):
    refused = httpx.post(f"http://127.0.0.1:{door.ports['envoy_admin']}/quitquitquit", trust_env=False)
    assert refused.status_code == 403
    assert door.process.poll() is None


def test_a_taken_port_ends_envoy_instead_of_sharing_it(door):
    second = subprocess.run(door.gateway.command(), capture_output=True, timeout=20, check=False)
    assert second.returncode != 0


def test_many_tenants_faults_and_endpoints_fit(door, parts, backend, publication, signed):
    accounts = [str(100000000000 + number) for number in range(200)]
    door.gateway.set_tenants(dict.fromkeys([ACCOUNT, *accounts], time.time() + 60))
    faults = [Fault(f"f{number}", "error", "s3", "eu-west-1", accounts[number]) for number in range(50)]
    door.gateway.set_faults(faults)
    door.gateway.publish(publication("iris", {"all": ([backend("iris")], 1)}, account=accounts[-1]))
    assert door.client.post(PATH, headers=signed(account=accounts[-1])).json()["name"] == "iris"
    assert door.client.post("/", headers=signed(account=STRANGER)).status_code == 403
