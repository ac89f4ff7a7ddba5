"""MiniStack's state files: written whole, by rename, and set aside when they cannot be read."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from ministack import app as ministack
from ministack.core import persistence

_LOG: Final = logging.getLogger(__name__)
_ATTEMPTS: Final = 5
_UNCHANGED_WHILE_SAVED: Final = ("sqs", "iam", "s3", "sns", "cloudwatch", "cloudwatch_logs")
"""Services whose get_state only copies: as we write at once, on the thread that changes the state, no copy is needed.
Copying costs several times the writing."""


class Snapshots:
    """One JSON file per service, in MiniStack's own format plus the number of the journal that continues it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(persistence.STATE_DIR)
        self.epochs: dict[str, int] = {}

    def write(self, key: str) -> None:
        """Save a service's present state, if that service was used; raises OSError."""
        get_state = ministack._build_persistence_save_dict().get(key)
        if get_state is None:
            return
        epoch = self.epochs.get(key, 0) + 1
        text = self._dump(key, get_state, epoch)
        if text is not None:
            _replace(self.folder / f"{key}.json", text)
            self.epochs[key] = epoch
            for stale in self.folder.glob(f"{key}.*.journal"):
                if stale != self.journal(key):
                    stale.unlink(missing_ok=True)

    def write_all(self, keys: Iterable[str]) -> None:
        """Save what can be saved; for a clean stop."""
        for key in keys:
            try:
                self.write(key)
            except Exception:
                _LOG.exception("cannot save %s", key)

    def load(self, key: str) -> Any:
        """A service's saved state, or None. A damaged file is kept under another name."""
        path = self.folder / f"{key}.json"
        try:
            saved = json.loads(path.read_text(), object_hook=persistence._json_object_hook)
            self.epochs[key] = int(saved.get("journal", 0))
        except FileNotFoundError:
            return None
        except (ValueError, AttributeError) as error:
            aside = path.with_name(f"{path.name}.corrupt-{int(time.time())}")
            path.rename(aside)
            _LOG.error("%s cannot be read (%s). It is now %s; what its journal holds is kept", path, error, aside)
            self.epochs[key] = max(self._journal_numbers(key), default=0)
            return None
        if saved["__ministack_format__"] > persistence._state_format_version(key):
            return None
        return saved["payload"]

    def journal(self, key: str) -> Path:
        """The journal that continues the present snapshot."""
        return self.folder / f"{key}.{self.epochs.get(key, 0)}.journal"

    def _journal_numbers(self, key: str) -> list[int]:
        return [int(path.name.split(".")[-2]) for path in self.folder.glob(f"{key}.*.journal")]

    def _dump(self, key: str, get_state: Any, epoch: int) -> str | None:
        for attempt in range(_ATTEMPTS):
            try:
                with _without_copying(key):
                    state = get_state()
                    if state is None:
                        return None
                    wrapped = {
                        "__ministack_format__": persistence._state_format_version(key),
                        "journal": epoch,
                        "payload": state,
                    }
                    return json.dumps(wrapped, default=persistence._json_default)
            except RuntimeError:  # another thread changed a dictionary meanwhile
                if attempt == _ATTEMPTS - 1:
                    raise
        return None


@contextlib.contextmanager
def _without_copying(key: str) -> Iterator[None]:
    module = ministack._loaded_modules.get(key)
    if key not in _UNCHANGED_WHILE_SAVED or module is None:
        yield
        return
    module.copy = _NoCopy
    try:
        yield
    finally:
        module.copy = copy


class _NoCopy:
    """Stands in for the copy module while a state is written."""

    @staticmethod
    def deepcopy(value: Any) -> Any:
        return value


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".writing")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    # No fsync: a killed process loses nothing that the kernel has taken; only a power cut would.
    temporary.replace(path)
