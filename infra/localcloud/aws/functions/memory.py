"""A process's memory, and the watch that ends an environment which exceeds its function's limit.

Resident memory is sampled; what a function used between two looks shows in the kernel's own peak, which is checked
after each invocation. Control groups would be exact, but need rights that a user does not have.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localcloud.runtime import procfs

_LOOK_SECONDS: Final = 0.01


def resident_bytes(pid: int) -> int:
    """Of a process and all below it; 0 when it is gone."""
    if not procfs.LINUX:
        return _resident_by_psutil(pid)
    own = procfs.stat(pid)
    return (own.resident_bytes if own and not own.dead else 0) + sum(resident_bytes(child) for child in _children(pid))


def peak_bytes(pid: int) -> int:
    """The most that this process alone ever had resident, where the kernel knows it; else what it has now."""
    if not procfs.LINUX:
        return _resident_by_psutil(pid)
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


@dataclass
class _Watched:
    pid: int
    limit: int
    exceeded: Callable[[], None]
    peak: int = 0


class MemoryWatch:
    """One thread that looks at all environments which are at work."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}
        self._guard = threading.Lock()
        self._work = threading.Event()
        threading.Thread(target=self._run, name="lambda-memory", daemon=True).start()

    def begin(self, pid: int, limit: int, exceeded: Callable[[], None]) -> None:
        """Look at this process until `end`; `exceeded` is called once if it goes beyond `limit` bytes."""
        with self._guard:
            self._watched[pid] = _Watched(pid, limit, exceeded)
        self._work.set()

    def end(self, pid: int) -> int:
        """Stop looking; returns the highest value seen, in bytes."""
        with self._guard:
            watched = self._watched.pop(pid, None)
        return watched.peak if watched else 0

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._work.wait()
            with self._guard:
                looking = list(self._watched.values())
                if not looking:
                    self._work.clear()
            for each in looking:
                self._look(each)
            pause.wait(_LOOK_SECONDS)

    def _look(self, watched: _Watched) -> None:
        watched.peak = max(watched.peak, resident_bytes(watched.pid))
        if watched.peak > watched.limit:
            with self._guard:
                still_there = self._watched.pop(watched.pid, None)
            if still_there is not None:
                watched.exceeded()


def _children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _resident_by_psutil(pid: int) -> int:
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    return total
