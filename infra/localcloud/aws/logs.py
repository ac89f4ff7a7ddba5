"""Carries log files into CloudWatch Logs, each line once, also across restarts of the control plane.

A batch is sent in three steps: note in the store which bytes will be sent under which timestamp; send; move the
offset. After a restart between the steps the stream itself is asked whether a batch with that timestamp arrived.
Limits of PutLogEvents: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from localcloud.store import Key, Store

KIND: Final = "logs/stream"
MOST_BYTES: Final = 10 << 20
"""Of one stream that CloudWatch gets; the file has all of it."""
_MOST_EVENTS: Final = 10_000
_MOST_BATCH_BYTES: Final = 1_000_000
_OVERHEAD_BYTES: Final = 26
_MOST_LINE_BYTES: Final = 200_000
_CHUNK: Final = 1 << 20


class AwsClients(Protocol):
    """What makes a boto3 client for an account."""

    def aws(self, service: str, account: str, region: str) -> Any:
        """A boto3 client."""


@dataclass(frozen=True)
class LogStream:
    """A stream of CloudWatch Logs."""

    account: str
    region: str
    group: str
    name: str

    @property
    def key(self) -> Key:
        """Where the store remembers how far it has been filled."""
        return Key(KIND, self.account, self.region, f"{self.group}:{self.name}")


class LogPump:
    """Carries one file into one stream. Use from one thread at a time.

    `on_lines` gets each line once (also those beyond the limit), in the transaction that moves the offset.
    `rewrite` changes each line on the way to CloudWatch.
    """

    def __init__(
        self,
        store: Store,
        clients: AwsClients,
        stream: LogStream,
        file: Path,
        *,
        rewrite: Callable[[str], str] | None = None,
        on_lines: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self._store = store
        self._logs = clients.aws("logs", stream.account, stream.region)
        self._stream = stream
        self._file = file
        self._rewrite = rewrite
        self._on_lines = on_lines
        self._opened = False

    def open(self) -> None:
        """Make the group and the stream, unless they exist."""
        if self._opened:
            return
        exists = self._logs.exceptions.ResourceAlreadyExistsException
        with suppress(exists):
            self._logs.create_log_group(logGroupName=self._stream.group)
        with suppress(exists):
            self._logs.create_log_stream(logGroupName=self._stream.group, logStreamName=self._stream.name)
        self._opened = True

    def pump(self, final: bool = False) -> None:
        """Send all complete lines that have been added; with `final` also a last line without an end."""
        while self._has_more() and self._step(final):
            pass

    def _state(self) -> dict[str, Any]:
        stored = self._store.get(self._stream.key)
        state: dict[str, Any] = stored.body if stored else {}
        return {"offsets": {}, "sent": 0, "last": 0, "pending": None, "capped": False, **state}

    def _has_more(self) -> bool:
        try:
            size = self._file.stat().st_size
        except FileNotFoundError:
            return False
        return size > int(self._state()["offsets"].get(str(self._file), 0))

    def _step(self, final: bool) -> bool:
        """One batch; False when nothing could be sent."""
        self.open()
        state = self._state()
        pending = state["pending"]
        if pending and pending["file"] == str(self._file):
            lines = self._lines(pending["from"], pending["to"])
            if not self._arrived(pending["timestamp"]):
                self._send(lines, pending["timestamp"])
            self._commit(state, lines, pending["to"], pending["timestamp"])
            return True
        start = int(state["offsets"].get(str(self._file), 0))
        lines, end = self._batch(start, final)
        if end == start:
            return False
        if state["sent"] >= MOST_BYTES:
            self._skip(state, lines, end)
            return True
        timestamp = max(int(time.time() * 1000), state["last"] + 1)
        state["pending"] = {"file": str(self._file), "from": start, "to": end, "timestamp": timestamp}
        self._store.put(self._stream.key, state)
        self._send(lines, timestamp)
        self._commit(state, lines, end, timestamp)
        return True

    def _batch(self, start: int, final: bool) -> tuple[list[str], int]:
        """The next complete lines that fit into one call, and the offset behind them."""
        with self._file.open("rb") as file:
            file.seek(start)
            data = file.read(_CHUNK)
        end, size = 0, 0
        lines: list[str] = []
        while end < len(data) and len(lines) < _MOST_EVENTS:
            newline = data.find(b"\n", end, end + _MOST_LINE_BYTES)
            stop = newline + 1 if newline >= 0 else min(len(data), end + _MOST_LINE_BYTES)
            is_partial = newline < 0 and stop - end < _MOST_LINE_BYTES
            if is_partial and not (final and len(data) < _CHUNK):
                break
            size += stop - end + _OVERHEAD_BYTES
            if size > _MOST_BATCH_BYTES:
                break
            lines.append(_text(data[end:stop]))
            end = stop
        return lines, start + end

    def _lines(self, start: int, end: int) -> list[str]:
        with self._file.open("rb") as file:
            file.seek(start)
            data = file.read(end - start)
        return [_text(line) for line in data.splitlines()]

    def _arrived(self, timestamp: int) -> bool:
        found = self._logs.get_log_events(
            logGroupName=self._stream.group,
            logStreamName=self._stream.name,
            startTime=timestamp,
            endTime=timestamp + 1,
            limit=1,
        )
        return bool(found["events"])

    def _send(self, lines: Sequence[str], timestamp: int) -> None:
        shown = lines if self._rewrite is None else [self._rewrite(line) for line in lines]
        self._logs.put_log_events(
            logGroupName=self._stream.group,
            logStreamName=self._stream.name,
            # CloudWatch refuses empty messages.
            logEvents=[{"timestamp": timestamp, "message": line or " "} for line in shown],
        )

    def _commit(self, state: dict[str, Any], lines: Sequence[str], end: int, timestamp: int) -> None:
        state["sent"] += sum(len(line) for line in lines)
        state.update(last=timestamp, pending=None)
        self._move(state, lines, end)

    def _skip(self, state: dict[str, Any], lines: Sequence[str], end: int) -> None:
        """Beyond the limit: say so once, and only count the lines."""
        if not state["capped"]:
            state.update(capped=True, last=max(int(time.time() * 1000), state["last"] + 1))
            text = (
                f"[local cloud] CloudWatch gets the first {MOST_BYTES >> 20} MB of a log. All of it is in {self._file}"
            )
            self._send([text], state["last"])
        self._move(state, lines, end)

    def _move(self, state: dict[str, Any], lines: Sequence[str], end: int) -> None:
        state["offsets"][str(self._file)] = end
        with self._store.transaction():
            self._store.put(self._stream.key, state)
            if self._on_lines is not None:
                self._on_lines(lines)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n").replace("\0", "")


def forget(store: Store, account: str) -> None:
    """Drop what is remembered about an account's streams."""
    for resource in store.list(KIND, account):
        store.delete(resource.key)
