"""Makes what MiniStack has acknowledged survive `kill -9`.

MiniStack keeps metadata in memory and saves it when it is stopped cleanly (ministack/core/persistence.py). Here every
request that changes something is saved before its answer is sent: by a journal line where services only ever append
(log events, metric data), else by a new snapshot of that service's state. Requests that end in the same turn of the
event loop share a snapshot. Objects in S3 are files already (localcloud.aws.objects checks that they were written).

This builds on internals of exactly one version; tests/localcloud/test_ministack.py fails when they move.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from ministack import app as ministack

from localcloud.aws import objects
from localcloud.aws.journal import Journals
from localcloud.aws.snapshots import Snapshots

_LOG: Final = logging.getLogger(__name__)
_READS: Final = (
    "Get", "List", "Describe", "Head", "BatchGet", "Query", "Scan", "Search", "Lookup", "Filter", "Simulate", "Select",
    "Test", "Validate", "Estimate", "Preview", "Decrypt", "Encrypt", "Sign", "Verify", "AssumeRole",
)  # fmt: skip
_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_DELIVERS_AT_ONCE: Final = {"sns": ("sqs",)}
"""Services whose requests change another service before they answer."""
_DELIVERS_LATER: Final = ("sqs", "sns", "eventbridge", "lambda", "cloudwatch_logs", "cloudwatch", "dynamodb")
"""Changed behind the answer, by notifications, functions and alarms; saved within _SETTLE_SECONDS."""
_INVOCATION: Final = re.compile(r".*/functions/[^/]+/(response-streaming-)?invocations/?")
"""Changes nothing itself: localcloud.aws.functions keeps accepted events, usage, logs and metrics."""
_SETTLE_SECONDS: Final = 0.5
_SETTLED: Final = ("sqs", "iam", "logs", "sts")
"""Services whose requests set nothing off in another one."""

Answer = tuple[int, dict[str, Any], Any]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Answer]]


@dataclass(frozen=True)
class Call:
    """One request as MiniStack's handlers get it."""

    service: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, Any]

    @property
    def action(self) -> str | None:
        """The operation of an RPC-style request; None for REST."""
        target = self.headers.get("x-amz-target", "")
        if "." in target:
            return target.rsplit(".", 1)[1]
        if "/operation/" in self.path:
            return self.path.rsplit("/operation/", 1)[1].split("/")[0]
        found = self.query.get("Action") or parse_qs(self.body[:4096].decode("latin-1")).get("Action")
        return found[0] if found and self.service != "s3" else None

    def changes_something(self, answer: Answer) -> bool:
        """Whether this answer acknowledges a change."""
        if answer[0] >= 400 or (self.service == "lambda" and _INVOCATION.fullmatch(self.path)):
            return False
        action = self.action
        if action == "ReceiveMessage":  # the receipt must stay valid; an empty poll changes nothing
            return b"ReceiptHandle" in answer[2]
        if action is not None:
            return not action.startswith(_READS)
        return self.method not in _SAFE_METHODS


class Saver:
    """Saves what changed, before it is acknowledged."""

    def __init__(self, snapshots: Snapshots, journals: Journals) -> None:
        self._snapshots = snapshots
        self._journals = journals
        self._waiting: set[str] = set()
        self._flush: asyncio.Future[None] | None = None
        self._unsettled: set[str] = set()
        self._settling: asyncio.Task[None] | None = None

    async def after(self, call: Call) -> None:
        """Return when the change that `call` made is on disk; raises OSError when it cannot be."""
        if call.service == "s3":
            await self._after_s3(call)
        elif not self._journals.append(call.service, call.action, call.path, call.headers, call.body, call.query):
            await self._save({*_keys(call.service), *_DELIVERS_AT_ONCE.get(call.service, ())})
            if call.service not in _SETTLED:
                self.settle_later(_DELIVERS_LATER)

    def settle_later(self, keys: Iterable[str]) -> None:
        """Save these soon: they change after the answer."""
        self._unsettled.update(keys)
        if self._settling is None or self._settling.done():
            self._settling = asyncio.ensure_future(self._settle())

    async def _after_s3(self, call: Call) -> None:
        bucket, _, key = call.path.lstrip("/").partition("/")
        if "uploadId" in call.query or "uploads" in call.query:
            objects.save_uploads(call.query)
        if (bucket and not key and "delete" not in call.query) or objects.changes_a_lock(call.headers, call.query):
            await self._save({"s3"})
        if objects.notifies(bucket):
            self.settle_later(_DELIVERS_LATER)

    async def _save(self, keys: set[str]) -> None:
        self._waiting |= keys
        if self._flush is None:
            self._flush = asyncio.ensure_future(self._write_waiting())
        await asyncio.shield(self._flush)

    async def _write_waiting(self) -> None:
        await asyncio.sleep(0)  # whoever ends in this turn shares the write
        self._flush = None
        keys, self._waiting = self._waiting, set()
        try:
            for key in sorted(keys):
                self._snapshots.write(key)
        except OSError:
            self.settle_later(keys)  # memory is ahead of the disk until there is room again
            raise

    async def _settle(self) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        keys, self._unsettled = self._unsettled, set()
        for key in sorted(keys):
            try:
                self._snapshots.write(key)
            except OSError as error:
                _LOG.warning("cannot save %s (%s); trying again", key, error)
                self._unsettled.add(key)
        if self._unsettled:
            self._settling = asyncio.ensure_future(self._settle())


