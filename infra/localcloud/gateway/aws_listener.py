"""The AWS door: routes by the SigV4 credential scope, and errors in the shapes of AWS's protocols.

The scope is `<access key>/<date>/<region>/<service>/aws4_request`, in the Authorization header or in the query of a
presigned URL (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html). The access
key is the tenant's account. The signature itself is not verified here: nobody but this machine can reach the door.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from localcloud.gateway import listeners
from localcloud.gateway.clusters import CONTROL_PLANE, MINISTACK
from localcloud.gateway.errors import GatewayError
from localcloud.gateway.listeners import FAILURE_FLAGS, LATENCY_SLOTS, TIMEOUT_FLAGS, Listener, View
from localcloud.gateway.routes import (
    answer,
    deployment_routes,
    header_contains,
    header_prefix,
    percentage,
    retry_same_part,
    route,
)
from localcloud.gateway.spec import Fault, Reply

Json = dict[str, Any]
Shape = Literal["s3", "query", "json"]

NAME: Final = "aws"
SIGNED: Final = "AWS4-HMAC-SHA256 Credential="
DATA_PLANE: Final = "sagemaker-runtime"
"""Our name for invocations; on the wire both share the signing name `sagemaker`."""
CONTROL_PLANE_SERVICES: Final = ("sagemaker",)
"""SigV4 service names that localcloud answers itself; all others are MiniStack's."""

_SAGEMAKER: Final = "sagemaker"
_INVOCATIONS: Final = "/endpoints/"
_FORM: Final = "application/x-www-form-urlencoded"
"""The content type of the query protocol (IAM, STS, SNS, CloudFormation …), whose errors are XML."""
_NO_TENANT: Final = (
    "The access key of this request belongs to no tenant of this local cloud: it is unknown or has expired."
    " Connect again (labs.connect in a notebook) or run: lab env"
)
_DOWN: Final = "does not answer; it is started again by itself. Retry in a second, or look with: lab status"
_CODES: Final = {
    400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
    408: "RequestTimeout", 424: "ModelError", 429: "ThrottlingException", 500: "InternalFailure",
    502: "ServiceUnavailable", 503: "ServiceUnavailable", 504: "GatewayTimeout",
}  # fmt: skip
_S3_CODES: Final = {
    400: "InvalidRequest", 403: "AccessDenied", 404: "NoSuchKey", 408: "RequestTimeout",
    429: "SlowDown", 500: "InternalError", 503: "SlowDown",
}  # fmt: skip
_SHAPES: Final[tuple[tuple[Shape, tuple[Json, ...]], ...]] = (
    ("s3", (header_contains("authorization", "/s3/aws4_request"),)),
    ("query", (header_prefix("content-type", _FORM),)),
    ("json", ()),
)
"""Which requests expect which shape of error; the first that matches counts."""


@dataclass(frozen=True)
class _Error:
    status: int
    code: str
    s3_code: str
    query_code: str
    message: str


def virtual_host(view: View) -> Json:
    """Refusals first, then faults, endpoints, and the parts of the cloud."""
    routes = [*_refusals(view.accounts), *_fault_routes(view.faults)]
    for publication in view.publications:
        if publication.route.listener == NAME:
            routes += deployment_routes(publication)
    routes += [*_control_plane_routes(), _ministack_route()]
    return {
        "routes": routes,
        "typed_per_filter_config": _delays(view.faults),
        "response_headers_to_add": [_request_id()],
    }


def error_mappers() -> list[Json]:
    """How Envoy's own errors look: a timeout of a model as SageMaker reports it, all else as 503 with its cause."""
    invocation = listeners.when_any(
        [listeners.when_header(header_prefix(name, _INVOCATIONS)) for name in (":path", "x-envoy-original-path")]
    )
    sagemaker = listeners.when_header(header_contains("authorization", f"/{_SAGEMAKER}/aws4_request"))
    failed = listeners.flagged(FAILURE_FLAGS)
    presigned = listeners.when_header(header_contains(":path", "X-Amz-Credential="))
    mappers = [_model_timeout([sagemaker, invocation, listeners.flagged(TIMEOUT_FLAGS)])]
    mappers += [_part_down([failed, presigned], "s3")]
    for shape, matchers in _SHAPES:
        mappers.append(_part_down([failed, failed, *map(listeners.when_header, matchers)], shape))
    return mappers


