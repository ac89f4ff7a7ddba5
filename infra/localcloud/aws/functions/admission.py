"""Requests to Lambda that MiniStack would take wrongly: refused in AWS's words, before it sees them.

What the local cloud does not execute is refused too, with what there is instead, rather than accepted and ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from ministack.core.responses import error_response_json
from ministack.services import lambda_svc

from localcloud.aws.functions import runtimes

MOST_REQUEST_BYTES: Final = 70_167_211
"""Of a request that carries a zip: 50 MB, in base64."""
MOST_SYNCHRONOUS_BYTES: Final = 6_291_456
MOST_ASYNCHRONOUS_BYTES: Final = 1_048_576
"""Since October 2025; it was 256 KB: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_INVOKE: Final = re.compile(r"/\d{4}-\d\d-\d\d/functions/[^/]+/(invocations|response-streaming-invocations)/?")
_CREATE: Final = re.compile(r"/\d{4}-\d\d-\d\d/functions/?")
_CHANGE: Final = re.compile(r"/\d{4}-\d\d-\d\d/functions/[^/]+/(code|configuration)/?")
_LAYER: Final = re.compile(r"/\d{4}-\d\d-\d\d/layers/[^/]+/versions/?")

Answer = tuple[int, dict[str, Any], Any]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Answer]]


def admitting(handler: Handler) -> Handler:
    """Lambda's handler, with these checks in front of it."""

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        refused = refusal(method, path, headers, body)
        return await handler(method, path, headers, body, query) if refused is None else refused

    return handle


def refusal(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
    """The error for a request, or None."""
    if method == "POST" and _INVOKE.fullmatch(path):
        return _refuse_event(headers, body)
    create = method == "POST" and _CREATE.fullmatch(path)
    change = _CHANGE.fullmatch(path) if method == "PUT" else None
    layer = method == "POST" and _LAYER.fullmatch(path)
    if not (create or change or layer):
        return None
    operation = "CreateFunction" if create else "PublishLayerVersion" if layer else "UpdateFunctionCode"
    if len(body) > MOST_REQUEST_BYTES:
        text = f"Request must be smaller than {MOST_REQUEST_BYTES} bytes for the {operation} operation"
        return error("RequestEntityTooLargeException", text, 413)
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return error("SerializationException", "Could not parse request body into json", 400)
    code = data.get("Code") or {} if create else data.get("Content") or {} if layer else data
    return next(filter(None, (*_code_problems(code, bool(create or layer)), *_problems(data, bool(create)))), None)


def error(code: str, text: str, status: int = 400) -> Answer:
    """An error as Lambda's REST API sends it."""
    status, headers, body = error_response_json(code, text, status)
    return status, {**headers, "x-amzn-errortype": code}, body


def _refuse_event(headers: Mapping[str, str], body: bytes) -> Answer | None:
    kind = headers.get("x-amz-invocation-type", "RequestResponse")
    most = MOST_ASYNCHRONOUS_BYTES if kind == "Event" else MOST_SYNCHRONOUS_BYTES
    if len(body) > most:
        text = f"{len(body)} byte payload is too large for the {kind} invocation type (limit {most} bytes)"
        return error("RequestTooLargeException", text, 413)
    if not body:
        return None
    try:
        json.loads(body)
    except ValueError as problem:
        text = f"Could not parse request body into json: Could not parse payload into json: {problem}"
        return error("InvalidRequestContentException", text)
    return None


def _code_problems(code: Mapping[str, Any], needed: bool) -> Iterable[Answer | None]:
    if code.get("ImageUri"):
        yield _not_here("Container images are", "a zip file (Code.ZipFile or Code.S3Bucket)")
    if code.get("S3Bucket") and lambda_svc.s3_code_region_message(code["S3Bucket"]) is None:
        found = lambda_svc._fetch_code_from_s3(code["S3Bucket"], code.get("S3Key"), code.get("S3ObjectVersion"))
        if found is None:
            yield _invalid(
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does"
                " not exist."
            )
    elif needed and not code.get("ZipFile"):
        yield _invalid("Please provide a source for function code.")


def _problems(data: Mapping[str, Any], create: bool) -> Iterable[Answer | None]:
    runtime = data.get("Runtime")
    if runtime and runtime not in runtimes.SUPPORTED:
        known = ", ".join(runtimes.SUPPORTED)
        yield _invalid(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{known}]"
            f" or be a valid ARN. (The local cloud executes Python functions only, each with its own"
            f" {runtimes.description()}.)"
        )
    if create and data.get("PackageType", "Zip") == "Zip" and not data.get("Handler"):
        yield _invalid("Handler is required for .zip deployment packages.")
    if (data.get("SnapStart") or {}).get("ApplyOn", "None") != "None":
        yield _not_here("SnapStart is", "provisioned concurrency")
    if data.get("FileSystemConfigs"):
        yield _not_here("File systems are", "TMPDIR, or a layer")
    if (data.get("DurableConfig") or {}).get("Enabled"):
        yield _not_here("Durable functions are", "Step Functions")
    if (data.get("LoggingConfig") or {}).get("LogFormat", "Text") != "Text":
        yield _not_here("The JSON log format is", "LogFormat Text")
    yield from _limits(data)
    yield _reserved_variables((data.get("Environment") or {}).get("Variables") or {})


def _limits(data: Mapping[str, Any]) -> Iterable[Answer | None]:
    for name, least, most in (("MemorySize", 128, 10_240), ("Timeout", 1, 900)):
        value = data.get(name)
        if value is not None and not least <= int(value) <= most:
            side, limit = ("less", most) if int(value) > most else ("greater", least)
            field = name[0].lower() + name[1:]
            yield error(
                "ValidationException",
                f"1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: Member must"
                f" have value {side} than or equal to {limit}",
            )


def _reserved_variables(variables: Mapping[str, str]) -> Answer | None:
    reserved = sorted(runtimes.RESERVED_VARIABLES & variables.keys())
    if not reserved:
        return None
    return _invalid(
        "Lambda was unable to configure your environment variables because the environment variables you have provided"
        " contains reserved keys that are currently not supported for modification. Reserved keys used in this request:"
        f" {', '.join(reserved)}"
    )


def _not_here(what: str, instead: str) -> Answer:
    return _invalid(f"{what} not part of the local cloud. Use {instead}, or a real account.")


def _invalid(text: str) -> Answer:
    return error("InvalidParameterValueException", text)
