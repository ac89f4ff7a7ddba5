"""The gateway's access log: one JSON line per request, read exactly once into the usage ledger.

The position (inode, offset) is committed in the same transaction as the usage of the lines before it, so a reader that
dies anywhere counts nothing twice and forgets nothing.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from localcloud.gateway.errors import GatewayError
from localcloud.gateway.log_entry import Entry, parse_line
from localcloud.meter.requests import usage_of
from localcloud.meter.usage import add
from localcloud.store import Store

_LOG: Final = logging.getLogger(__name__)

ROTATE_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 20
_SOURCE: Final = "access-log"


class Writer(Protocol):
    """Who writes the log: the gateway."""

    @property
    def access_log(self) -> Path:
        """The file being written."""
        ...

    def reopen_logs(self) -> None:
        """Open the log by its name again, after it was renamed; raises GatewayError while it is down."""
        ...

    def settle_log(self) -> None:
        """Return when all that was answered is in the file; raises GatewayError while it is down."""
        ...


class Tailer:
    """Reads the log to its end again and again. Safe to share between threads, and against a second process."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        rotate_bytes: int = ROTATE_BYTES,
    ) -> None:
        """`writer` is the gateway; a log longer than `rotate_bytes` is put aside."""
        self._store = store
        self._writer = writer
        self._path = writer.access_log
        self._rotate_bytes = rotate_bytes
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Sequence[Entry]], None]] = []
        self.damaged = 0
        """Lines that could not be read since the start of this process."""

    def add_listener(self, listener: Callable[[Sequence[Entry]], None]) -> None:
        """Hand every later batch to a function too; after a crash a batch may not be handed over."""
        self._listeners.append(listener)

    def drain(self) -> None:
        """Read everything that was answered until now: the ledger is exact when this returns."""
        try:
            self._writer.settle_log()
        except GatewayError:
            _LOG.warning("Envoy is down: the access log is read as it was left")
        self.read()

    def read(self) -> int:
        """Read to the end of what is written, and rotate a long log; returns how many requests were read."""
        with self._lock:
            count = 0
            while (batch := self._next()) is not None:
                count += len(batch)
                self._hand_over(batch)
            self._rotate()
            return count

    def _next(self) -> list[Entry] | None:
        """Read and commit one batch; None at the end of the newest file."""
        files = self._files()
        cursor = self._cursor(self._store.read())
        index, offset = _locate(files, cursor)
        if index is None:
            return None
        with files[index].open("rb") as file:
            inode, size = _identify(file.fileno())
            file.seek(offset if offset <= size else 0)  # a shorter file was truncated: it is a new one
            start = file.tell()
            complete = _complete_lines(file.read(_CHUNK_BYTES))
        if complete:
            return self._commit(cursor, (inode, start + len(complete)), complete)
        # `files` was listed before the read: the writer had moved on by then, so nothing was added since.
        if index + 1 < len(files):
            self._move_on(cursor, files, index, left=size - start)
            return []
        return None

    def _commit(self, before: tuple[int, int] | None, after: tuple[int, int], lines: bytes) -> list[Entry]:
        entries = self._parse(lines)
        rows = usage_of(entries)
        with self._store.transaction() as connection:
            if self._cursor(connection) != before:
                return []  # somebody else has read on: begin again where they are
            for row in rows:
                add(connection, row)
            _save(connection, after)
        return entries

    def _move_on(self, before: tuple[int, int] | None, files: list[Path], index: int, left: int) -> None:
        """Turn to the next file, and delete the finished ones but the last."""
        if left > 0:
            self.damaged += 1
            _LOG.warning("%s ends in the middle of a line; %d bytes are skipped", files[index], left)
        following = files[index + 1].stat().st_ino
        with self._store.transaction() as connection:
            if self._cursor(connection) == before:
                _save(connection, (following, 0))
        for finished in files[:index]:
            finished.unlink(missing_ok=True)

    def _rotate(self) -> None:
        try:
            if self._path.stat().st_size < self._rotate_bytes:
                return
        except FileNotFoundError:
            return
        self._path.rename(self._path.with_name(f"{self._path.name}.{time.time_ns()}"))
        try:
            self._writer.reopen_logs()
        except GatewayError:
            _LOG.info("Envoy is down: it opens the new access log when it starts")

    def _files(self) -> list[Path]:
        """The log's files, the oldest first, the one being written last."""
        rotated = [p for p in self._path.parent.glob(f"{self._path.name}.*") if p.suffix[1:].isdigit()]
        rotated.sort(key=lambda path: int(path.suffix[1:]))
        return [*rotated, *([self._path] if self._path.exists() else [])]

    def _cursor(self, connection: sqlite3.Connection) -> tuple[int, int] | None:
        row = connection.execute("SELECT inode, offset FROM cursor WHERE source=?", (_SOURCE,)).fetchone()
        return (row[0], row[1]) if row else None

    def _parse(self, lines: bytes) -> list[Entry]:
        entries = []
        for line in lines.splitlines():
            entry = parse_line(line)
            if entry is None:
                self.damaged += 1
                _LOG.warning("unreadable line in %s: %r", self._path, line[:200])
            else:
                entries.append(entry)
        return entries

    def _hand_over(self, batch: Sequence[Entry]) -> None:
        for listener in self._listeners if batch else ():
            try:
                listener(batch)
            except Exception:
                _LOG.exception("a listener of the access log failed; it goes on")


def _locate(files: Sequence[Path], cursor: tuple[int, int] | None) -> tuple[int | None, int]:
    """Which file to read, and from where."""
    if cursor is not None:
        for index, path in enumerate(files):
            if path.stat().st_ino == cursor[0]:
                return index, cursor[1]
    return (0, 0) if files else (None, 0)


def _identify(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_size


def _complete_lines(data: bytes) -> bytes:
    end = data.rfind(b"\n") + 1
    # A "line" that fills the whole buffer is garbage; taking it keeps the reader from standing still.
    return data if end == 0 and len(data) == _CHUNK_BYTES else data[:end]


def _save(connection: sqlite3.Connection, cursor: tuple[int, int]) -> None:
    connection.execute("INSERT OR REPLACE INTO cursor VALUES (?,?,?)", (_SOURCE, *cursor))
