"""Calls MiniStack's other services from a function's thread, through the door that requests use.

So that what a call changes is saved before it returns (localcloud.aws.durability), and sets off what it would have set
off when a client had made it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from ministack import app as ministack
from ministack.core.responses import request_scope

_TARGETS: Final = {
    "logs": ("Logs_20140328", "application/x-amz-json-1.1"),
    "sqs": ("AmazonSQS", "application/x-amz-json-1.0"),
    "events": ("AWSEvents", "application/x-amz-json-1.1"),
}
_SECONDS: Final = 30.0


class ServiceError(Exception):
    """A service answered with an error."""


class Services:
    """MiniStack's services, for threads that are not its event loop's."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on calls can be made."""
        self._loop = loop

    def call(self, account: str, region: str, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """Call an operation of a JSON service and wait; raises ServiceError."""
        return asyncio.run_coroutine_threadsafe(
            call(account, region, service, operation, members), self._running()
        ).result(_SECONDS)

    def publish(self, account: str, region: str, topic: str, text: str) -> None:
        """Publish to an SNS topic (a service with the query protocol); raises ServiceError."""
        running = asyncio.run_coroutine_threadsafe(_publish(account, region, topic, text), self._running())
        running.result(_SECONDS)

    def soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function on the event loop when it has time."""
        self._running().call_soon_threadsafe(function, *arguments)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise ServiceError("MiniStack's event loop does not run yet")
        return self._loop


async def call(account: str, region: str, service: str, operation: str, members: dict[str, Any]) -> dict[str, Any]:
    """Call an operation of a JSON service, on the event loop; raises ServiceError."""
    prefix, content_type = _TARGETS[service]
    headers = {"x-amz-target": f"{prefix}.{operation}", "content-type": content_type, "host": "127.0.0.1"}
    with request_scope(account, region):
        handler = ministack.SERVICE_HANDLERS[service]
        status, _, body = await handler("POST", "/", headers, json.dumps(members).encode(), {})
    if status >= 400:
        raise ServiceError(f"{service} {operation}: {body!r}")
    found = json.loads(body) if body else {}
    return found if isinstance(found, dict) else {}


async def _publish(account: str, region: str, topic: str, text: str) -> None:
    form = urlencode({"Action": "Publish", "Version": "2010-03-31", "TopicArn": topic, "Message": text}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", "host": "127.0.0.1"}
    with request_scope(account, region):
        status, _, body = await ministack.SERVICE_HANDLERS["sns"]("POST", "/", headers, form, {})
    if status >= 400:
        raise ServiceError(f"sns Publish: {body!r}")
