"""An execution environment: one process that serves one event at a time, as often as it is asked to.

It starts (INIT), then handles invocations until it is stopped, dies, runs into a timeout, or exceeds its memory. A
handler that raises leaves it as it is.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Literal
from uuid import uuid4

from localcloud.aws.functions import failures, memory, runtimes
from localcloud.aws.functions.failures import Failure
from localcloud.aws.functions.memory import MemoryWatch
from localcloud.aws.functions.runtime_api import Happening, Invocation, RuntimeApiServer
from localcloud.aws.functions.runtimes import FunctionVersion, Platform
from localcloud.runtime import process

Initialization = Literal["on-demand", "provisioned-concurrency"]

_MB: Final = 1 << 20
_LONG_LOG_BYTES: Final = 8 << 20


@dataclass(frozen=True)
class Setting:
    """What environments need of the place they run in."""

    platform: Platform
    server: RuntimeApiServer
    watch: MemoryWatch
    folder: Path
    """Each environment gets a folder in it."""
    token_scope: str
    """Of the processes' tokens."""


@dataclass(frozen=True)
class Started:
    """How INIT went."""

    milliseconds: float
    failure: Failure | None
    output: str


@dataclass(frozen=True)
class Outcome:
    """How an invocation went: an answer, or a failure."""

    milliseconds: float
    answer: bytes
    failure: Failure | None
    output: str
    used_mb: int


class Environment:
    """One environment of one function version. Used by one thread at a time."""

    def __init__(self, function: FunctionVersion, setting: Setting, initialization: Initialization) -> None:
        self.function = function
        self.initialization: Initialization = initialization
        self.stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{function.version}]{uuid4().hex}"
        self.last_used = time.monotonic()
        self.retired = False
        """Set when its function has changed: it is not used again."""
        self._setting = setting
        self._folder = setting.folder / uuid4().hex
        self._happenings: SimpleQueue[Happening] = SimpleQueue()
        self._api = setting.server.open(self._happenings)
        self._identity: process.Identity | None = None
        self._log_read = 0
        self._dead = False
        self._peak = 0

    @property
    def used_mb(self) -> int:
        """The peak so far, as REPORT has it: never more than the limit."""
        return min(self.function.memory_mb, -(-self._peak // _MB))

    @property
    def alive(self) -> bool:
        """Whether it can be used."""
        return self._identity is not None and not self._dead and not self.retired

    @property
    def is_provisioned(self) -> bool:
        """Whether it was started beforehand."""
        return self.initialization == "provisioned-concurrency"

    @property
    def pid(self) -> int:
        """Of its process; 0 before it starts."""
        return self._identity.pid if self._identity else 0

    def start(self, seconds: float, request_id: str = "") -> Started:
        """INIT: from the start of the process until the runtime asks for its first event."""
        began = time.perf_counter()
        self._spawn()
        self._watch()
        happening = self._wait(began + seconds, until=("ready", "init error"))
        self._peak = max(self._setting.watch.end(self.pid), memory.peak_bytes(self.pid))
        ended = happening.moment if happening else time.perf_counter()
        failure = None if happening and happening.kind == "ready" else self._failure(happening, request_id, seconds)
        if failure is not None:
            self.stop()
        return Started((ended - began) * 1000, failure, self._output())

    def invoke(self, invocation: Invocation, seconds: float) -> Outcome:
        """Hand one event to the handler and wait for its answer, at most `seconds`."""
        began = time.perf_counter()
        self._api.handed_out = 0.0
        self._watch()
        self._api.submit(invocation)
        happening = self._wait(began + seconds, until=("response", "error", "too large"))
        sampled = self._setting.watch.end(self.pid)
        peak = max(sampled, memory.peak_bytes(self.pid))
        if happening and happening.kind in ("response", "error") and peak > self._limit:
            happening = Happening("out of memory", happening.moment)  # between two looks of the watch
        if happening and happening.kind == "out of memory":
            self._peak = self._limit  # the process is gone, and its figures with it
        milliseconds = seconds * 1000
        if happening is not None:
            milliseconds = (happening.moment - (self._api.handed_out or began)) * 1000
        answered = happening is not None and happening.kind == "response"
        failure = None if answered else self._failure(happening, invocation.request_id, seconds)
        if happening is None or happening.kind in ("exited", "out of memory"):
            self.stop()
        self.last_used = time.monotonic()
        self._peak = max(self._peak, peak)
        answer = happening.body if happening and answered else b""
        return Outcome(max(milliseconds, 0.01), answer, failure, self._output(), self.used_mb)

    def stop(self) -> None:
        """End the process and everything it started, and delete its folder; a second time does no harm."""
        self._dead = True
        self._setting.watch.end(self.pid)
        self._api.close()
        if self._identity is not None:
            process.kill_all(self._identity)

    def discard(self) -> None:
        """Stop, and delete its folder: what it printed has been read."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _limit(self) -> int:
        return self.function.memory_mb * _MB

    @property
    def _log(self) -> Path:
        return self._folder / "output.log"

    def _spawn(self) -> None:
        tmp = self._folder / "tmp"
        tmp.mkdir(mode=0o700, parents=True)
        variables = runtimes.environment(
            self.function, self._setting.platform, api_port=self._api.port, stream=self.stream,
            initialization=self.initialization, tmp=tmp,
        )  # fmt: skip
        self._identity = process.spawn(
            runtimes.command(self.function.handler),
            env=variables, cwd=self.function.code, log=self._log,
            token=process.new_token(self._setting.token_scope), on_exit=self._exited,
        )  # fmt: skip

    def _exited(self, code: int) -> None:
        self._dead = True
        self._happenings.put(Happening("exited", time.perf_counter(), code=code))

    def _watch(self) -> None:
        self._setting.watch.begin(self.pid, self._limit, self._exceeded)

    def _exceeded(self) -> None:
        self._dead = True
        self._happenings.put(Happening("out of memory", time.perf_counter()))
        if self._identity is not None:
            process.kill_group(self._identity)

    def _wait(self, deadline: float, until: tuple[str, ...]) -> Happening | None:
        """The next of these, or the environment's end; None at the deadline."""
        while True:
            try:
                happening = self._happenings.get(timeout=max(0.0, deadline - time.perf_counter()))
            except Empty:
                return None
            if happening.kind in (*until, "exited", "out of memory"):
                return happening

    def _failure(self, happening: Happening | None, request_id: str, seconds: float) -> Failure:
        if happening is None:
            return failures.timed_out(request_id, seconds)
        if happening.kind == "out of memory":
            return failures.out_of_memory(request_id)
        if happening.kind == "exited":
            return failures.exited(request_id, happening.code)
        if happening.kind == "too large":
            return failures.too_large(happening.code)
        return failures.reported(happening.body)

    def _output(self) -> str:
        """What the process has printed since the last look. It writes to a file: all of it is there."""
        try:
            with self._log.open("r+b") as file:
                file.seek(self._log_read)
                text = file.read()
                self._log_read += len(text)
                if self._log_read > _LONG_LOG_BYTES:
                    os.ftruncate(file.fileno(), 0)  # it is written in append mode
                    self._log_read = 0
        except FileNotFoundError:
            return ""
        return text.decode(errors="replace")
