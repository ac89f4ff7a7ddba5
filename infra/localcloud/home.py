"""Where the local cloud keeps its files, and the one state file that says which parts run on which ports.

Standard library only: the supervisor imports it. `state.json` is written by the supervisor alone, by rename;
everybody else reads it.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

STATE_VERSION: Final = 1


class StateError(Exception):
    """The state file is missing or unusable; the message says what to do."""


@dataclass(frozen=True)
class Home:
    """The folders of one local cloud. Two clouds on one machine differ only in their root."""

    root: Path

    @property
    def state_file(self) -> Path:
        """Ports, processes and the token of the control API, as JSON (mode 0600)."""
        return self.root / "state.json"

    @property
    def database(self) -> Path:
        """The SQLite store."""
        return self.root / "cloud.db"

    @property
    def gateway(self) -> Path:
        """Envoy's bootstrap, xDS files and access log."""
        return self.root / "gateway"

    @property
    def jobs(self) -> Path:
        """One folder per job instance."""
        return self.root / "jobs"

    @property
    def replicas(self) -> Path:
        """One folder per replica, and the unpacked models they share."""
        return self.root / "replicas"

    @property
    def ministack(self) -> Path:
        """MiniStack's own state and objects."""
        return self.root / "ministack"

    @property
    def functions(self) -> Path:
        """Lambda: unpacked code, environments at work, accepted events, and what was used."""
        return self.root / "functions"

    @property
    def logs(self) -> Path:
        """One log file per part of the cloud."""
        return self.root / "logs"

    def create(self) -> Home:
        """Make all folders, readable by this user only."""
        for folder in (
            self.root, self.gateway, self.jobs, self.replicas, self.ministack, self.functions,
            self.logs,
        ):  # fmt: skip
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self


def default_home() -> Home:
    """The home named by LAB_HOME, else `.lab` in the repository."""
    fallback = Path(__file__).resolve().parents[2] / ".lab"
    return Home(Path(os.environ.get("LAB_HOME") or fallback).resolve())


@dataclass(frozen=True)
class State:
    """What the supervisor knows: ports by name, processes by part name, the control API's token."""

    token: str
    ports: dict[str, int]
    """`aws` (gateway), `control`, `ministack`, `envoy_admin`."""
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per part: `pid`, `identity` (see runtime.process.Identity), `started` (unix seconds), `restarts`, `ready`."""
    version: int = STATE_VERSION

    @classmethod
    def new(cls, ports: dict[str, int]) -> State:
        """A state with a fresh token."""
        return cls(token=secrets.token_urlsafe(24), ports=ports)


def read_state(home: Home) -> State:
    """Read the state file; raises StateError when it is missing or corrupt."""
    try:
        raw = json.loads(home.state_file.read_text())
        if raw["version"] != STATE_VERSION:
            raise StateError(f"{home.state_file} has version {raw['version']}. Run: lab down && lab up")
        return State(**raw)
    except FileNotFoundError:
        raise StateError(f"No local cloud in {home.root}. Run: lab up") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{home.state_file} is corrupt ({error}). Run: lab up") from error


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file by rename, so that a reader sees the old text or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_state(home: Home, state: State) -> None:
    """Save the state by rename, readable by this user only."""
    write_atomically(home.state_file, json.dumps(asdict(state), indent=1))
