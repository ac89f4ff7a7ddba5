"""Finds the local cloud's own processes: by the marks in their environment and by their working folder.

The state file is not needed for it, so that nothing is overlooked when that file is lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from localcloud.home import Home
from localcloud.parts import HOME_VARIABLE, PART_VARIABLE, PORTS_VARIABLE
from localcloud.runtime import procfs
from localcloud.runtime.process import TOKEN_VARIABLE, Identity

_MARKS: Final = (HOME_VARIABLE, PART_VARIABLE, PORTS_VARIABLE, TOKEN_VARIABLE)
_ACCOUNT: Final = re.compile(r"(?<!\d)\d{12}(?!\d)")


@dataclass(frozen=True)
class Owned:
    """A live process (no zombie) of one local cloud."""

    identity: Identity
    marks: Mapping[str, str]
    leads_session: bool
    """False for what another process of the cloud has started."""
    folder: str = ""
    """Of a job or replica: its working folder, relative to the home."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.identity.pid

    @property
    def part(self) -> str | None:
        """The part that it is or belongs to; None for jobs and replicas."""
        return self.marks.get(PART_VARIABLE)

    def as_json(self) -> dict[str, Any]:
        """For the control API."""
        kind = "part" if self.part else self.folder.split("/")[0].removesuffix("s") or "other"
        account = _ACCOUNT.search(self.folder)
        return {
            "pid": self.pid,
            "kind": kind,
            "name": self.part or self.folder,
            "tenant": account[0] if account else None,
            "main": self.leads_session,
        }


def of_home(home: Home) -> list[Owned]:
    """All live processes of this home: parts, jobs, replicas, and what they have started."""
    boot = procfs.boot_id()
    alive = [
        Owned(Identity(each.pid, each.start, boot), _marks(each.pid), each.session == each.pid)
        for each in procfs.snapshot()
    ]
    placed = [_placed(each, home) for each in alive]
    tokens = {each.marks[TOKEN_VARIABLE] for each in placed if each.folder and TOKEN_VARIABLE in each.marks}
    return [
        each
        for each in placed
        if each.marks.get(HOME_VARIABLE) == str(home.root) or each.marks.get(TOKEN_VARIABLE) in tokens
    ]


def _placed(process: Owned, home: Home) -> Owned:
    """With its folder, when it is a job or replica that works inside this home."""
    if TOKEN_VARIABLE not in process.marks:
        return process
    folder = _working_folder(process.pid)
    if folder is None or not folder.is_relative_to(home.root):
        return process
    return Owned(process.identity, process.marks, process.leads_session, str(folder.relative_to(home.root)))


def _marks(pid: int) -> dict[str, str]:
    values = {name: procfs.environment_value(pid, name) for name in _MARKS}
    return {name: value for name, value in values.items() if value is not None}


def _working_folder(pid: int) -> Path | None:
    try:
        if procfs.LINUX:
            return Path(f"/proc/{pid}/cwd").readlink()
        import psutil

        return Path(psutil.Process(pid).cwd())
    except Exception:  # ended, or another user's; psutil's errors have no common ground with OSError
        return None
