"""A line per acknowledged request, for services that mostly append: a snapshot of all log events would cost ever more.

A journal continues one snapshot (its number is in the snapshot) and is replayed after it. Only requests that give the
same result again are journaled; time stands still at the recorded moment while one is replayed.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ministack import app as ministack
from ministack.core.responses import get_account_id, get_region, request_scope

from localcloud.aws.snapshots import Snapshots

_LOG: Final = logging.getLogger(__name__)
_COMPACT_BYTES: Final = 4_000_000
_KEPT_HEADERS: Final = ("content-type", "x-amz-target", "smithy-protocol", "content-encoding")


@dataclass(frozen=True)
class _Journaled:
    """What may be journaled for a service: these actions, while nothing else is set off by them."""

    key: str
    actions: frozenset[str]
    sets_nothing_off: Callable[[Any], bool]


_SERVICES: Final = {
    "logs": _Journaled(
        "cloudwatch_logs",
        frozenset({"PutLogEvents", "CreateLogStream", "CreateLogGroup"}),
        lambda logs: not any(
            group.get("subscriptionFilters") for group in logs._log_groups._data.values()
        ) and not logs._metric_filters._data,
    ),
    "monitoring": _Journaled(
        "cloudwatch",
        frozenset({"PutMetricData"}),
        lambda cloudwatch: not cloudwatch._alarms._data,
    ),
}  # fmt: skip


class Journals:
    """The open journals, one per service that has any."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._open: dict[Path, int] = {}

    def append(
        self, service: str, action: str | None, path: str, headers: Mapping[str, str], body: bytes,
        query: Mapping[str, Any],
    ) -> bool:  # fmt: skip
        """Journal a request; False when a snapshot is needed instead. Raises OSError."""
        journaled = _SERVICES.get(service)
        if journaled is None or action not in journaled.actions:
            return False
        if not journaled.sets_nothing_off(ministack._get_module(journaled.key)):
            return False
        record = {
            "account": get_account_id(), "region": get_region(), "time": time.time(), "path": path,
            "headers": {name: headers[name] for name in _KEPT_HEADERS if name in headers},
            "body": base64.b64encode(body).decode(), "query": dict(query),
        }  # fmt: skip
        self._write(self._snapshots.journal(journaled.key), json.dumps(record).encode() + b"\n")
        return True

    def replay(self) -> None:
        """Do again what the journals hold; a long one becomes a snapshot."""
        for journaled in _SERVICES.values():
            path = self._snapshots.journal(journaled.key)
            if not path.exists():
                continue
            _cut_torn_line(path)
            for record in _records(path):
                _do_again(ministack._get_module(journaled.key), record)
            if path.stat().st_size > _COMPACT_BYTES:
                self._snapshots.write(journaled.key)

    def _write(self, path: Path, line: bytes) -> None:
        if path not in self._open:
            for descriptor in self._open_of(path.name.split(".")[0]):
                os.close(descriptor)
            self._open[path] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        before = os.fstat(self._open[path]).st_size
        if os.write(self._open[path], line) != len(line):
            os.ftruncate(self._open[path], before)
            raise OSError(28, "No space left on device")

    def _open_of(self, key: str) -> list[int]:
        stale = [path for path in self._open if path.name.split(".")[0] == key]
        return [self._open.pop(path) for path in stale]


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError:
                _LOG.exception("%s: line %d is damaged and left out", path, number)


def _do_again(module: Any, record: Mapping[str, Any]) -> None:
    with request_scope(record["account"], record["region"]), _time_stands_still(module, record["time"]):
        headers, body = dict(record["headers"]), base64.b64decode(record["body"])
        running = module.handle_request("POST", record["path"], headers, body, dict(record["query"]))
        try:
            running.send(None)
        except StopIteration as done:
            if done.value[0] >= 400:
                _LOG.error("a journaled request was refused: %s", done.value[2])
        else:
            raise RuntimeError(f"{module.__name__} waits in a journaled request: this is not the MiniStack we know")


@contextmanager
def _time_stands_still(module: Any, moment: float) -> Iterator[None]:
    module.time = _Clock(moment)
    try:
        yield
    finally:
        module.time = time


class _Clock:
    """Stands in for the time module."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def time(self) -> float:
        return self._moment

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def _cut_torn_line(path: Path) -> None:
    """A line without its end was never acknowledged."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
