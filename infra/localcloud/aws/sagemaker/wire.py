"""SageMaker's wire format: AWS JSON 1.1 over POST /, the operation in X-Amz-Target, the tenant in the SigV4 scope.

https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
The signature itself is not verified here: the gateway has checked that the access key is a tenant of this cloud.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from localcloud.aws.sagemaker.errors import (
    SageMakerError,
    internal,
    not_implemented,
    unavailable,
    unknown_operation,
)
from localcloud.aws.sagemaker.naming import Scope
from localcloud.aws.sagemaker.service_model import LazyModel
from localcloud.aws.sagemaker.validation import check
from localcloud.store import StoreFullError

CONTENT_TYPE: Final = "application/x-amz-json-1.1"
_CREDENTIAL: Final = re.compile(r"Credential=(?P<account>[^/]+)/[0-9]{8}/(?P<region>[^/]+)/sagemaker/aws4_request")
_log: Final = logging.getLogger(__name__)

Operation = Callable[[Scope, dict[str, Any]], dict[str, Any]]


class Wire:
    """Turns HTTP requests into calls of operations, and what they return or raise into answers."""

    def __init__(self, operations: Mapping[str, Operation], model: LazyModel) -> None:
        self._operations = operations
        self._model = model

    async def handle(self, request: Request) -> Response:
        """One request; operations run in a worker thread because they wait for the store and for S3."""
        body = await request.body()
        target = request.headers.get("x-amz-target", "")
        authorization = request.headers.get("authorization", "")
        return await run_in_threadpool(self.answer, target, authorization, body)

    def answer(self, target: str, authorization: str, body: bytes) -> Response:
        """The answer to one request; never raises."""
        try:
            return _response(200, self._call(target, authorization, body))
        except SageMakerError as error:
            return error_response(error)
        except StoreFullError as error:
            return error_response(SageMakerError("InternalFailure", str(error), 500))
        except (BotoCoreError, ClientError) as error:
            cause = f"S3 or another service behind the local cloud failed: {error}."
            return error_response(unavailable(cause, "Try again; if it goes on, look at: lab status"))
        except Exception as error:
            _log.exception("%s failed", target)
            cause = f"{target} failed inside the local cloud: {type(error).__name__}: {error}."
            return error_response(internal(cause, "The control plane's log has the traceback: lab logs controlplane"))

    def _call(self, target: str, authorization: str, body: bytes) -> dict[str, Any]:
        name = self._operation_name(target)
        scope = scope_of_authorization(authorization)
        request = _parsed(body)
        check(self._model.get().operation_model(name).input_shape, request)
        return self._operations[name](scope, request)

    def _operation_name(self, target: str) -> str:
        prefix, _, name = target.partition(".")
        if name in self._operations and prefix == "SageMaker":
            return name
        if prefix == "SageMaker" and name in self._model.get().operation_names:
            raise not_implemented(name)
        raise unknown_operation(target)


def scope_of_authorization(authorization: str) -> Scope:
    """Account and region of a SigV4 Authorization header."""
    found = _CREDENTIAL.search(authorization)
    if found is None:
        raise SageMakerError(
            "MissingAuthenticationTokenException",
            "Missing Authentication Token: sign the request for the service sagemaker (any AWS SDK does).", 403,
        )  # fmt: skip
    return Scope(found["account"], found["region"])


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except ValueError as error:
        raise SageMakerError("SerializationException", f"The body is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise SageMakerError("SerializationException", "The body must be a JSON object.")
    return request


def error_response(error: SageMakerError) -> Response:
    """An error in the shape of AWS JSON 1.1."""
    return _response(error.status, {"__type": error.code, "message": error.message})


def runtime_error_response(error: SageMakerError) -> Response:
    """An error in the shape of sagemaker-runtime (REST JSON: the code is in a header)."""
    body = json.dumps({"Message": error.message, "message": error.message})
    headers = {"x-amzn-errortype": error.code, "x-amzn-requestid": str(uuid.uuid4())}
    return Response(body, error.status, headers, "application/json")


def _response(status: int, answer: dict[str, Any]) -> Response:
    body = json.dumps(answer) if answer else ""
    return Response(body, status, {"x-amzn-requestid": str(uuid.uuid4())}, CONTENT_TYPE)
