"""What the kernel says about processes. Imports nothing slow: the shim runs it, and must boot in milliseconds.

Linux is read from /proc (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html); elsewhere psutil answers.
"""

from __future__ import annotations

import os
import sys

LINUX = sys.platform.startswith("linux")
_DEAD = ("Z", "X", "x")


class Stat:
    """One process at one moment."""

    __slots__ = ("group", "parent", "pid", "resident_bytes", "session", "start", "state")

    def __init__(self, pid: int, text: str) -> None:
        # The command name is in parentheses and may itself hold spaces and parentheses.
        fields = text[text.rindex(")") + 2 :].split()
        self.pid = pid
        self.state = fields[0]
        self.parent, self.group, self.session = int(fields[1]), int(fields[2]), int(fields[3])
        self.start = int(fields[19])
        self.resident_bytes = int(fields[21]) * _PAGE_BYTES

    @property
    def dead(self) -> bool:
        """True for a zombie: it runs no code and holds no memory, it only waits to be collected."""
        return self.state in _DEAD


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def stat(pid: int) -> Stat | None:
    """The process, or None when there is none."""
    if not LINUX:
        return _stat_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is slow
            return Stat(pid, file.read())
    except (OSError, ValueError):
        return None


def all_pids() -> list[int]:
    """Every process that this user can see."""
    if not LINUX:
        import psutil

        return psutil.pids()
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - pathlib is slow


def snapshot() -> list[Stat]:
    """Every live process (zombies left out)."""
    found = (stat(pid) for pid in all_pids())
    return [each for each in found if each is not None and not each.dead]


def descendants(pid: int, processes: list[Stat]) -> list[Stat]:
    """The live processes below one, at any depth."""
    children: dict[int, list[Stat]] = {}
    for each in processes:
        children.setdefault(each.parent, []).append(each)
    found: list[Stat] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += [each.pid for each in below]
    return found


def boot_id() -> str:
    """Changes when the machine starts again: process ids and start ticks then mean something else."""
    if not LINUX:
        import psutil

        return str(int(psutil.boot_time()))
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - pathlib is slow
        return file.read().strip()


def environment_value(pid: int, name: str) -> str | None:
    """A variable of another process's first environment; None when unset, unreadable, or the process is gone."""
    if not LINUX:
        return _environment_by_psutil(pid).get(name)
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - pathlib is slow
            block = b"\0" + file.read()
    except OSError:
        return None
    start = block.find(b"\0" + name.encode() + b"=")
    if start < 0:
        return None
    start += len(name) + 2
    end = block.find(b"\0", start)
    return os.fsdecode(block[start : end if end >= 0 else len(block)])


def _stat_by_psutil(pid: int) -> Stat | None:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            state = "Z" if process.status() == psutil.STATUS_ZOMBIE else "S"
            start = int(process.create_time() * 1e6)
            pages = 0 if state == "Z" else process.memory_info().rss // _PAGE_BYTES
            group, session = os.getpgid(pid), os.getsid(pid)
            filler = " 0" * 15
            return Stat(pid, f"() {state} {process.ppid()} {group} {session}{filler} {start} 0 {pages}")
    except (psutil.Error, OSError):
        return None


def _environment_by_psutil(pid: int) -> dict[str, str]:
    import psutil

    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return {}
