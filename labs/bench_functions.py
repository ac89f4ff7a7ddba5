"""`lab bench functions`: what Lambda, API Gateway and S3 cost in time on this machine."""

from __future__ import annotations

import base64
import http.client
import io
import json
import statistics
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from labs import cloud_process
from labs.bench import Measure
from labs.wait import wait_until

if TYPE_CHECKING:
    from labs.aws import Lab

_CALLS: Final = 200
_COLD_STARTS: Final = 5
_AT_ONCE: Final = 200
_RESERVED: Final = 10
_HELD_SECONDS: Final = 6
_OBJECTS: Final = 150
_ROUNDS: Final = 3

_EMPTY: Final = "def handler(event, context):\n    return {'statusCode': 200, 'body': ''}\n"
_SLOW: Final = f"import time\ndef handler(event, context):\n    time.sleep({_HELD_SECONDS})\n"
_SELF_TIMED: Final = """
import os, time
import boto3
boto3.client('s3')
def since_start():
    with open('/proc/self/stat') as file:
        ticks = int(file.read().rpartition(')')[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')
TOOK = 1000 * since_start()
def handler(event, context):
    return TOOK
"""


def measure(lab: Lab) -> Iterator[Measure]:
    """All of it, as one tenant."""
    yield from _warm(lab)
    yield from _cold(lab)
    yield _provisioned(lab)
    yield _api_gateway(lab)
    yield _throttling(lab)
    yield _objects(lab)


def _warm(lab: Lab) -> Iterator[Measure]:
    name = _create(lab, "warm", _EMPTY)
    _invoke(lab, name)
    calls = [_timed(lambda: _invoke(lab, name)) for _ in range(_CALLS)]
    detail = f"median of {_CALLS} calls with boto3, one after another, empty handler, 128 MB"
    yield Measure("Lambda warm: client", statistics.median(took for took, _ in calls), "ms", 12.0, detail=detail)
    yield Measure(
        "Lambda warm: Duration", statistics.median(_field(log, "Duration") for _, (_, log) in calls), "ms", 2.0
    )


def _cold(lab: Lab) -> Iterator[Measure]:
    if not sys.platform.startswith("linux"):
        return
    ratios, inits = [], []
    for number in range(_COLD_STARTS):
        own, log = _invoke(lab, _create(lab, f"cold-{number}", _SELF_TIMED, MemorySize=512, Timeout=30))
        inits.append(_field(log, "Init Duration"))
        ratios.append(abs(inits[-1] / own - 1))
    detail = (
        f"Init Duration against the process's own age when boto3 is imported; Init {statistics.median(inits):.0f} ms;"
        f" median of {_COLD_STARTS}"
    )
    yield Measure("Lambda cold: Init / own start, off by", statistics.median(ratios), "", 0.1, detail=detail)


def _provisioned(lab: Lab) -> Measure:
    functions, took = lab.client("lambda"), []
    for number in range(_COLD_STARTS):
        which = {"FunctionName": _create(lab, f"provisioned-{number}", _EMPTY), "Qualifier": "1"}
        functions.publish_version(FunctionName=which["FunctionName"])
        functions.put_provisioned_concurrency_config(**which, ProvisionedConcurrentExecutions=1)
        wait_until(
            lambda which=which: functions.get_provisioned_concurrency_config(**which)["Status"] == "READY",  # type: ignore[misc] # mypy cannot infer a lambda with a default
            60, "PutProvisionedConcurrencyConfig", every=0.02,
        )  # fmt: skip
        took.append(_timed(lambda which=which: functions.invoke(**which))[0])  # type: ignore[misc] # as above
    detail = f"first calls of {_COLD_STARTS} functions: " + ", ".join(f"{each:.1f}" for each in took)
    return Measure("Lambda provisioned: first call", statistics.median(took), "ms", 20.0, detail=detail)


def _api_gateway(lab: Lab) -> Measure:
    """Both over one raw connection, so that the SDK's own work hides nothing."""
    name = _create(lab, "behind-api", _EMPTY)
    direct, api = _raw_invoke(lab, name), _raw_api(lab, name)
    differences = []
    for _ in range(_ROUNDS):
        alone = statistics.median(_timed(direct)[0] for _ in range(_CALLS))
        through = statistics.median(_timed(api)[0] for _ in range(_CALLS))
        differences.append(through - alone)
    detail = f"REST proxy p50 {through:.1f} ms, Invoke p50 {alone:.1f} ms; median of {_ROUNDS} rounds of {_CALLS} calls"
    return Measure("API Gateway adds", statistics.median(differences), "ms", 5.0, detail=detail)