def install(on_loaded: Callable[[], None] = lambda: None) -> Saver:
    """Put the saver between MiniStack's handlers and their answers, and load what was saved.

    `on_loaded` is called on the event loop when the saved state is there.
    """
    snapshots = Snapshots()
    journals = Journals(snapshots)
    saver = Saver(snapshots, journals)
    for service, handler in list(ministack.SERVICE_HANDLERS.items()):
        ministack.SERVICE_HANDLERS[service] = _saving(service, handler, saver)
    ministack._handle_special_data_plane_request = _settling(ministack._handle_special_data_plane_request, saver)
    ministack.load_state = snapshots.load
    ministack.save_all = snapshots.write_all
    load = ministack._load_persisted_state
    ministack._load_persisted_state = functools.partial(_load, load, journals, on_loaded)
    return saver


def _load(original: Callable[[], None], journals: Journals, on_loaded: Callable[[], None]) -> None:
    objects.repair()
    objects.prepare()
    original()
    objects.restore_uploads()
    journals.replay()
    on_loaded()


def _saving(service: str, handler: Handler, saver: Saver) -> Handler:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        failures = objects.watch_writes() if service == "s3" else []
        answer = await handler(method, path, headers, body, query)
        call = Call(service, method, path, headers, body, query)
        try:
            if failures:
                raise failures[0]
            if call.changes_something(answer):
                await saver.after(call)
        except OSError as error:
            _LOG.exception("%s %s was not saved", service, call.action or f"{method} {path}")
            return _not_saved(call, error)
        return answer

    return handle


def _settling(handle: Callable[..., Awaitable[Any]], saver: Saver) -> Callable[..., Awaitable[Any]]:
    """For what does not pass a service's handler: function URLs, API Gateway's data plane, S3 Control."""

    async def handle_and_settle(method: str, *arguments: Any, **keywords: Any) -> Any:
        answer = await handle(method, *arguments, **keywords)
        if answer is not None and method not in _SAFE_METHODS and not _is_api_call(arguments):
            saver.settle_later(ministack._build_persistence_save_dict())
        return answer

    return handle_and_settle


def _is_api_call(arguments: Sequence[Any]) -> bool:
    """A request to a REST or HTTP API: what it changes, it changes by calling services."""
    path, headers = arguments[:2]
    return ministack._parse_execute_api_url(headers.get("host", ""), path) is not None


def _keys(service: str) -> set[str]:
    """The state files of a service."""
    entry = ministack.SERVICE_REGISTRY[service]
    return {str(entry.get("state_key", entry["module"])), *entry.get("sub_modules", ())}


def _not_saved(call: Call, error: OSError) -> Answer:
    """A server error in the shape of the request's protocol: SDKs try again."""
    text = f"The change could not be written to disk ({error.strerror}) and is not acknowledged. Free some space."
    content_type = call.headers.get("content-type", "")
    if "json" in content_type:
        body = json.dumps({"__type": "InternalFailure", "message": text})
        return 500, {"Content-Type": content_type}, body.encode()
    error_element = f"<Error><Code>InternalError</Code><Message>{text}</Message></Error>"
    body = error_element if call.service == "s3" else f"<ErrorResponse>{error_element}</ErrorResponse>"
    return 500, {"Content-Type": "text/xml"}, f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode()
