"""What functions and APIs used, one JSON line each, written before the caller gets the answer.

The control plane reads it into the ledger (localcloud.aws.functions.metering). A line is a single write in append
mode: it is there whole or, when the process is killed before it, not at all, and then nothing was acknowledged.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, Final

NAME: Final = "usage.jsonl"


class UsageLog:
    """The file, opened for appending. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._descriptor = -1
        _end_torn_line(path)

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; raises OSError when it cannot be written whole."""
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._guard:
            self._follow()
            if os.write(self._descriptor, data) != len(data):
                os.write(self._descriptor, b"\n")  # the reader leaves a damaged line out
                raise OSError(28, "No space left on device", str(self._path))

    def _follow(self) -> None:
        """The reader renames a long file: open the new one."""
        if self._descriptor >= 0:
            try:
                if os.fstat(self._descriptor).st_ino == self._path.stat().st_ino:
                    return
            except FileNotFoundError:
                pass
            os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _end_torn_line(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
