"""Invocations through the SDK: what a handler sees, what the caller gets, what REPORT says."""

from __future__ import annotations

import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

COUNT = "import os\nN = 0\ndef handler(event, context):\n    global N\n    N += 1\n    return [N, os.getpid()]\n"
LOOK = """
import os, sys
def handler(event, context):
    return {
        "env": dict(os.environ), "path": sys.path, "cwd": os.getcwd(),
        "context": [context.function_name, context.function_version, context.memory_limit_in_mb,
                    context.invoked_function_arn, context.aws_request_id, context.log_group_name],
        "left": context.get_remaining_time_in_millis(),
    }
"""


def test_the_first_call_has_an_init_and_the_second_has_not(functions: Any) -> None:
    name = functions.create()
    first = functions.invoke(name, {"a": [1, 2.5, "é"]})
    second = functions.invoke(name, {"b": None})
    assert (first.payload, first.error, first.version) == ({"a": [1, 2.5, "é"]}, None, "$LATEST")
    assert second.payload == {"b": None}
    assert "Init Duration" in first.report
    assert "Init Duration" not in second.report


def test_init_is_billed_and_the_sum_is_rounded_up(functions: Any) -> None:
    name = functions.create("import time\ntime.sleep(0.2)\ndef handler(event, context):\n    time.sleep(0.05)\n")
    cold, warm = functions.invoke(name), functions.invoke(name)
    init, duration = cold.milliseconds("Init Duration"), cold.milliseconds("Duration")
    assert init >= 200
    assert duration >= 50
    assert cold.milliseconds("Billed Duration") == pytest.approx(math.ceil(init + duration), abs=1)
    assert warm.milliseconds("Billed Duration") == math.ceil(warm.milliseconds("Duration"))


def test_an_environment_is_used_again_also_after_an_exception(functions: Any) -> None:
    source = COUNT + "    \ndef failing(event, context):\n    raise ValueError('no')\n"
    name = functions.create(
        source.replace("N += 1\n", "N += 1\n    if event.get('fail'):\n        raise KeyError('x')\n")
    )
    (first, pid), failed, (third, same_pid) = (
        functions.invoke(name).payload, functions.invoke(name, {"fail": True}), functions.invoke(name).payload,
    )  # fmt: skip
    assert (first, third, pid) == (1, 3, same_pid)
    assert failed.error == "Unhandled"
    assert failed.payload["errorType"] == "KeyError"


