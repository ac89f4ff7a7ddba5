"""Runs one job: `python -I -S shim.py FOLDER LOCK`. The parent of the job's processes, so that nobody else need be.

It reads FOLDER/spec.json, starts the command in a session of its own, enforces the limits, and reports by rename in
FOLDER/status.json when the job starts and when it ends. LOCK is an inherited descriptor that holds an exclusive flock
on FOLDER/lock: as long as the lock is held, the job is looked after. FOLDER/stop.json or SIGTERM asks it to stop.

Standard library only and few imports: a job must not wait for its shim.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.abspath(__file__ + "/../../.."))  # noqa: PTH100 - pathlib is slow

from localcloud.runtime import procfs

if False:  # for the type checker: importing typing takes as long as starting the interpreter
    from typing import Any, NoReturn

_TICK_SECONDS = 0.15
_KILL_SECONDS = 10.0
_REPORT_SECONDS = 600.0  # a full disk may be freed by then
_SMALLEST_ADDRESS_SPACE = 16 << 30  # RLIMIT_AS counts reservations: it only stops the absurd
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, https://man7.org/linux/man-pages/man2/prctl.2.html


class CannotStartError(Exception):
    """The command could not be executed; holds the error number and the text."""


class Run:
    """One run of the job, from its start to its end."""

    def __init__(self, folder: str, spec: dict[str, Any], lock: int) -> None:
        self.folder = folder
        self.spec = spec
        self.limits = spec["limits"]
        self.lock = lock
        self.pid = 0
        self.exit_code: int | None = None
        self.reason: str | None = None
        self.message = ""
        self.peak = 0
        self.kill_at: float | None = None
        self.began = time.monotonic()
        self.status: dict[str, Any] = {"state": "running", "shim": _identity(os.getpid())}

    def start(self) -> None:
        """Start the command; raises CannotStartError."""
        self.status["started"] = time.time()
        self.pid = _start(self.spec)
        self.status["main"] = _identity(self.pid)
        self.report(patience=0)

    def look(self, asked_to_stop: bool) -> bool:
        """Collect what ended, check the limits; False when the job is over."""
        self.collect()
        if self.exit_code is not None:
            return False
        os.utime(self.lock)  # the last sign of life, should this process be killed
        self.check_stop(asked_to_stop)
        self.check_time()
        self.check_log()
        self.check_memory()
        return True

    def collect(self) -> None:
        """Reap every child that ended: the job's main process and orphans that came to us."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    code = os.waitstatus_to_exitcode(status)
                    self.exit_code = 128 - code if code < 0 else code

    def check_stop(self, asked: bool) -> None:
        """End the job when somebody asks."""
        wanted = stop_reason(self.folder) or ("stopped" if asked else None)
        if wanted:
            self.end(wanted, "")

    def check_time(self) -> None:
        """End the job after its wall-clock limit, and by force after the grace."""
        now, limit = time.monotonic(), self.limits["wall_seconds"]
        if limit is not None and now - self.began > limit:
            self.end("wall-time", f"It ran longer than its limit of {limit:g} s.")
        if self.kill_at is not None and now >= self.kill_at:
            self.signal_all(signal.SIGKILL)

    def check_log(self) -> None:
        """End the job when its log is too long, and cut the log."""
        limit = self.limits["log_bytes"]
        if limit is not None and _size(self.spec["log"]) > limit:
            self.end("log-size", f"Its log exceeded the limit of {limit} bytes, and was cut there.", force=True)

    def check_memory(self) -> None:
        """End the job when it and what it started hold too much memory."""
        used = sum(each.resident_bytes for each in self.living())
        self.peak = max(self.peak, used)
        limit = self.limits["memory_bytes"]
        if limit is not None and used > limit:
            text = f"It used {used >> 20} MiB of memory, more than its limit of {limit >> 20} MiB."
            self.end("memory", text, force=True)

    def end(self, reason: str, message: str, force: bool = False) -> None:
        """SIGTERM now and SIGKILL after the grace; or SIGKILL at once. The first reason is the one that counts."""
        first = self.reason is None
        if first:
            self.reason, self.message = reason, message
        if force:
            self.signal_all(signal.SIGKILL)
        elif first:
            self.kill_at = time.monotonic() + self.limits["stop_grace_seconds"]
            self.signal_all(signal.SIGTERM)

    def living(self) -> list[procfs.Stat]:
        """Everything alive that the job started; orphans too, for they become children of this process."""
        if self.pid == 0:
            return []  # nothing started; and session 0 is the kernel's
        everything = procfs.snapshot()
        below = procfs.descendants(os.getpid(), everything)
        seen = {each.pid for each in below}
        return below + [each for each in everything if each.session == self.pid and each.pid not in seen]

    def signal_all(self, number: int) -> int:
        """Signal everything alive; returns how many."""
        found = self.living()
        for each in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, number)
        return len(found)

    def clean_up(self) -> None:
        """Kill what the main process left behind."""
        deadline = time.monotonic() + _KILL_SECONDS
        while self.signal_all(signal.SIGKILL) and time.monotonic() < deadline:
            time.sleep(0.005)
            self.collect()
        self.collect()

    def finish(self) -> None:
        """Report the end."""
        self.check_log()
        limit = self.limits["log_bytes"]
        if limit is not None and self.reason == "log-size":
            with contextlib.suppress(OSError):
                os.truncate(self.spec["log"], limit)
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1024 if procfs.LINUX else 1)
        self.status.update(
            state="ended",
            reason=self.reason or "exit",
            exit_code=self.exit_code,
            ended=time.time(),
            peak_memory_bytes=max(self.peak, largest),
            message=self.message,
        )
        self.report(patience=_REPORT_SECONDS)

    def report(self, patience: float) -> None:
        """Write status.json by rename; while that fails (a full disk) try again for `patience` seconds."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return write_json(self.folder + "/status.json", self.status)
            except OSError as error:
                print(f"status.json cannot be written: {error}", file=sys.stderr, flush=True)
                if time.monotonic() >= deadline:
                    return None
                time.sleep(0.5)


def main() -> None:
    """Run the job in the folder named on the command line."""
    folder, lock = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(lock, False)
    _become_subreaper()
    wakes = _wake_on(signal.SIGCHLD, signal.SIGTERM)
    with open(folder + "/spec.json") as file:  # noqa: PTH123 - pathlib is slow
        run = Run(folder, json.load(file), lock)
    wanted = stop_reason(folder)
    if wanted:
        run.reason, run.message = wanted, "It was stopped before it started."
        return run.finish()
    try:
        run.start()
    except CannotStartError as error:
        number, text = error.args
        run.reason, run.exit_code = "cannot-start", 127 if number == errno.ENOENT else 126
        run.message = f"{spec_text(run.spec)} cannot be started: {text}."
        return run.finish()
    _watch(run, wakes)
    run.clean_up()
    return run.finish()


def _watch(run: Run, wakes: int) -> None:
    asked = False
    while run.look(asked):
        if select.select([wakes], [], [], _TICK_SECONDS)[0]:
            asked = asked or signal.SIGTERM in os.read(wakes, 4096)


def spec_text(spec: dict[str, Any]) -> str:
    """The command, for a message."""
    return f"Command {spec['command'][0]!r} in {spec['working_folder']}"


def stop_reason(folder: str) -> str | None:
    """Why somebody wants the job stopped; None when nobody does."""
    try:
        with open(folder + "/stop.json") as file:  # noqa: PTH123 - pathlib is slow
            return str(json.load(file)["reason"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError):
        return "stopped"


def write_json(path: str, content: dict[str, Any]) -> None:
    """Replace a file by rename. Not synced: it must survive this process, not a power cut."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w") as file:  # noqa: PTH123 - pathlib is slow
        json.dump(content, file)
    os.replace(temporary, path)  # noqa: PTH105 - pathlib is slow


