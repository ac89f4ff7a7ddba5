"""Starts processes, recognises them after a restart, and stops them with everything they started.

Standard library only on Linux; elsewhere psutil is used.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from localcloud.runtime import procfs

TOKEN_VARIABLE: Final = "LAB_PROCESS"  # noqa: S105 - not a password
"""Every process of the local cloud carries its token here, and so does everything it starts."""

_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True)
class Identity:
    """One process, not to be confused with a later one of the same pid."""

    pid: int
    start: int
    """Clock ticks from boot to start (Linux), or microseconds of the unix time it started."""
    boot: str
    token: str = ""

    def as_json(self) -> dict[str, Any]:
        """For a state file."""
        return asdict(self)


def new_token(scope: str) -> str:
    """A token that `find_by_token(scope)` and nobody else finds."""
    return f"{scope}.{secrets.token_hex(8)}"


def digest(text: str) -> str:
    """A short fingerprint, for a token's scope."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify(pid: int, token: str = "") -> Identity | None:
    """The identity of a running process; None when it is dead or a zombie."""
    found = procfs.stat(pid)
    return None if found is None or found.dead else Identity(pid, found.start, procfs.boot_id(), token)


def is_alive(identity: Identity) -> bool:
    """True while that very process runs. A zombie is dead."""
    found = procfs.stat(identity.pid)
    return found is not None and not found.dead and found.start == identity.start and procfs.boot_id() == identity.boot


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    token: str,
    pass_fds: Sequence[int] = (),
    on_exit: Callable[[int], None] | None = None,
) -> Identity:
    """Start a process in a session of its own, with `env` as its whole environment and its output appended to a file.

    `on_exit` is called in a thread with the exit code as a shell reports it. Raises OSError when it cannot start.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env={**env, TOKEN_VARIABLE: token},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    # Looked up before anybody may collect it: even a process that ended at once is still a zombie here.
    found = procfs.stat(process.pid)
    threading.Thread(target=_collect, args=(process, on_exit), name=f"collect-{process.pid}", daemon=True).start()
    return Identity(process.pid, found.start if found else 0, procfs.boot_id(), token)


def _collect(process: subprocess.Popen[bytes], on_exit: Callable[[int], None] | None) -> None:
    code = shell_exit_code(process.wait())
    if on_exit is not None:
        on_exit(code)


def shell_exit_code(code: int) -> int:
    """128 + signal for a process that a signal ended (Popen gives minus the signal)."""
    return 128 - code if code < 0 else code


def members(identity: Identity) -> list[procfs.Stat]:
    """The process and everything alive that it started, also what left its group but kept its environment."""
    processes = procfs.snapshot()
    leads = is_alive(identity)
    return [
        each
        for each in processes
        if (leads and each.session == identity.pid)
        or (identity.token and procfs.environment_value(each.pid, TOKEN_VARIABLE) == identity.token)
    ]


def resident_bytes(identity: Identity) -> int:
    """Resident memory of the process and everything it started (shared pages counted in each)."""
    return sum(each.resident_bytes for each in members(identity))


def kill_group(identity: Identity, signal_number: int = signal.SIGKILL) -> int:
    """Signal the process and everything it started; returns how many were alive."""
    found = members(identity)
    for each in found:
        signal_pid(each.pid, signal_number)
    return len(found)


def signal_pid(pid: int, signal_number: int) -> bool:
    """Send a signal; False when the process is gone."""
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def stop(identities: Iterable[Identity], grace_seconds: float) -> None:
    """SIGTERM to each group, SIGKILL to what is left after the grace; returns when all are dead."""
    left = list(identities)
    for identity in left:
        kill_group(identity, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while left and time.monotonic() < deadline:
        left = [each for each in left if members(each)]
        time.sleep(_POLL_SECONDS if left else 0)
    for identity in left:
        kill_all(identity)


def kill_all(identity: Identity, timeout: float = 10.0) -> None:
    """SIGKILL until nothing is left: a process may be born between two looks."""
    deadline = time.monotonic() + timeout
    while kill_group(identity) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def find_by_token(scope: str) -> dict[int, str]:
    """Live processes whose token begins with the scope: pid to token."""
    found = {}
    for each in procfs.snapshot():
        token = procfs.environment_value(each.pid, TOKEN_VARIABLE)
        if token is not None and token.startswith(f"{scope}."):
            found[each.pid] = token
    return found


def free_port(host: str = "127.0.0.1", taken: Iterable[int] = ()) -> int:
    """A loopback port that nobody listens on now, and that is not among `taken`."""
    refused = set(taken)
    while True:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in refused:
            return port


def limit_core_dumps(pid: int) -> None:
    """No core files from this process (Linux; elsewhere the system's default stays)."""
    if sys.platform.startswith("linux"):
        import resource

        try:
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        except (ProcessLookupError, PermissionError):
            return


def log_tail(log: Path, lines: int = 20, most_bytes: int = 16_384) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most_bytes))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