def test_what_a_handler_sees_of_its_surroundings(functions: Any) -> None:
    name = functions.create(LOOK, MemorySize=256, Timeout=7, Environment={"Variables": {"MINE": "yes"}})
    found = functions.invoke(name).payload
    context, env = found["context"], found["env"]
    assert context[:3] == [name, "$LATEST", "256"]
    assert context[3] == f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"
    assert context[5] == f"/aws/lambda/{name}"
    assert 5000 < found["left"] <= 7000
    assert env["MINE"] == "yes"
    assert env["AWS_ACCESS_KEY_ID"] == functions.account
    assert env["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert env["AWS_REGION"] == "us-east-1"
    assert env["LAMBDA_TASK_ROOT"] == found["cwd"] == found["path"][0]
    assert not {"VIRTUAL_ENV", "HOME", "USER", "LAB_CLOUD_PORTS"} & env.keys()


def test_a_function_has_boto3_and_nothing_else_of_the_kit(functions: Any) -> None:
    source = (
        "def handler(event, context):\n    import boto3, importlib.util as u\n"
        "    others = ('numpy', 'sklearn', 'ministack', 'localcloud', 'labs', 'httpx', 'pip')\n"
        "    return boto3.__version__, [m for m in others if u.find_spec(m)]\n"
    )
    version, others = functions.invoke(functions.create(source, Timeout=30, MemorySize=512)).payload
    assert version
    assert others == []


def test_what_is_printed_is_in_the_tail_and_in_cloudwatch_logs(
    functions: Any, both_runtimes: Any, wait_until: Any
) -> None:
    source = (
        "import logging\nprint('at init')\nlog = logging.getLogger()\nlog.setLevel('INFO')\n"
        "def handler(event, context):\n    print('hello', event['n'])\n    log.info('info %s', event['n'])\n"
    )
    name = functions.create(source)
    first, second = functions.invoke(name, {"n": 1}), functions.invoke(name, {"n": 2})
    assert "hello 1" in first.log
    assert "[INFO]" in second.log
    assert "hello 1" not in second.log
    logs = both_runtimes.client("logs", functions.account)
    events = wait_until(lambda: _events(logs, f"/aws/lambda/{name}", 10), what="log events")
    messages = [event["message"].strip() for event in events]
    assert "at init" in messages
    assert sum(message.startswith("REPORT RequestId:") for message in messages) == 2
    (stream,) = logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert "/[$LATEST]" in stream["logStreamName"]


def _events(logs: Any, group: str, least: int) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = logs.filter_log_events(logGroupName=group)["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return found if len(found) >= least else []


def test_metrics_hold_the_handlers_own_duration(functions: Any, both_runtimes: Any, wait_until: Any) -> None:
    name = functions.create("import time\ntime.sleep(0.5)\ndef handler(event, context):\n    return 1\n")
    functions.invoke(name)
    metrics = both_runtimes.client("cloudwatch", functions.account)
    now = time.time()

    def read(metric: str, statistic: str) -> float:
        points = metrics.get_metric_statistics(
            Namespace="AWS/Lambda", MetricName=metric, Dimensions=[{"Name": "FunctionName", "Value": name}],
            StartTime=now - 600, EndTime=now + 600, Period=3600, Statistics=[statistic],
        )["Datapoints"]  # fmt: skip
        return sum(point[statistic] for point in points)

    assert wait_until(lambda: read("Invocations", "Sum")) == 1
    assert read("Errors", "Sum") == 0
    assert 0 < read("Duration", "Maximum") < 200


def test_two_calls_at_once_get_two_environments(functions: Any) -> None:
    name = functions.create("import os, time\ndef handler(e, c):\n    time.sleep(0.5)\n    return os.getpid()\n")
    with ThreadPoolExecutor(2) as pool:
        pids = list(pool.map(lambda _: functions.invoke(name).payload, range(2)))
    assert len(set(pids)) == 2


def test_new_code_and_new_configuration_reach_the_next_call(functions: Any, both_runtimes: Any) -> None:
    from zipfile import ZipFile

    name = functions.create("import os\ndef handler(e, c):\n    return 'old', os.environ.get('X')\n")
    assert functions.invoke(name).payload == ["old", None]
    functions.client.update_function_configuration(FunctionName=name, Environment={"Variables": {"X": "1"}})
    functions.client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})
    assert functions.invoke(name).payload == ["old", "1"]
    import io

    data = io.BytesIO()
    with ZipFile(data, "w") as archive:
        archive.writestr("app.py", "def handler(e, c):\n    return 'new'\n")
    functions.client.update_function_code(FunctionName=name, ZipFile=data.getvalue())
    assert functions.invoke(name).payload == "new"


def test_versions_and_aliases_keep_their_code(functions: Any) -> None:
    name = functions.create("def handler(e, c):\n    return c.function_version, c.invoked_function_arn[-4:]\n")
    functions.client.publish_version(FunctionName=name)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    answer = functions.invoke(name, Qualifier="live")
    assert answer.payload == ["1", "live"]
    assert answer.version == "1"


def test_a_layer_is_on_the_path(functions: Any) -> None:
    import io
    from zipfile import ZipFile

    data = io.BytesIO()
    with ZipFile(data, "w") as archive:
        archive.writestr("python/greeting.py", "TEXT = 'from the layer'\n")
    layer = functions.client.publish_layer_version(LayerName="greeting", Content={"ZipFile": data.getvalue()})
    source = "import greeting\ndef handler(e, c):\n    return greeting.TEXT\n"
    name = functions.create(source, Layers=[layer["LayerVersionArn"]])
    assert functions.invoke(name).payload == "from the layer"


