"""The usage log of functions and APIs, read exactly once into the ledger.

As with the access log, the position is committed with the rows that come from the lines before it.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from starlette.routing import Route

from localcloud.aws.functions import billing
from localcloud.aws.functions.packages import Packages
from localcloud.aws.functions.usage_log import NAME
from localcloud.home import Home
from localcloud.loops import Loop
from localcloud.meter import usage
from localcloud.meter.usage import Usage
from localcloud.store import Key, Store

_LOG: Final = logging.getLogger(__name__)
_PROVIDER: Final = "aws"
_MINUTE: Final = 60
_SOURCE: Final = "functions"
_HELD: Final = "lambda/provisioned concurrency"
_CHUNK_BYTES: Final = 1 << 20
_ROTATE_BYTES: Final = 16 << 20
_READ_SECONDS: Final = 2.0


class FunctionUsage:
    """Meters Lambda and API Gateway; their resources are MiniStack's."""

    def __init__(self, store: Store, home: Home) -> None:
        self._store = store
        self._path = home.functions / NAME
        self._packages = Packages(home.functions)
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """None: MiniStack answers."""
        return []

    def loops(self) -> list[Loop]:
        """Reads the log now and then."""
        return [Loop("functions' usage", _READ_SECONDS, self.read)]

    def adopt(self) -> None:
        """Nothing is kept in memory."""

    def sample_usage(self) -> None:
        """The ledger is exact when this returns: a line is written before the invocation is answered."""
        self.read()
        now = time.time()
        for held in self._store.list(_HELD):
            usage.record(self._store, _provisioned(held.body, now))

    def leftovers(self, account: str) -> list[dict[str, Any]]:
        """Provisioned concurrency; functions and APIs are found among MiniStack's resources."""
        self.read()
        return [
            {"service": "lambda", "kind": "provisioned concurrency", "name": ":".join(held.body["id"].split(":")[2:4]),
             "billable": True, "region": held.body["region"]}
            for held in self._store.list(_HELD, account)
        ]  # fmt: skip

    def delete_tenant(self, account: str) -> None:
        """End what is still counted, and delete unpacked code."""
        self.sample_usage()
        for held in self._store.list(_HELD, account):
            self._store.delete(held.key)
        self._packages.forget(account)

    def read(self) -> int:
        """Read to the end; returns how many lines."""
        with self._lock:
            count = 0
            while read := self._read_some():
                count += read
            return count

    def _read_some(self) -> int:
        path = self._current()
        if path is None:
            return 0
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            before = self._cursor(self._store.read())
            start = before[1] if before and before[0] == inode else 0
            file.seek(start)
            data = file.read(_CHUNK_BYTES)
        lines = data[: data.rfind(b"\n") + 1]
        if lines:
            return self._commit(before, (inode, start + len(lines)), lines)
        self._rotate(path, start)
        return 0

    def _commit(self, before: tuple[int, int] | None, after: tuple[int, int], text: bytes) -> int:
        lines = list(_parsed(text.splitlines()))
        with self._store.transaction() as connection:
            if self._cursor(connection) != before:
                return 1  # somebody else has read on: look again
            for row in rows_of(lines):
                usage.add(connection, row)
            for line in lines:
                self._hold_or_release(line)
            connection.execute("INSERT OR REPLACE INTO cursor VALUES (?,?,?)", (_SOURCE, *after))
        return len(lines) or 1

    def _hold_or_release(self, line: Mapping[str, Any]) -> None:
        key = Key(_HELD, line["account"], "", line.get("id", ""))
        if line["kind"] == "provisioned":
            self._store.put(key, dict(line))
        elif line["kind"] == "released" and (held := self._store.get(key)):
            usage.record(self._store, _provisioned(held.body, line["time"]))
            self._store.delete(key)

    def _current(self) -> Path | None:
        """The file to read: the one put aside first, if it is not finished."""
        aside = self._path.with_suffix(".old")
        if aside.exists():
            return aside
        return self._path if self._path.exists() else None

    def _rotate(self, path: Path, read: int) -> None:
        """A long file is put aside; the writer begins a new one, and what it still wrote is read before it goes."""
        aside = self._path.with_suffix(".old")
        if path == aside:
            if self._path.exists() and time.time() - aside.stat().st_mtime > _READ_SECONDS:
                aside.unlink()
        elif read > _ROTATE_BYTES:
            path.rename(aside)

    def _cursor(self, connection: sqlite3.Connection) -> tuple[int, int] | None:
        row = connection.execute("SELECT inode, offset FROM cursor WHERE source=?", (_SOURCE,)).fetchone()
        return (row[0], row[1]) if row else None


def rows_of(lines: Iterable[Mapping[str, Any]]) -> list[Usage]:
    """Rows to be added to the ledger, one per function, SKU and minute."""
    sums: dict[tuple[str, str, str, str, str, str, float], float] = defaultdict(float)
    for line in lines:
        minute = line["time"] // _MINUTE * _MINUTE
        for service, sku, unit, quantity in billing.of_line(line):
            sums[line["account"], line["region"], line["function"], service, sku, unit, minute] += quantity
    return [
        Usage(
            id=f"{service}:{sku}:{account}:{region}:{resource}:{minute:.0f}", tenant=account, provider=_PROVIDER,
            region=region, service=service, sku=sku, resource=resource, unit=unit, quantity=quantity,
            started=minute, ended=minute + _MINUTE,
        )
        for (account, region, resource, service, sku, unit, minute), quantity in sums.items()
    ]  # fmt: skip


def _provisioned(held: Mapping[str, Any], until: float) -> Usage:
    service, sku, unit, quantity = billing.of_provisioned(
        held["architecture"], held["memory_mb"], held["count"], until - held["time"]
    )
    return Usage(
        id=f"{sku}:{held['id']}", tenant=held["account"], provider=_PROVIDER, region=held["region"], service=service,
        sku=sku, resource=held["function"], unit=unit, quantity=quantity, started=held["time"], ended=until,
    )  # fmt: skip


def _parsed(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            if line:
                yield json.loads(line)
        except ValueError:
            _LOG.warning("unreadable line in the usage log of functions: %r", line[:200])