def reply(shape: Shape, status: int, code: str, message: str) -> Reply:
    """An AWS error in one of its protocols' shapes."""
    if shape == "json":
        body = json.dumps({"__type": code, "message": message, "Message": message})
        return Reply(status, body, {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": code})
    return Reply(status, _xml(shape, code, message), {"content-type": "application/xml"})


def _xml(shape: Shape, code: str, message: str) -> str:
    error = f"<Code>{code}</Code><Message>{_escaped(message)}</Message>"
    if shape == "s3":
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{error}</Error>'
    return f"<ErrorResponse><Error><Type>Receiver</Type>{error}</Error></ErrorResponse>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _request_id() -> Json:
    # boto3 shows it as ResponseMetadata.RequestId; the access log has it too.
    header = {"key": "x-amzn-requestid", "value": "%REQ(X-REQUEST-ID)%"}
    return {"header": header, "append_action": "ADD_IF_ABSENT"}


# Who may come in


def _refusals(accounts: Sequence[str]) -> list[Json]:
    error = _Error(403, "UnrecognizedClientException", "InvalidAccessKeyId", "InvalidClientTokenId", _NO_TENANT)
    # Other schemes (a Bearer token for a Lambda authorizer) are not AWS credentials: they pass, as unsigned.
    signed = [header_prefix("authorization", "AWS")]
    signed += [header_prefix("authorization", f"{SIGNED}{account}/", negate=True) for account in accounts]
    routes = _answers("no-tenant", signed, error, {})
    for parameter in ("X-Amz-Credential=", "AWSAccessKeyId="):
        query = [header_contains(":path", parameter)]
        query += [header_contains(":path", f"{parameter}{account}", negate=True) for account in accounts]
        routes.append(_answer_route("no-tenant/query", query, "s3", error, {}))
    return routes


def _answers(
    name: str, matchers: list[Json], error: _Error, labels: dict[str, str], match: Json | None = None
) -> list[Json]:
    """One route per error shape; `matchers` come last, for they may be many."""
    return [
        _answer_route(f"{name}/{shape}", [*of_shape, *matchers], shape, error, labels, match)
        for shape, of_shape in _SHAPES
    ]


def _answer_route(
    name: str, matchers: list[Json], shape: Shape, error: _Error, labels: dict[str, str], match: Json | None = None
) -> Json:
    code = {"s3": error.s3_code, "query": error.query_code, "json": error.code}[shape]
    body = reply(shape, error.status, code, error.message)
    return route(name, {"prefix": "/", "headers": matchers} | (match or {}), answer(body), labels)


# Faults


def _fault_routes(faults: Iterable[Fault]) -> list[Json]:
    routes = []
    for fault in faults:
        if fault.kind in ("error", "outage"):
            routes += _error_routes(fault)
    return routes


def _error_routes(fault: Fault) -> list[Json]:
    percent = 100.0 if fault.kind == "outage" else fault.percent
    share = {"runtime_fraction": {"default_value": percentage(percent), "runtime_key": f"localcloud.fault.{fault.id}"}}
    error = _fault_error(fault)
    labels = {"fault": fault.id}
    routes = []
    for alternative in _scopes(fault):
        routes += _answers(f"fault/{fault.id}", alternative, error, labels, share)
    return routes


def _fault_error(fault: Fault) -> _Error:
    code = _CODES.get(fault.status, "InternalFailure" if fault.status >= 500 else "ValidationException")
    message = f"Injected {fault.kind} (fault {fault.id}). End it with: lab fault clear {fault.id}"
    return _Error(fault.status, code, _S3_CODES.get(fault.status, code), code, message)


def _delays(faults: Iterable[Fault]) -> Json:
    wanted = [
        (fault, alternative)
        for fault in faults
        if fault.kind == "latency" and fault.delay_seconds > 0
        for alternative in _scopes(fault)
    ]
    if len(wanted) > LATENCY_SLOTS:
        raise GatewayError(
            f"At most {LATENCY_SLOTS} delays can be planned at a time, and these faults need {len(wanted)}."
            " Clear some: lab fault list, lab fault clear ID"
        )
    return {
        listeners.latency_slot(index): listeners.delay(matchers, percentage(fault.percent), fault.delay_seconds)
        for index, (fault, matchers) in enumerate(wanted)
    }


def _scopes(fault: Fault) -> list[list[Json]]:
    """Matchers of the requests that a fault concerns: alternatives, of which each must hold as a whole."""
    if fault.service is None and fault.region is None and fault.tenant is None:
        return [[]]
    service = _SAGEMAKER if fault.service == DATA_PLANE else fault.service
    signed = [header_prefix("authorization", f"{SIGNED}{fault.tenant}/" if fault.tenant else SIGNED)]
    signed += [header_contains("authorization", part) for part in _scope_parts(fault.region, service)]
    if service == _SAGEMAKER:
        return [[*signed, header_prefix(":path", _INVOCATIONS, negate=fault.service != DATA_PLANE)]]
    presigned = [header_contains(":path", f"X-Amz-Credential={fault.tenant or ''}")]
    presigned += [header_contains(":path", part.replace("/", "%2F")) for part in _scope_parts(fault.region, service)]
    return [signed, presigned]


def _scope_parts(region: str | None, service: str | None) -> list[str]:
    if region and service:
        return [f"/{region}/{service}/aws4_request"]
    if region:
        return [f"/{region}/"]
    return [f"/{service}/aws4_request"] if service else []


# The parts of the cloud


def _control_plane_routes() -> list[Json]:
    routes = []
    for service in CONTROL_PLANE_SERVICES:
        scope = [header_contains("authorization", f"/{service}/aws4_request")]
        labels = {"service": service}
        if service == _SAGEMAKER:
            # An invocation of an endpoint that is not there (yet): the control plane knows why.
            match = {"prefix": _INVOCATIONS, "headers": scope}
            routes.append(route("no-endpoint", match, _to(CONTROL_PLANE, "60s"), {"service": DATA_PLANE}))
        routes.append(route(service, {"prefix": "/", "headers": scope}, _to(CONTROL_PLANE, "300s"), labels))
    return routes


def _ministack_route() -> Json:
    return route("ministack", {"prefix": "/"}, _to(MINISTACK, "0s"))


def _to(cluster: str, timeout: str) -> Json:
    return {"route": {"cluster": cluster, "timeout": timeout, "retry_policy": retry_same_part()}}


# Envoy's own errors


def _model_timeout(conditions: list[Json]) -> Json:
    """What SageMaker answers when a container does not (ModelError of InvokeEndpoint)."""
    message = (
        'Received server error (0) from primary with message "Your invocation timed out while waiting for a response'
        " from container primary. Review the latency metrics for each container in Amazon CloudWatch, resolve the"
        ' issue, and try again."'
    )
    body = {"Message": message, "OriginalMessage": message, "OriginalStatusCode": 0}
    return listeners.mapper(conditions, 424, _json_format(body), {"x-amzn-errortype": "ModelError"})


def _part_down(conditions: list[Json], shape: Shape) -> Json:
    code = "ServiceUnavailable"
    message = f"%UPSTREAM_CLUSTER% {_DOWN} (Envoy: %RESPONSE_FLAGS%)"
    if shape == "json":
        body = {"__type": code, "message": message, "Message": message}
        return listeners.mapper(conditions, 503, _json_format(body), {"x-amzn-errortype": code})
    text = {"text_format_source": {"inline_string": _xml(shape, code, message)}, "content_type": "application/xml"}
    return listeners.mapper(conditions, 503, text, {})


def _json_format(body: Json) -> Json:
    return {"json_format": body, "content_type": "application/x-amz-json-1.1"}


LISTENER: Final = Listener(
    name=NAME, port="aws", virtual_host=virtual_host, error_mappers=error_mappers, signed_prefix=SIGNED
)
