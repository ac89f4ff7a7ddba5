"""Which ports the local cloud listens on: the asked one, those it had before, or free ones."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from typing import Final

GATEWAY: Final = "aws"
"""The port that SDKs talk to."""
NAMES: Final = (GATEWAY, "control", "ministack", "envoy_admin")
USUAL: Final = 4566
"""The gateway's port when nothing else was asked for and nobody else has it."""
_LOOPBACK: Final = "127.0.0.1"
_RANGE: Final = range(20_000, 32_000)
"""Below the ports that Linux (32768 on) and macOS (49152 on) give to outgoing connections: a client that happens to get
the port of a part that is being restarted would keep it from listening again."""


class PortTakenError(Exception):
    """The asked port belongs to somebody else; the message names them and the next action."""


def choose(asked: int | None, previous: Mapping[str, int]) -> dict[str, int]:
    """A port for every name in NAMES, on loopback.

    `asked` is the gateway's port; 0 means any free one, None the previous or the usual one. A port of `previous` is
    kept while it is free. Raises PortTakenError when a port asked for by number is taken.
    """
    if asked and not is_free(asked):
        raise PortTakenError(
            f"Port {asked} is taken by {holder(asked)}. Stop it or run: lab up --aws-port {_suggestion(asked)}"
        )
    chosen = {GATEWAY: asked or _kept(previous.get(GATEWAY)) or _usual(asked)}
    for name in NAMES[1:]:
        chosen[name] = _kept(previous.get(name)) or _unused(set(chosen.values()))
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_LOOPBACK, port))
            listener.listen(1)
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens on at this moment, out of reach of outgoing connections."""
    while not is_free(port := random.choice(_RANGE)):  # noqa: S311  # not a secret
        pass
    return port


def holder(port: int) -> str:
    """Who listens on the port, such as `pid 812 (python)`."""
    import psutil  # only when a message needs it

    for process in psutil.process_iter(["pid", "name"]):
        try:
            connections = process.net_connections("tcp")
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
            return f"pid {process.pid} ({process.name()})"
    return "a process of another user"


def _kept(port: int | None) -> int | None:
    return port if port and is_free(port) else None


def _usual(asked: int | None) -> int:
    if asked is None and is_free(USUAL):
        return USUAL
    return _unused(set())


def _unused(taken: set[int]) -> int:
    while (port := free_port()) in taken:
        pass
    return port


def _suggestion(asked: int) -> int:
    """A free port near the asked one, round and easy to type."""
    return next(port for port in range(asked // 100 * 100 + 100, 65_000, 100) if is_free(port))
