"""Keeps the parts of one local cloud running: starts them together, restarts what dies, adopts what still lives.

Standard library only, so that nothing which can break a part can break this. One thread per part waits for its death
(a pidfd where there is one), so a restart begins within milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from localcloud import processes
from localcloud.home import Home, State, StateError, read_state, write_state
from localcloud.parts import PORTS_VARIABLE, Part, all_parts, environment, parse_ports
from localcloud.runtime import process

NAME: Final = "supervisor"
_LOG: Final = logging.getLogger(__name__)
_QUICK_SECONDS: Final = 2.0
"""A part that lives shorter than this has died at once."""
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 5.0
_PROBE_SECONDS: Final = 0.02
_LIVENESS_SECONDS: Final = 5.0
_HEAL_SECONDS: Final = 0.5
_HUNG_AFTER: Final = 6
"""Failed liveness probes in a row (30 s) after which a part counts as hung and is killed."""
_LOCK_SECONDS: Final = 0.5
"""Whoever only asks whether there is a supervisor holds the lock for a moment too."""
_LOG_BYTES: Final = 10_000_000


class AlreadySupervisedError(Exception):
    """Another supervisor holds the lock of this home."""


@dataclass(frozen=True)
class PartState:
    """What the state file says of one part; `started` in unix seconds, `identity` as JSON, no pid: does not run."""

    pid: int | None = None
    started: float = 0.0
    identity: Mapping[str, Any] | None = None
    restarts: int = 0
    ready: bool = False
    message: str = ""


@contextlib.contextmanager
def lock(home: Home) -> Iterator[None]:
    """Hold the right to supervise this home; raises AlreadySupervisedError when somebody else keeps it."""
    with _lock_file(home).open("w") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise AlreadySupervisedError(f"A supervisor runs already for {home.root}")
            time.sleep(_PROBE_SECONDS)
        yield


def is_supervised(home: Home) -> bool:
    """Whether a supervisor of this home lives."""
    with _lock_file(home).open("w") as file:
        return not _try_lock(file, fcntl.LOCK_SH)


class Board:
    """The state file's only writer."""

    def __init__(self, home: Home, state: State, names: Iterable[str] = ()) -> None:
        self._home = home
        self._state = state
        self._guard = threading.Lock()
        self._parts = {name: PartState() for name in names}
        self.previous: Mapping[str, Mapping[str, Any]] = state.parts

    def post(self, name: str, part: PartState) -> None:
        """Publish what is known of a part."""
        with self._guard:
            self._parts[name] = part
            self._write()

    def heal(self) -> None:
        """Write the state file again when somebody has damaged or removed it."""
        with self._guard:
            try:
                if read_state(self._home) == self._shown():
                    return
            except StateError as error:
                _LOG.warning("%s", error)
                set_aside_if_corrupt(self._home)
            self._write()

    def _shown(self) -> State:
        return replace(self._state, parts={name: asdict(part) for name, part in self._parts.items()})

    def _write(self) -> None:
        try:
            write_state(self._home, self._shown())
        except OSError as error:
            _LOG.warning("cannot write %s: %s", self._home.state_file, error)


class Process:
    """A running part: our child, or one that a former supervisor started."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._child = child
        self._descriptor = _pidfd(pid)

    def wait(self, seconds: float, stop: int) -> bool:
        """Wait for its end; True when it has ended. Returns early when `stop` becomes readable."""
        deadline = time.monotonic() + seconds
        while not self._has_ended():
            left = deadline - time.monotonic()
            watched = [stop] if self._descriptor is None else [stop, self._descriptor]
            step = left if self._descriptor is not None else min(left, 0.05)
            if left <= 0 or stop in select.select(watched, [], [], max(0.0, step))[0]:
                return self._has_ended()
        return True

    def bury(self) -> str:
        """Clear away what it leaves behind (its process group); returns how it ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._descriptor is not None:
            os.close(self._descriptor)
        code = self._child.returncode if self._child else None
        if code is None:
            return "ended"
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _has_ended(self) -> bool:
        if self._child is not None:
            return self._child.poll() is not None
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], 0)[0])
        return _is_gone(self.pid)


