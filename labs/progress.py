"""What has been answered: `progress.json` in the state folder, by tenant (one per notebook) and check."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labs import home


@dataclass(frozen=True)
class Entry:
    """The last state of one check in one notebook; times are unix seconds."""

    tenant: str
    check: str
    state: str
    attempts: int
    """How often it was wrong or right."""
    updated: float
    misconception: str = ""
    automatic: bool = False
    """Answered by `lab run`, not by a person."""


def file() -> Path:
    """Where progress is kept."""
    return home.folder() / "progress.json"


def record(check: str, state: str, misconception: str = "") -> None:
    """Remember the state of a check for this process's tenant."""
    tenant = home.tenant_name()
    with _locked():
        entries = {(entry.tenant, entry.check): entry for entry in _read_all()}
        before = entries.get((tenant, check))
        attempts = (before.attempts if before else 0) + (state != "not attempted")
        automatic = "LAB_TENANT_NAME" in os.environ
        entries[tenant, check] = Entry(tenant, check, state, attempts, time.time(), misconception, automatic)
        _write(list(entries.values()))


def read() -> list[Entry]:
    """All entries, by tenant and check."""
    return sorted(_read_all(), key=lambda entry: (entry.tenant, entry.check))


def forget(tenant: str | None = None) -> None:
    """Remove the entries of a tenant, or all."""
    with _locked():
        _write([] if tenant is None else [entry for entry in _read_all() if entry.tenant != tenant])


def _read_all() -> list[Entry]:
    try:
        raw: list[dict[str, Any]] = json.loads(file().read_text())
        return [Entry(**each) for each in raw]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError):
        # A damaged file must not stop a lab: keep it aside and begin again.
        file().replace(file().with_suffix(f".corrupt-{int(time.time())}.json"))
        return []


def _write(entries: list[Entry]) -> None:
    temporary = file().with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps([asdict(entry) for entry in entries], indent=1))
    temporary.replace(file())


@contextmanager
def _locked() -> Iterator[None]:
    # Two kernels may answer at the same moment.
    home.folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with file().with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
