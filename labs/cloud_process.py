"""The local cloud as a process: started and asked with `python -m localcloud …`, found by its state file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from labs import home

_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 120


class CloudError(RuntimeError):
    """The local cloud could not do what was asked; the message gives cause and next action."""


class CloudDownError(CloudError):
    """There is no local cloud in the state folder."""


@dataclass(frozen=True)
class CloudState:
    """What a client needs from state.json."""

    folder: Path
    token: str
    ports: dict[str, int]
    """`aws` (gateway), `control`, `ministack`, `envoy_admin`."""
    parts: dict[str, dict[str, Any]]

    @property
    def aws_url(self) -> str:
        """Where the vendors' AWS SDKs send their calls."""
        return f"http://127.0.0.1:{self.ports['aws']}"

    @property
    def control_url(self) -> str:
        """Where the control API listens."""
        return f"http://127.0.0.1:{self.ports['control']}"


def read_state(folder: Path | None = None) -> CloudState:
    """Read state.json; raises CloudDownError when there is none, CloudError when it is corrupt."""
    root = folder or home.folder()
    path = root / "state.json"
    try:
        raw = json.loads(path.read_text())
        return CloudState(root, raw["token"], raw["ports"], raw.get("parts", {}))
    except FileNotFoundError:
        raise CloudDownError(f"No local cloud runs in {root}. Run: lab up") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CloudError(f"{path} is corrupt ({error}). Run: lab up") from error


def start(aws_port: int | None = None) -> CloudState:
    """Start the local cloud and return when all its parts are ready (at once when they already are).

    Raises CloudError with the cause and the next action, such as a port that is taken.
    """
    arguments = ["up"] if aws_port is None else ["up", "--aws-port", str(aws_port)]
    run(arguments, _START_SECONDS)
    return read_state()


def stop() -> str:
    """Stop the local cloud, leaving its data; returns what it said."""
    return run(["down"], _STOP_SECONDS)


def run(arguments: Sequence[str], seconds: float = 60) -> str:
    """Run `python -m localcloud …` on this home and return its output; raises CloudError with its message."""
    command = [sys.executable, "-m", "localcloud", *arguments, "--home", str(home.folder())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env=environment(), stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise CloudError(
            f"`localcloud {arguments[0]}` gave no answer within {seconds:g} s. Look at: lab doctor, lab logs"
        ) from None
    if done.returncode != 0:
        raise CloudError(_last_words(done) or f"`localcloud {arguments[0]}` ended with {done.returncode}.")
    return done.stdout


def pass_through(arguments: Sequence[str]) -> int:
    """Run `python -m localcloud …` on this home with this terminal's output; returns its exit code."""
    command = [sys.executable, "-m", "localcloud", *arguments, "--home", str(home.folder())]
    return subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, check=False).returncode


def environment() -> dict[str, str]:
    """This process's environment without what points SDKs at a cloud: the local cloud's parts choose their own."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SAGEMAKER_")) and name.upper() not in {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}
    }


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip())[-2000:]
