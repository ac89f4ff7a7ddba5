"""API Gateway's data plane in MiniStack: whose an API is, what a failing function looks like, and what is billed.

Errors: https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway-errors.html
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ministack import app as ministack
from ministack.core.responses import request_scope
from ministack.services import apigateway, apigateway_v1, lambda_svc

from localcloud.aws.functions import billing
from localcloud.aws.functions.usage_log import UsageLog

_FREE: Final = frozenset({401, 403, 404, 429})
"""What an HTTP API refuses by itself is not billed (a function that answers so is billed all the same on AWS)."""

_ERROR_TYPES: Final = {
    "INVALID_API_KEY": "ForbiddenException",
    "THROTTLED": "TooManyRequestsException",
    "QUOTA_EXCEEDED": "LimitExceededException",
}
_STAGES: Final = re.compile(r"/v2/apis/[^/]+/stages(/[^/]+)?/?")
_THROTTLING: Final = ("throttlingRateLimit", "throttlingBurstLimit")

Answer = tuple[int, dict[str, Any], bytes]


def install(usage: UsageLog) -> None:
    """Repair and meter REST and HTTP APIs."""
    ministack._handle_execute_api_request = _for_its_owner(ministack._handle_execute_api_request)
    apigateway_v1._lambda_proxy_response = rest_answer
    apigateway_v1._GATEWAY_RESPONSE_ERROR_TYPES |= _ERROR_TYPES
    lambda_svc.lambda_execute_result_to_api_proxy_response = _http_answer(
        lambda_svc.lambda_execute_result_to_api_proxy_response
    )
    ministack.SERVICE_HANDLERS["apigateway"] = _refusing(ministack.SERVICE_HANDLERS["apigateway"])
    apigateway_v1._execute_in_scope = _metered_rest(apigateway_v1._execute_in_scope, usage)
    apigateway._handle_execute_in_scope = _metered_http(apigateway._handle_execute_in_scope, usage)


def rest_answer(result: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """From a function's result to a proxy integration's answer.

    An invocation that Lambda rejects is a 500; a function that fails, or answers in another form, is a 502.
    """
    if result.get("throttle"):
        return _internal_error(500), None
    body = result.get("body")
    if result.get("error") or not _is_proxy_answer(body):
        return _internal_error(502), None
    return dict(body), None  # type: ignore[arg-type] # a mapping, as just checked


def _is_proxy_answer(body: Any) -> bool:
    if not isinstance(body, Mapping) or not isinstance(body.get("body", ""), str | None):
        return False
    return str(body.get("statusCode", "")).isdigit()


def _http_answer(shape: Callable[..., Any]) -> Callable[..., Any]:
    """An HTTP API answers 500 whenever the function fails or is throttled, and shows nothing of the error."""

    def answer(result: Mapping[str, Any]) -> Any:
        if result.get("error") or result.get("throttle"):
            return {"statusCode": 500, "body": json.dumps({"message": "Internal Server Error"})}, None
        return shape(result)

    return answer


def unsupported(path: str, data: Mapping[str, Any]) -> str | None:
    """What a request to API Gateway v2 asks for that MiniStack would accept and not do."""
    if path.rstrip("/") == "/v2/apis" and data.get("protocolType") == "WEBSOCKET":
        return "WebSocket APIs are not part of the local cloud. Use a REST or HTTP API, or a real account."
    if _STAGES.fullmatch(path):
        settings = [data.get("defaultRouteSettings") or {}, *(data.get("routeSettings") or {}).values()]
        if any(name in each for each in settings for name in _THROTTLING):
            return (
                "Stage throttling of HTTP APIs is not part of the local cloud. Use a REST API with a usage plan, or"
                " a real account."
            )
    return None


def _refusing(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
        if method in ("POST", "PATCH", "PUT") and path.startswith("/v2/apis"):
            problem = unsupported(path, _json_object(body))
            if problem is not None:
                error = {"Content-Type": "application/json", "x-amzn-errortype": "BadRequestException"}
                return 400, error, json.dumps({"message": problem}).encode()
        return await handler(method, path, headers, body, query)

    return handle


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _internal_error(status: int) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"x-amzn-ErrorType": "InternalServerErrorException"},
        "body": json.dumps({"message": "Internal server error"}),
    }


def owner_of(host: str, path: str) -> tuple[str, str] | None:
    """Account and region of the API that a request is for. Its id says it: callers need no AWS credentials."""
    parsed = ministack._parse_execute_api_url(host, path)
    if parsed is None:
        return None
    for store in (apigateway_v1._rest_apis, apigateway._apis):
        for (account, region, api), _ in store.all_items():
            if api == parsed[0]:
                return account, region
    return None


def _for_its_owner(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def handle_for_owner(host: str, path: str, *arguments: Any, **keywords: Any) -> Any:
        owner = owner_of(host, path)
        if owner is None:
            return await handle(host, path, *arguments, **keywords)
        with request_scope(*owner):
            return await handle(host, path, *arguments, **keywords)

    return handle_for_owner


def _metered_rest(execute: Callable[..., Awaitable[Any]], usage: UsageLog) -> Callable[..., Awaitable[Any]]:
    """Requests that a key, a quota or an authorizer turns away are free."""

    async def execute_and_meter(request: dict[str, Any], api: str, *arguments: Any) -> Any:
        answer = await execute(request, api, *arguments)
        if request["resource_path"] and not isinstance(answer, apigateway_v1._GatewayError):
            account, region = arguments[-2:]
            usage.append(_line(account, region, api, "REST", 1))
        return answer

    return execute_and_meter


def _metered_http(execute: Callable[..., Awaitable[Any]], usage: UsageLog) -> Callable[..., Awaitable[Any]]:
    async def execute_and_meter(api: str, *rest: Any) -> Any:
        answer = await execute(api, *rest)
        if answer[0] not in _FREE:
            body, _, account, region = rest[4:8]
            usage.append(_line(account, region, api, "HTTP", billing.http_api_units(len(body or b""))))
        return answer

    return execute_and_meter


def _line(account: str, region: str, api: str, kind: str, units: int) -> dict[str, Any]:
    return {
        "kind": "api request", "time": time.time(), "account": account, "region": region, "function": api,
        "type": kind, "units": units,
    }  # fmt: skip
