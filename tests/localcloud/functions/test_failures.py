"""What goes wrong, and how AWS says so."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

HANDLER = "def handler(event, context):\n    "
EXIT = "Runtime.ExitError"
NO_MODULE = "Unable to import module '{}': No module named '{}'"


@pytest.mark.parametrize(
    ("source", "handler", "kind", "text"),
    [
        ("x = 1\n", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("x = 1\n", "other.handler", "Runtime.ImportModuleError", NO_MODULE.format("other", "other")),
        ("import nope\n", "app.handler", "Runtime.ImportModuleError", NO_MODULE.format("app", "nope")),
        ("def\n", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("x = 1\n", "handler", "Runtime.MalformedHandlerName", "Bad handler 'handler'"),
        ("raise ValueError('at init')\n", "app.handler", "ValueError", "at init"),
        (HANDLER + "raise RuntimeError('boom')\n", "app.handler", "RuntimeError", "boom"),
        (HANDLER + "return {1, 2}\n", "app.handler", "Runtime.MarshalError", "Unable to marshal response"),
        ("import os\n" + HANDLER + "os._exit(3)\n", "app.handler", EXIT, "Runtime exited with error: exit status 3"),
        ("import os\n" + HANDLER + "os._exit(0)\n", "app.handler", EXIT, "Runtime exited without providing a reason"),
        ("import os\n" + HANDLER + "os.kill(os.getpid(), 11)\n", "app.handler", EXIT,
         "Runtime exited with error: signal: segmentation fault"),
        ("import os\nos._exit(1)\n", "app.handler", EXIT, "Runtime exited with error: exit status 1"),
        (HANDLER + "return 'x' * 6_300_000\n", "app.handler", "Function.ResponseSizeTooLarge",
         "Response payload size exceeded maximum allowed payload size (6291556 bytes)."),
    ],
)  # fmt: skip
def test_a_function_that_fails(functions: Any, source: str, handler: str, kind: str, text: str) -> None:
    answer = functions.invoke(functions.create(source, handler=handler))
    assert (answer.status, answer.error) == (200, "Unhandled")
    assert answer.payload["errorType"] == kind
    assert text in answer.payload["errorMessage"]
    assert answer.report["RequestId"]


def test_the_stack_trace_names_file_line_and_text(functions: Any) -> None:
    source = "def inner():\n    raise ValueError('deep')\ndef handler(event, context):\n    inner()\n"
    answer = functions.invoke(functions.create(source))
    trace = answer.payload["stackTrace"]
    assert len(trace) == 2
    assert re.search(r'File ".*/app\.py", line 4, in handler\n    inner\(\)', trace[0])
    assert "line 2, in inner" in trace[1]
    assert answer.payload["requestId"] == answer.report["RequestId"]
    assert "[ERROR] ValueError: deep" in answer.log
    assert "Traceback (most recent call last):" in answer.log


def test_a_failed_init_is_repeated_within_the_invocation(functions: Any) -> None:
    answer = functions.invoke(functions.create("import nope\n"))
    assert "INIT_REPORT" in answer.log
    assert "Phase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError" in answer.log
    assert answer.report["Status"] == "error"
    assert "Init Duration" not in answer.report


def test_a_timeout(functions: Any) -> None:
    name = functions.create("import time\n" + HANDLER + "time.sleep(event.get('s', 0))\n    return 1\n", Timeout=1)
    assert functions.invoke(name).payload == 1
    late = functions.invoke(name, {"s": 30})
    assert late.error == "Unhandled"
    assert late.payload["errorType"] == "Sandbox.Timedout"
    assert late.payload["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert "Task timed out after 1.00 seconds" in late.log
    assert late.report["Status"] == "timeout"
    assert late.milliseconds("Duration") == 1000
    again = functions.invoke(name)
    assert (again.payload, "Init Duration" in again.report) == (1, True)


@pytest.mark.parametrize("hoard", ["x = bytearray(400 << 20)", "x = [bytearray(4 << 20) for _ in range(100)]"])
def test_out_of_memory(functions: Any, hoard: str) -> None:
    touch = "for i in range(0, len(x), 4096):\n            x[i] = x[i]"
    source = f"{HANDLER}if event.get('much'):\n        {hoard}\n        {touch}\n    return 1\n"
    name = functions.create(source, MemorySize=128, Timeout=30)
    assert functions.invoke(name).payload == 1
    answer = functions.invoke(name, {"much": True})
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.OutOfMemory"
    assert answer.payload["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert answer.report["Max Memory Used"] == "128 MB"
    assert answer.report["Status"] == "error"
    assert answer.report["Error Type"] == "Runtime.OutOfMemory"
    assert functions.invoke(name).payload == 1


def test_memory_that_fits_is_reported(functions: Any) -> None:
    name = functions.create(HANDLER + "x = bytearray(100 << 20)\n    return len(x)\n", MemorySize=256)
    answer = functions.invoke(name)
    assert answer.error is None
    assert 100 <= int(answer.report["Max Memory Used"].split()[0]) <= 256


REFUSED = [
    ({"Runtime": "nodejs20.x"}, "InvalidParameterValueException", "python3.11, python3.12, python3.13"),
    ({"Runtime": "python3.8"}, "InvalidParameterValueException", "executes Python functions only"),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "InvalidParameterValueException", "SnapStart is not part"),
    ({"PackageType": "Image", "Code": {"ImageUri": "x/y:1"}}, "InvalidParameterValueException", "Container images"),
    ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip uploaded file"),
    ({"Code": {}}, "InvalidParameterValueException", "Please provide a source for function code"),
    ({"Code": {"S3Bucket": "no-such-bucket-at-all", "S3Key": "x"}}, "InvalidParameterValueException", "GetObject"),
    ({"MemorySize": 10_241}, "ValidationException", "less than or equal to 10240"),
    ({"Timeout": 901}, "ValidationException", "less than or equal to 900"),
    ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "Reserved keys"),
    ({"LoggingConfig": {"LogFormat": "JSON"}}, "InvalidParameterValueException", "JSON log format"),
]


@pytest.mark.parametrize(("changes", "code", "text"), REFUSED)
def test_what_is_refused(functions: Any, changes: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(ClientError) as caught:
        functions.client.create_function(**_request(functions, **changes))
    assert caught.value.response["Error"]["Code"] == code
    assert text in caught.value.response["Error"]["Message"]
    assert functions.client.list_functions()["Functions"] == []


def _request(functions: Any, **changes: Any) -> dict[str, Any]:
    good = {
        "FunctionName": "f", "Runtime": "python3.11", "Handler": "app.handler",
        "Role": f"arn:aws:iam::{functions.account}:role/function", "Code": {"ZipFile": _zip({"app.py": b"x = 1\n"})},
    }  # fmt: skip
    return good | changes


def _zip(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def test_a_zip_that_is_too_large_unpacked(functions: Any) -> None:
    zipped = _zip({"app.py": b"x = 1\n", "large": bytes(251 << 20)})
    with pytest.raises(ClientError) as caught:
        functions.client.create_function(**_request(functions, Code={"ZipFile": zipped}))
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert caught.value.response["Error"]["Message"] == "Unzipped size must be smaller than 262144000 bytes"


def test_a_zip_of_nearly_250_mb_runs(functions: Any) -> None:
    zipped = _zip(
        {"app.py": b"import os\ndef handler(e, c):\n    return os.path.getsize('large')\n", "large": bytes(240 << 20)}
    )
    assert functions.invoke(functions.create(code=zipped)).payload == 240 << 20


def test_a_zip_that_leads_out_of_its_folder(functions: Any) -> None:
    name = functions.create(code=_zip({"../escape.py": b"x = 1\n", "app.py": b"def handler(e, c):\n    return 1\n"}))
    answer = functions.invoke(name)
    assert answer.error == "Unhandled"
    assert "leads out of the folder" in answer.payload["errorMessage"]


@pytest.mark.parametrize("payload", [b"{", b"not json", b"\xff"])
def test_a_malformed_event(functions: Any, payload: bytes) -> None:
    name = functions.create()
    with pytest.raises(ClientError) as caught:
        functions.client.invoke(FunctionName=name, Payload=payload)
    assert caught.value.response["Error"]["Code"] == "InvalidRequestContentException"
    assert "Could not parse request body into json" in caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_event_that_is_too_large(functions: Any) -> None:
    name = functions.create()
    with pytest.raises(ClientError) as caught:
        functions.client.invoke(FunctionName=name, Payload=b'"' + b"x" * 6_291_456 + b'"')
    assert caught.value.response["Error"]["Code"] == "RequestTooLargeException"


def test_a_function_that_does_not_exist(functions: Any) -> None:
    with pytest.raises(functions.client.exceptions.ResourceNotFoundException) as caught:
        functions.client.invoke(FunctionName="nobody")
    assert f"Function not found: arn:aws:lambda:us-east-1:{functions.account}:function:nobody" in str(caught.value)


def test_provisioned_concurrency_needs_a_version(functions: Any) -> None:
    name = functions.create()
    with pytest.raises(ClientError) as caught:
        functions.client.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )
    assert "unpublished function versions" in caught.value.response["Error"]["Message"]