def test_code_from_s3(functions: Any, both_runtimes: Any) -> None:
    import io
    from zipfile import ZipFile

    data = io.BytesIO()
    with ZipFile(data, "w") as archive:
        archive.writestr("app.py", "def handler(e, c):\n    return 's3'\n")
    s3 = both_runtimes.client("s3", functions.account)
    bucket = f"code-{functions.account}-{both_runtimes.port}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="code.zip", Body=data.getvalue())
    functions.client.create_function(
        FunctionName="from-s3",
        Runtime="python3.12",
        Handler="app.handler",
        Code={"S3Bucket": bucket, "S3Key": "code.zip"},
        Role=f"arn:aws:iam::{functions.account}:role/function",
    )
    assert functions.invoke("from-s3").payload == "s3"


def test_reserved_concurrency_is_exact_under_200_requests_at_once(functions: Any, both_runtimes: Any) -> None:
    limit, requests = 7, 200
    source = "import os, time\ndef handler(e, c):\n    while not os.path.exists(e['go']):\n        time.sleep(0.01)\n"
    name = functions.create(source, Timeout=60)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=limit)
    go = both_runtimes.home.root / f"go-{functions.account}"
    throttled = threading.Semaphore(0)

    def call(_: int) -> str:
        try:
            functions.client.invoke(FunctionName=name, Payload=json.dumps({"go": str(go)}))
        except ClientError as error:
            throttled.release()
            answer = error.response
            return f"{answer['ResponseMetadata']['HTTPStatusCode']} {answer['Error']['Code']} {answer['Reason']}"
        return "done"

    with ThreadPoolExecutor(requests) as pool:
        running = [pool.submit(call, number) for number in range(requests)]
        for _ in range(requests - limit):
            assert throttled.acquire(timeout=60)
        go.touch()
        done = [each.result() for each in running]
    assert done.count("done") == limit
    refusal = "429 TooManyRequestsException ReservedFunctionConcurrentInvocationLimitExceeded"
    assert done.count(refusal) == requests - limit


def test_provisioned_environments_are_warm_before_the_first_call(functions: Any, wait_until: Any) -> None:
    source = (
        "import os, time\ntime.sleep(0.3)\n"
        "def handler(e, c):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
    )
    name = functions.create(source)
    functions.client.publish_version(FunctionName=name)
    put = functions.client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2
    )
    assert put["Status"] == "IN_PROGRESS"

    def ready() -> Any:
        found = functions.client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
        return found if found["Status"] == "READY" else None

    assert wait_until(ready)["AvailableProvisionedConcurrentExecutions"] == 2
    first = functions.invoke(name, Qualifier="1")
    assert first.payload == "provisioned-concurrency"
    assert "Init Duration" not in first.report
    assert functions.invoke(name).payload == "on-demand"
    functions.client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert functions.invoke(name, Qualifier="1").payload == "on-demand"


def test_a_provisioned_version_whose_init_fails_says_so(functions: Any, wait_until: Any) -> None:
    name = functions.create("raise RuntimeError('no')\n")
    functions.client.publish_version(FunctionName=name)
    functions.client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )

    def failed() -> Any:
        found = functions.client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
        return found if found["Status"] == "FAILED" else None

    assert wait_until(failed)["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"


def test_a_deleted_function_leaves_no_process(functions: Any, wait_until: Any) -> None:
    from localcloud.runtime import procfs

    name = functions.create(COUNT)
    _, pid = functions.invoke(name).payload
    functions.client.delete_function(FunctionName=name)
    wait_until(lambda: procfs.stat(pid) is None or procfs.stat(pid).dead, what="the end of the process")
