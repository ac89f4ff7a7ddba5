"""Stored bytes over time: what every bucket holds, sampled, as byte-seconds in the usage ledger."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from localcloud.home import Home
from localcloud.meter.usage import Usage, record
from localcloud.store import Key, Store

SERVICE: Final = "S3"
SKU: Final = "Standard storage"
_LAST: Final = Key("meter/storage", "", "", "last-sample")
_LONGEST_SECONDS: Final = 600.0
"""A longer gap means that the cloud was down, and stored bytes cost nothing while nobody could use them."""
_SIDECAR: Final = ".meta.json"


def sample(store: Store, home: Home, now: float | None = None) -> None:
    """Record the byte-seconds since the last sample, and remember this one, in one transaction.

    A row's id names the bucket and the interval, so that repeating a sample after a crash changes nothing.
    """
    now = time.time() if now is None else now
    held = list(held_bytes(home))
    with store.transaction():
        last = store.get(_LAST)
        since = float(last.body["time"]) if last else now
        if last and 0 < now - since <= _LONGEST_SECONDS:
            for account, bucket, count in held:
                record(store, _usage(account, bucket, count, since, now))
        store.put(_LAST, {"time": now})


def held_bytes(home: Home) -> Iterator[tuple[str, str, int]]:
    """Account, bucket and bytes held (old versions and parts of unfinished uploads too, as on AWS)."""
    root = home.ministack / "s3"
    for bucket in sorted(root.glob("[0-9]*/*/")):
        account = bucket.parent.name
        count = _bytes_below(bucket) + _bytes_below(root / ".versions" / account / bucket.name)
        if count:
            yield account, bucket.name, count


def _usage(account: str, bucket: str, count: int, since: float, now: float) -> Usage:
    return Usage(
        id=f"storage/{account}/{bucket}/{since:.3f}",
        tenant=account, provider="aws", region="us-east-1", service=SERVICE, sku=SKU, resource=bucket,
        unit="byte-second", quantity=count * (now - since), started=since, ended=now,
    )  # fmt: skip


def _bytes_below(folder: Path) -> int:
    return sum(
        (Path(root) / name).stat().st_size
        for root, _, names in os.walk(folder)
        for name in names
        if not name.endswith((_SIDECAR, ".tmp"))
    )
