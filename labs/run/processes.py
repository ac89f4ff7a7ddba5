"""The processes below a notebook's run, so that none of them outlives it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def descendants(pid: int) -> list[psutil.Process]:
    """Every living process below `pid`, without the local cloud: a notebook may start that, but does not own it."""
    try:
        children = psutil.Process(pid).children()
    except psutil.Error:
        return []
    owned = [child for child in children if not _is_local_cloud(child)]
    return owned + [grandchild for child in owned for grandchild in descendants(child.pid)]


def _is_local_cloud(process: psutil.Process) -> bool:
    try:
        return "localcloud" in process.cmdline()
    except psutil.Error:
        return False


def end(processes: Iterable[psutil.Process], grace: float) -> None:
    """Ask processes to stop, and kill those that are still there after `grace` seconds."""
    living = [process for process in processes if process.is_running()]
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _gone, stubborn = psutil.wait_procs(living, timeout=grace)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=grace)
