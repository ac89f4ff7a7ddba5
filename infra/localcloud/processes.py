"""Finds the local cloud's own processes by the marks in their environment; the state file is not needed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from localcloud.home import Home
from localcloud.parts import HOME_VARIABLE, PART_VARIABLE, PORTS_VARIABLE
from localcloud.runtime import procfs
from localcloud.runtime.process import Identity

_MARKS: Final = (HOME_VARIABLE, PART_VARIABLE, PORTS_VARIABLE)


@dataclass(frozen=True)
class Marked:
    """A live process (no zombie) that carries a home's mark."""

    identity: Identity
    marks: Mapping[str, str]
    leads_session: bool
    """False for what a part has started itself."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.identity.pid

    @property
    def part(self) -> str | None:
        """The part that it is or belongs to; None for jobs and replicas."""
        return self.marks.get(PART_VARIABLE)


def of_home(home: Home) -> list[Marked]:
    """All live processes started for this home, by whoever."""
    boot = procfs.boot_id()
    found = []
    for each in procfs.snapshot():
        if procfs.environment_value(each.pid, HOME_VARIABLE) == str(home.root):
            identity = Identity(each.pid, each.start, boot)
            found.append(Marked(identity, _marks(each.pid), each.session == each.pid))
    return found


def _marks(pid: int) -> dict[str, str]:
    values = {name: procfs.environment_value(pid, name) for name in _MARKS}
    return {name: value for name, value in values.items() if value is not None}
