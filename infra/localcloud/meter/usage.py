"""The usage ledger: one row per thing used, written exactly once.

A row's id says what it measures. `record` replaces the quantity under an id (a replica's seconds so far: writing it
again after a crash changes nothing); `add` adds to it and must share a transaction with whatever proves that the
addition has not happened before (the access log's cursor).
"""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass

from localcloud.store import Store


@dataclass(frozen=True)
class Usage:
    """Quantity used of one SKU between two moments (unix seconds).

    `service` and `sku` are the price book's names (`SageMaker AI`, `ml.m5.large Hosting`); `resource` is the vendor's
    name of the thing; `unit` is `second`, `request`, `byte` or `byte-second`.
    """

    id: str
    tenant: str
    provider: str
    region: str
    service: str
    sku: str
    resource: str
    unit: str
    quantity: float
    started: float
    ended: float


def record(store: Store, usage: Usage) -> None:
    """Write a row, or replace the one with the same id."""
    with store.transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO usage VALUES (?,?,?,?,?,?,?,?,?,?,?)", astuple(usage))


def add(connection: sqlite3.Connection, usage: Usage) -> None:
    """Add to the row with the same id, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO usage VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET"
        " quantity = quantity + excluded.quantity, ended = max(ended, excluded.ended)",
        astuple(usage),
    )


def of_tenant(store: Store, tenant: str) -> list[Usage]:
    """All rows of a tenant, oldest first."""
    rows = store.read().execute("SELECT * FROM usage WHERE tenant=? ORDER BY started, id", (tenant,))
    return [Usage(*row) for row in rows]
