"""Every resource of every tenant, the usage ledger and the log cursors, in one SQLite database.

Write-ahead logging: what a method has returned for survives `kill -9` of this process. One connection per thread;
writers take turns (`BEGIN IMMEDIATE`), readers never wait.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS resource (
    kind TEXT NOT NULL, tenant TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL,
    PRIMARY KEY (kind, tenant, region, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, provider TEXT NOT NULL, region TEXT NOT NULL,
    service TEXT NOT NULL, sku TEXT NOT NULL, resource TEXT NOT NULL, unit TEXT NOT NULL,
    quantity REAL NOT NULL, started REAL NOT NULL, ended REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_by_tenant ON usage (tenant);
CREATE TABLE IF NOT EXISTS cursor (
    source TEXT PRIMARY KEY, inode INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID;
"""


class StoreError(Exception):
    """The store cannot do what was asked; nothing was changed."""


class ResourceExistsError(StoreError):
    """A resource of that kind and name exists already."""


class StoreFullError(StoreError):
    """The disk is full; the request was refused, nothing was lost."""


@dataclass(frozen=True)
class Key:
    """Identifies a resource: kind (such as `sagemaker/endpoint`), tenant, region, name."""

    kind: str
    tenant: str
    region: str
    name: str


@dataclass(frozen=True)
class Resource:
    """A stored resource; `body` is JSON, times are unix seconds."""

    key: Key
    body: dict[str, Any]
    created: float
    updated: float


class Store:
    """The database. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._writer = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        _set_aside_if_corrupt(path)
        with self._connection() as connection:
            connection.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. A transaction inside another joins it. Raises StoreFullError when the disk is full."""
        connection = self._connection()
        with self._writer:
            if connection.in_transaction:
                yield connection
                return
            with _full_disk_is_store_full(self._path):
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise

    def read(self) -> sqlite3.Connection:
        """This thread's connection, for SELECT."""
        return self._connection()

    def close(self) -> None:
        """Close this thread's connection; its next use opens another. For threads that end before the process."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def insert(self, key: Key, body: dict[str, Any]) -> Resource:
        """Add a resource; raises ResourceExistsError."""
        now = time.time()
        with self.transaction() as connection:
            try:
                connection.execute(
                    "INSERT INTO resource VALUES (?,?,?,?,?,?,?)",
                    (key.kind, key.tenant, key.region, key.name, json.dumps(body), now, now),
                )
            except sqlite3.IntegrityError:
                raise ResourceExistsError(f"{key.kind} {key.name} exists") from None
        return Resource(key, body, now, now)

    def put(self, key: Key, body: dict[str, Any]) -> None:
        """Add or replace a resource."""
        now = time.time()
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO resource VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET body=excluded.body,"
                " updated=excluded.updated",
                (key.kind, key.tenant, key.region, key.name, json.dumps(body), now, now),
            )

    def get(self, key: Key) -> Resource | None:
        """The resource, or None."""
        row = self._connection().execute(
            "SELECT body, created, updated FROM resource WHERE kind=? AND tenant=? AND region=? AND name=?",
            (key.kind, key.tenant, key.region, key.name),
        ).fetchone()  # fmt: skip
        return Resource(key, json.loads(row[0]), row[1], row[2]) if row else None

    def change(self, key: Key, update: Callable[[dict[str, Any]], None]) -> Resource | None:
        """Read, modify and write in one transaction; `update` edits the body in place. None if it is gone."""
        with self.transaction():
            found = self.get(key)
            if found is None:
                return None
            update(found.body)
            self.put(key, found.body)
            return found

    def delete(self, key: Key) -> bool:
        """Remove a resource; False if there was none."""
        with self.transaction() as connection:
            cursor = connection.execute(
                "DELETE FROM resource WHERE kind=? AND tenant=? AND region=? AND name=?",
                (key.kind, key.tenant, key.region, key.name),
            )
            return cursor.rowcount > 0

    def list(self, kind: str, tenant: str | None = None, region: str | None = None) -> list[Resource]:
        """All resources of a kind, oldest first; narrowed by tenant and region when given."""
        rows = self._connection().execute(
            "SELECT tenant, region, name, body, created, updated FROM resource WHERE kind=?"
            " AND (?2 IS NULL OR tenant=?2) AND (?3 IS NULL OR region=?3) ORDER BY created, name",
            (kind, tenant, region),
        )  # fmt: skip
        return [Resource(Key(kind, row[0], row[1], row[2]), json.loads(row[3]), row[4], row[5]) for row in rows]

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
        return connection


@contextmanager
def _full_disk_is_store_full(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise StoreFullError(
                f"The disk that holds {path.parent} is full; nothing was changed."
                " Free some space (lab clean removes finished jobs) and try again."
            ) from error
        raise


def _set_aside_if_corrupt(path: Path) -> None:
    """Keep a damaged database under another name and begin with an empty one."""
    if not path.exists() or _is_sound(path):
        return
    aside = path.with_name(f"{path.name}.corrupt-{int(time.time())}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))


def _is_sound(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return bool(connection.execute("PRAGMA quick_check").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False
    finally:
        connection.close()
