"""Refuses, and notes in LAB_AUDIT_FILE, every socket call of this process that does not stay on loopback."""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


def _host(event, arguments):
    if event == "socket.getaddrinfo":
        return arguments[0]
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        connected, address = arguments[0], arguments[1]
        if connected.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            return address[0]
    return None


def _audit(event, arguments):
    if not event.startswith("socket."):
        return
    host = _host(event, arguments)
    name = host.decode() if isinstance(host, bytes) else host
    if not name or name.startswith(LOOPBACK) or name == os.uname().nodename:
        return
    with suppress(OSError), Path(os.environ["LAB_AUDIT_FILE"]).open("a") as file:
        file.write(f"{event} {name} by {sys.argv}\n")
    raise PermissionError(f"not loopback: {name}")


if os.environ.get("LAB_AUDIT_FILE"):
    sys.addaudithook(_audit)