class Keeper(threading.Thread):
    """Keeps one part running."""

    def __init__(self, home: Home, ports: Mapping[str, int], part: Part, board: Board, stop: int) -> None:
        super().__init__(name=part.name, daemon=True)
        self._home, self._ports, self._part, self._board, self._bell = home, ports, part, board, stop
        self._deaths_at_once = 0
        self._state = PartState(restarts=int(board.previous.get(part.name, {}).get("restarts", 0)))
        self._adopted = self._find()

    def run(self) -> None:
        """Start or adopt, watch, and begin again, until told to stop."""
        while not self._stopping(0.0):
            running = self._adopted or self._start()
            self._adopted = None
            if running is None:
                self._after_death("cannot be started", 0.0)
                continue
            born = time.monotonic()
            if not self._watch(running):
                return
            self._after_death(running.bury(), time.monotonic() - born)

    def _find(self) -> Process | None:
        """The part as a former supervisor left it; of two, the older stays."""
        found = [p for p in processes.of_home(self._home) if p.part == self._part.name and p.leads_session]
        alive = [Process(p.pid) for p in sorted(found, key=lambda p: p.identity.start)]
        for surplus in alive[1:]:
            surplus.kill()
        if not alive:
            return None
        _LOG.info("%s: adopted pid %s", self._part.name, alive[0].pid)
        started = float(self._board.previous.get(self._part.name, {}).get("started", time.time()))
        self._post(**_identified(alive[0].pid), started=started, ready=False, message="")
        return alive[0]

    def _start(self) -> Process | None:
        try:
            self._part.prepare()
            with open_log(self._home.logs / f"{self._part.name}.log") as log:
                child = subprocess.Popen(
                    self._part.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    env=environment(self._home, self._ports, self._part), cwd=self._home.root, start_new_session=True,
                )  # fmt: skip
        except Exception as error:
            _LOG.exception("%s cannot be started", self._part.name)
            self._post(message=f"{self._part.name} cannot be started: {error}")
            return None
        self._post(**_identified(child.pid), started=time.time(), ready=False)
        return Process(child.pid, child)

    def _watch(self, running: Process) -> bool:
        """Follow a process from its start to its end; False when told to stop before."""
        while not self._part.is_ready():
            if running.wait(_PROBE_SECONDS, self._bell):
                return True
            if self._stopping(0.0):
                return False
        self._post(ready=True, message="")
        misses = 0
        while not running.wait(_LIVENESS_SECONDS, self._bell):
            if self._stopping(0.0):
                return False
            misses = 0 if self._part.is_ready() else misses + 1
            if misses >= _HUNG_AFTER:
                _LOG.warning("%s does not answer any more: killed", self._part.name)
                running.kill()
        return True

    def _after_death(self, how: str, lived: float) -> None:
        """Count it, say it, and wait longer each time it dies at once."""
        self._deaths_at_once = self._deaths_at_once + 1 if lived < _QUICK_SECONDS else 0
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (self._deaths_at_once - 2)) if self._deaths_at_once > 1 else 0.0
        _LOG.warning("%s %s after %.1f s; starting it again in %.1f s", self._part.name, how, lived, delay)
        self._post(
            pid=None, identity=None, ready=False, restarts=self._state.restarts + 1, message=self._complaint(how)
        )
        self._stopping(delay)

    def _complaint(self, how: str) -> str:
        if self._deaths_at_once < 3:
            return ""
        log = self._home.logs / f"{self._part.name}.log"
        return f"{self._part.name} {how} {self._deaths_at_once} times right after its start. Its log: {log}"

    def _post(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        self._board.post(self._part.name, self._state)

    def _stopping(self, seconds: float) -> bool:
        return bool(select.select([self._bell], [], [], seconds)[0])


def supervise(home: Home, ports: Mapping[str, int] | None = None) -> None:
    """Run until SIGTERM; the parts go on after it. `ports` None: those of the state file or of the running parts.

    Raises AlreadySupervisedError, and StateError when the ports cannot be known.
    """
    with lock(home):
        state = _state(home, ports)
        parts = all_parts(home, state.ports)
        board = Board(home, state, [part.name for part in parts])
        board.post(NAME, PartState(**_identified(os.getpid()), started=time.time(), ready=True))
        stop, ring = os.pipe()
        keepers = [Keeper(home, state.ports, part, board, stop) for part in parts]
        for keeper in keepers:
            keeper.start()
        _wait_for_signal(board)
        os.close(ring)
        for keeper in keepers:
            keeper.join(timeout=2)


def clear_parts(home: Home) -> None:
    """Note in the state file that nothing runs; ports and token stay. The caller holds the lock."""
    with contextlib.suppress(StateError, OSError):
        write_state(home, replace(read_state(home), parts={}))


def set_aside_if_corrupt(home: Home) -> Path | None:
    """Move an unusable state file out of the way; returns its new path, or None when there was nothing to do."""
    try:
        read_state(home)
    except StateError:
        if not home.state_file.exists():
            return None
        aside = home.state_file.with_name(f"{home.state_file.name}.corrupt-{int(time.time())}")
        home.state_file.rename(aside)
        return aside
    return None


def known_ports(home: Home) -> dict[str, int]:
    """The ports of the state file, else those that the running parts were given, else none."""
    with contextlib.suppress(StateError):
        return read_state(home).ports
    for marked in processes.of_home(home):
        with contextlib.suppress(ValueError, KeyError):
            return parse_ports(marked.marks[PORTS_VARIABLE])
    return {}


def _state(home: Home, ports: Mapping[str, int] | None) -> State:
    ports = dict(ports or known_ports(home))
    aside = set_aside_if_corrupt(home)
    if aside:
        _LOG.warning("the state file was corrupt; it is now %s", aside)
    if not ports:
        raise StateError(f"No ports are known for {home.root}. Run: lab up")
    try:
        return replace(read_state(home), ports=ports)
    except StateError:
        return State.new(ports)


def _wait_for_signal(board: Board) -> None:
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while not asked.wait(_HEAL_SECONDS):
        board.heal()


def _identified(pid: int) -> dict[str, Any]:
    identity = process.identify(pid)
    return {"pid": pid, "identity": identity.as_json() if identity else None}


def _lock_file(home: Home) -> Path:
    return home.root / "supervisor.lock"


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _is_gone(pid: int) -> bool:
    return process.identify(pid) is None


def open_log(path: Path) -> IO[bytes]:
    """Append to a part's log; a long one is first put aside as `.1`."""
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")