def _identity(pid: int) -> dict[str, Any]:
    found = procfs.stat(pid)
    start = found.start if found else 0
    return {"pid": pid, "start": start, "boot": procfs.boot_id(), "token": os.environ.get("LAB_PROCESS", "")}


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - pathlib is slow
    except OSError:
        return 0


def _become_subreaper() -> None:
    """Let orphans of the job become children of this process (Linux), so that none escapes its limits."""
    if procfs.LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _wake_on(*signals: int) -> int:
    """A descriptor that receives a byte, the signal's number, for each signal."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _start(spec: dict[str, Any]) -> int:
    """Fork and execute; returns the pid once the command runs. Raises CannotStartError."""
    reader, writer = os.pipe()  # closed by a successful exec
    pid = os.fork()
    if pid == 0:
        _become_command(spec, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        failure = pipe.read()
    if failure:
        os.waitpid(pid, 0)
        raise CannotStartError(*json.loads(failure))
    return pid


def _become_command(spec: dict[str, Any], writer: int) -> NoReturn:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _redirect(spec["log"])
        _limit(spec["limits"]["memory_bytes"])
        os.chdir(spec["working_folder"])
        env = {**spec["env"], "LAB_PROCESS": os.environ.get("LAB_PROCESS", "")}
        os.execvpe(spec["command"][0], spec["command"], env)  # noqa: S606 - running commands is what it is for
    except OSError as error:
        os.write(writer, json.dumps([error.errno, error.strerror]).encode())
    except BaseException as error:
        os.write(writer, json.dumps([0, repr(error)]).encode())
    os._exit(127)


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _limit(memory_bytes: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None and procfs.LINUX:
        most = max(4 * memory_bytes, _SMALLEST_ADDRESS_SPACE)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
