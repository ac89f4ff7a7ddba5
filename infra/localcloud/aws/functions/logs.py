"""What functions print, sent to CloudWatch Logs soon after they have answered.

Group and stream are made when the first line comes. As on AWS this is best effort: what was printed in the last moment
before MiniStack is killed may be missing from the logs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from localcloud.aws.functions import services
from localcloud.aws.functions.services import ServiceError, Services

_LOG: Final = logging.getLogger(__name__)
_MOST_EVENTS: Final = 1000
_MOST_CHARACTERS: Final = 250_000
"""Of one event: CloudWatch cuts longer ones (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html)."""
_KNOWN: Final = "ResourceAlreadyExistsException"


@dataclass(frozen=True)
class Stream:
    """Where lines go."""

    account: str
    region: str
    group: str
    name: str


class FunctionLogs:
    """Collects lines and sends them from MiniStack's event loop, in order."""

    def __init__(self, calls: Services) -> None:
        self._calls = calls
        self._guard = threading.Lock()
        self._waiting: deque[tuple[Stream, list[dict[str, object]]]] = deque()
        self._made: set[Stream] = set()
        self._sending = False

    def write(self, stream: Stream, messages: Sequence[str]) -> None:
        """Send these, one event each."""
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": text[:_MOST_CHARACTERS]} for text in messages if text.strip()]
        with self._guard:
            self._waiting.append((stream, list(events)))
            if self._sending:
                return
            self._sending = True
        self._calls.soon(self._start)

    def _start(self) -> None:
        import asyncio

        self._task = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        while True:
            with self._guard:
                if not self._waiting:
                    self._sending = False
                    return
                stream, events = self._waiting.popleft()
                while self._waiting and self._waiting[0][0] == stream and len(events) < _MOST_EVENTS:
                    events += self._waiting.popleft()[1]
            try:
                await self._put(stream, events)
            except Exception:
                _LOG.exception("%d log lines of %s are lost", len(events), stream.group)

    async def _put(self, stream: Stream, events: list[dict[str, object]]) -> None:
        if stream not in self._made:
            await self._make(stream)
        names = {"logGroupName": stream.group, "logStreamName": stream.name}
        try:
            await services.call(stream.account, stream.region, "logs", "PutLogEvents", {**names, "logEvents": events})
        except ServiceError:  # somebody has deleted the group
            await self._make(stream)
            await services.call(stream.account, stream.region, "logs", "PutLogEvents", {**names, "logEvents": events})

    async def _make(self, stream: Stream) -> None:
        for operation, members in (
            ("CreateLogGroup", {"logGroupName": stream.group}),
            ("CreateLogStream", {"logGroupName": stream.group, "logStreamName": stream.name}),
        ):
            try:
                await services.call(stream.account, stream.region, "logs", operation, members)
            except ServiceError as error:
                if _KNOWN not in str(error):
                    raise
        self._made.add(stream)


def messages_of(text: str) -> list[str]:
    """One message per line; a carriage return continues a message, as awslambdaric writes tracebacks."""
    return [line.replace("\r", "\n") + "\n" for line in text.split("\n") if line]