def _throttling(lab: Lab) -> Measure:
    from botocore.config import Config

    name = _create(lab, "reserved", _SLOW, Timeout=60)
    functions = lab.client("lambda", retries=0, config=Config(max_pool_connections=_AT_ONCE))
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=_RESERVED)

    def is_throttled(_: int) -> bool:
        try:
            functions.invoke(FunctionName=name)
        except functions.exceptions.TooManyRequestsException:
            return True
        return False

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        throttled = sum(pool.map(is_throttled, range(_AT_ONCE)))
    detail = f"{throttled} of {_AT_ONCE} at once got 429 with {_RESERVED} reserved"
    return Measure("Lambda throttles, off by", abs(throttled - (_AT_ONCE - _RESERVED)), "", 0.0, detail=detail)


def _objects(lab: Lab) -> Measure:
    gateway = lab.client("s3")
    direct = lab.client("s3", endpoint_url=f"http://127.0.0.1:{cloud_process.read_state().ports['ministack']}")
    ratios, rates = [], []
    for _ in range(_ROUNDS):
        alone, through = _put_and_get(direct, lab.bucket), _put_and_get(gateway, lab.bucket)
        ratios.append(through / alone)
        rates.append((through, alone))
    detail = f"{rates[-1][0]:.0f} of {rates[-1][1]:.0f} puts and gets of 1 KiB per second with boto3, one client"
    return Measure("S3 through the gateway / direct", statistics.median(ratios), "", 0.8, at_least=True, detail=detail)


def _put_and_get(s3: Any, bucket: str) -> float:
    body, began = b"x" * 1024, time.perf_counter()
    for number in range(_OBJECTS):
        s3.put_object(Bucket=bucket, Key=f"bench/{number}", Body=body)
        s3.get_object(Bucket=bucket, Key=f"bench/{number}")["Body"].read()
    return 2 * _OBJECTS / (time.perf_counter() - began)


def _create(lab: Lab, name: str, source: str, **options: Any) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", source)
    functions = lab.client("lambda")
    functions.create_function(
        FunctionName=name, Runtime=f"python3.{sys.version_info.minor}", Handler="app.handler",
        Role=f"arn:aws:iam::{lab.account}:role/bench", Code={"ZipFile": packed.getvalue()}, **options,
    )  # fmt: skip
    waiter = functions.get_waiter("function_active_v2")
    waiter.wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    return name


def _invoke(lab: Lab, name: str) -> tuple[Any, str]:
    answer = lab.client("lambda").invoke(FunctionName=name, LogType="Tail")
    return json.loads(answer["Payload"].read()), base64.b64decode(answer["LogResult"]).decode()


def _field(log: str, name: str) -> float:
    report = next(line for line in log.splitlines() if line.startswith("REPORT"))
    return next(float(part.split()[-2]) for part in report.split("\t") if part.startswith(f"{name}: "))


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = call()
    return 1000 * (time.perf_counter() - began), answer


def _raw_invoke(lab: Lab, name: str) -> Callable[[], None]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    url = f"{cloud_process.read_state().aws_url}/2015-03-31/functions/{name}/invocations"
    request = AWSRequest("POST", url, data="{}")
    credentials = lab.session.get_credentials()
    assert credentials is not None  # connect has set them
    SigV4Auth(credentials, "lambda", lab.region).add_auth(request)
    return _raw("POST", f"/2015-03-31/functions/{name}/invocations", dict(request.headers.items()), "{}")


def _raw_api(lab: Lab, name: str) -> Callable[[], None]:
    gateway = lab.client("apigateway")
    api = gateway.create_rest_api(name="bench")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    where = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    gateway.put_method(**where, authorizationType="NONE")
    arn = f"arn:aws:lambda:{lab.region}:{lab.account}:function:{name}"
    uri = f"arn:aws:apigateway:{lab.region}:lambda:path/2015-03-31/functions/{arn}/invocations"
    gateway.put_integration(**where, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    gateway.create_deployment(restApiId=api, stageName="bench")
    return _raw("GET", f"/restapis/{api}/bench/_user_request_/", {}, None)


def _raw(method: str, path: str, headers: dict[str, str], body: str | None) -> Callable[[], None]:
    connection = http.client.HTTPConnection("127.0.0.1", cloud_process.read_state().ports["aws"], timeout=30)

    def call() -> None:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise cloud_process.CloudError(f"{method} {path} answered {answer.status}. Run: lab doctor")

    return call
