"""Brings a local cloud up, takes it down, and tells how it is: what the commands `up`, `down` and `status` do."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from localcloud import parts, ports, processes, supervisor
from localcloud.home import Home, State, StateError, read_state
from localcloud.runtime import job

READY_SECONDS: Final = 30.0
"""A cloud not ready after this long is reported as failed."""
_STOP_SECONDS: Final = 10.0
"""Between SIGTERM and SIGKILL."""
_POLL_SECONDS: Final = 0.02
_LEAST_FREE_BYTES: Final = 50_000_000
_LOG_LINES: Final = 15

Say = Callable[[str], None]


class LifecycleError(Exception):
    """The cloud cannot be brought up or down; the message says why and what to do."""


@dataclass(frozen=True)
class Up:
    """The running cloud, and how long it took until it was ready (0: it was up already)."""

    state: State
    seconds: float


def up(home: Home, aws_port: int | None, say: Say) -> Up:
    """Start what does not run yet and wait until every part is ready.

    `aws_port` is the gateway's: None for the usual, 0 for any free one. Raises LifecycleError.
    """
    began = time.monotonic()
    _prepare(home)
    running = ready_state(home)
    if running:
        _refuse_other_port(running, aws_port)
        return Up(running, 0.0)
    aside = supervisor.set_aside_if_corrupt(home)
    if aside:
        say(f"The state file was corrupt. It is now {aside}; the parts that still run are taken over.")
    if not supervisor.is_supervised(home):
        start_supervisor(home, _ports(home, aws_port))
    state = _wait_until_ready(home, began, say)
    return Up(state, time.monotonic() - began)


def start_supervisor(home: Home, chosen: dict[str, int] | None = None) -> subprocess.Popen[bytes]:
    """Start the supervisor in a session of its own, its output in logs/supervisor.log."""
    command = [sys.executable, "-P", "-m", "localcloud", "supervise", "--home", str(home.root)]
    if chosen:
        command += ["--ports", parts.format_ports(chosen)]
    marks = {parts.HOME_VARIABLE: str(home.root), parts.PART_VARIABLE: supervisor.NAME}
    with supervisor.open_log(home.logs / f"{supervisor.NAME}.log") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=home.root,
            env=parts.inherited() | marks, start_new_session=True,
        )  # fmt: skip


def ready_state(home: Home) -> State | None:
    """The state, when a supervisor lives and every part is ready; else None."""
    if not home.root.exists() or not supervisor.is_supervised(home):
        return None
    with contextlib.suppress(StateError):
        state = read_state(home)
        if len(state.parts) > 1 and all(part["ready"] for part in state.parts.values()):
            return state
    return None


def down(home: Home, say: Say) -> int:
    """Stop the supervisor, the parts, the jobs and the replicas; returns how many processes were stopped.

    What is stored stays, and the next `up` continues with it. Raises LifecycleError when something cannot be stopped.
    """
    if not home.root.exists():  # nothing was ever here, or somebody deleted it under a running cloud
        return len(_stop(home, lambda process: process.part == parts.CONTROL_PLANE) | _stop(home, lambda _: True))
    with _supervision_ended(home):
        # The control plane first: it would start replicas again. Then jobs, by their shims, which note why they ended.
        stopped = _stop(home, lambda process: process.part == parts.CONTROL_PLANE)
        stopped |= _stop(home, lambda process: process.folder.startswith("jobs/"), _ask_job)
        stopped |= _stop(home, lambda _: True)
        supervisor.clear_parts(home)
    say(f"{len(stopped)} processes stopped.")
    return len(stopped)


def _stop(
    home: Home,
    wanted: Callable[[processes.Owned], bool],
    ask: Callable[[Home, processes.Owned], None] = lambda _, process: _signal(process.pid, signal.SIGTERM),
) -> set[int]:
    """Ask them to end, and SIGKILL what is still there after a while; returns the pids when none is left."""
    stopped: set[int] = set()
    deadline = time.monotonic() + _STOP_SECONDS
    while living := [each for each in processes.of_home(home) if wanted(each)]:
        late = time.monotonic() > deadline
        if time.monotonic() > deadline + _STOP_SECONDS:
            raise LifecycleError(f"Cannot stop pids {[p.pid for p in living]}. Stop them by hand: kill -9 <pid>")
        for process in living:
            if late:
                _signal(process.pid, signal.SIGKILL)
            elif process.pid not in stopped:
                ask(home, process)
            stopped.add(process.pid)
        time.sleep(_POLL_SECONDS)
    return stopped


def _ask_job(home: Home, process: processes.Owned) -> None:
    """Tell the shim of the job that the process belongs to."""
    inside = home.root / process.folder
    for folder in (inside, *inside.parents):
        if (folder / "status.json").exists():
            return job.stop(folder)
        if folder == home.jobs:
            return None
    return None


def _prepare(home: Home) -> None:
    try:
        home.create()
        probe = home.root / f".writable.{os.getpid()}"
        probe.write_bytes(b"\0" * 65_536)
        probe.unlink()
        free = shutil.disk_usage(home.root).free
    except OSError as error:
        raise LifecycleError(_unusable(home, error)) from error
    if free < _LEAST_FREE_BYTES:
        raise LifecycleError(_unusable(home, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


def _unusable(home: Home, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            f"The disk that holds {home.root} is full. Free at least {_LEAST_FREE_BYTES // 1_000_000} MB,"
            " or choose another folder: LAB_HOME=/other/folder lab up"
        )
    return f"{home.root} cannot be used ({error.strerror}). Choose another folder: LAB_HOME=/other/folder lab up"


def _refuse_other_port(state: State, asked: int | None) -> None:
    current = state.ports[ports.GATEWAY]
    if asked and asked != current:
        raise LifecycleError(f"The local cloud runs already, on port {current}. To move it: lab down && lab up")


def _ports(home: Home, asked: int | None) -> dict[str, int]:
    """The ports of parts that still run must stay; otherwise choose."""
    previous = supervisor.known_ports(home)
    if any(process.leads_session for process in processes.of_home(home)):
        return previous
    try:
        return ports.choose(asked, previous)
    except ports.PortTakenError as error:
        raise LifecycleError(str(error)) from error


def _wait_until_ready(home: Home, began: float, say: Say) -> State:
    announced: set[str] = set()
    while time.monotonic() - began < READY_SECONDS:
        state = ready_state(home)
        for name in sorted(_ready_names(home) - announced):
            announced.add(name)
            say(f"  {name} ready after {time.monotonic() - began:.1f} s")
        if state:
            return state
        _raise_if_hopeless(home, began)
        time.sleep(_POLL_SECONDS)
    waiting = ", ".join(sorted(_all_names(home) - announced))
    raise LifecycleError(
        f"Not ready after {READY_SECONDS:.0f} s: {waiting}. Logs: {home.logs}. Try: lab down && lab up"
    )


def _ready_names(home: Home) -> set[str]:
    with contextlib.suppress(StateError):
        return {name for name, part in read_state(home).parts.items() if part["ready"]}
    return set()


def _all_names(home: Home) -> set[str]:
    with contextlib.suppress(StateError):
        return set(read_state(home).parts)
    return set()


def _raise_if_hopeless(home: Home, began: float) -> None:
    """A supervisor that has died, or a part that cannot live, will not become ready by waiting."""
    if time.monotonic() - began > 3 and not supervisor.is_supervised(home):
        raise LifecycleError(f"The supervisor has ended. The end of its log:\n{_tail(home, supervisor.NAME)}")
    with contextlib.suppress(StateError):
        for name, part in read_state(home).parts.items():
            if part["message"]:
                raise LifecycleError(f"{part['message']}\n{_tail(home, name)}")


def _tail(home: Home, name: str) -> str:
    with contextlib.suppress(OSError):
        lines = (home.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])
    return "(no log)"


@contextlib.contextmanager
def _supervision_ended(home: Home) -> Iterator[None]:
    """Stop the supervisor and hold its lock, so that the control plane cannot start another."""
    deadline = time.monotonic() + _STOP_SECONDS
    while True:
        for process in processes.of_home(home):
            if process.part == supervisor.NAME:
                late = time.monotonic() > deadline
                _signal(process.pid, signal.SIGKILL if late else signal.SIGTERM)
        try:
            with supervisor.lock(home):
                yield
                return
        except supervisor.AlreadySupervisedError:
            time.sleep(_POLL_SECONDS)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
