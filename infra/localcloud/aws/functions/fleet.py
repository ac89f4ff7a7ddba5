"""All execution environments: which are free, which are provisioned, and when one is no longer needed."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from localcloud.aws.functions.environment import Environment, Initialization, Setting, Started
from localcloud.aws.functions.runtimes import FunctionVersion

_LOG: Final = logging.getLogger(__name__)
INIT_SECONDS: Final = 10.0
"""https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
IDLE_SECONDS: Final = 300.0
"""After which a free environment ends. AWS names no figure; minutes are what people measure."""
MOST_IDLE: Final = 32
"""Free on-demand environments kept on this machine; beyond it the least recently used end."""
_STARTS_AT_A_TIME: Final = 2 * (os.cpu_count() or 1)
_TURN_SECONDS: Final = 5.0
_REAP_SECONDS: Final = 10.0

Key = tuple[str, str, str, str]


class Fleet:
    """The environments of all functions. Safe to share between threads."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._guard = threading.Lock()
        self._free: dict[Key, list[Environment]] = defaultdict(list)
        self._busy: set[Environment] = set()
        self._provisioned: dict[Key, int] = {}
        self._starts = threading.Semaphore(_STARTS_AT_A_TIME)
        threading.Thread(target=self._reap_for_ever, name="lambda-reaper", daemon=True).start()

    def acquire(self, function: FunctionVersion) -> Environment | None:
        """A free environment, provisioned ones first, the most recently used first; None when a new one is needed."""
        with self._guard:
            free = self._free[function.key]
            free.sort(key=lambda each: (each.is_provisioned, each.last_used))
            while free:
                found = free.pop()
                if found.alive and found.function == function:
                    self._busy.add(found)
                    return found
                self._end_later(found)
        return None

    def create(self, function: FunctionVersion, initialization: Initialization = "on-demand") -> Environment:
        """A new environment, not yet started, leased to the caller."""
        made = Environment(function, self._setting, initialization)
        with self._guard:
            self._busy.add(made)
        return made

    @contextlib.contextmanager
    def turn_to_start(self) -> Iterator[None]:
        """Hold while an environment starts: a burst must not slow down every start beyond INIT's limit.

        After a while it is given anyway: code that calls another function while it starts must not wait for itself.
        """
        own = self._starts.acquire(timeout=_TURN_SECONDS)
        try:
            yield
        finally:
            if own:
                self._starts.release()

    def release(self, environment: Environment) -> None:
        """Give a leased environment back; one that is dead or out of date is ended."""
        with self._guard:
            self._busy.discard(environment)
            if environment.alive:
                self._free[environment.function.key].append(environment)
                return
        environment.discard()
        self._replace_provisioned(environment)

    def provision(self, function: FunctionVersion, count: int, on_start: Callable[[Started], None]) -> int:
        """Start environments until `count` are provisioned; returns how many there are. Ends surplus ones."""
        with self._guard:
            self._provisioned[function.key] = count
        while self._count_provisioned(function.key) < count:
            made = self.create(function, "provisioned-concurrency")
            with self.turn_to_start():
                started = made.start(INIT_SECONDS)
            on_start(started)
            with self._guard:
                still_wanted = self._provisioned.get(function.key, 0) == count
            if started.failure or not still_wanted:
                with self._guard:
                    self._busy.discard(made)
                made.discard()
                break
            self.release(made)
        self._end_surplus(function.key)
        return self._count_provisioned(function.key)

    def deprovision(self, key: Key) -> None:
        """End a version's provisioned environments (those at work: when they are done)."""
        with self._guard:
            self._provisioned.pop(key, None)
        self._end_surplus(key)

    def invalidate(self, account: str, region: str, name: str, version: str | None = None) -> None:
        """A function or version has changed or is gone: its environments serve no further event."""
        with self._guard:
            keys = [key for key in self._free if key[:3] == (account, region, name) and version in (None, key[3])]
            for key in keys:
                for environment in self._free.pop(key):
                    self._end_later(environment)
            for environment in self._busy:
                own = environment.function.key
                if own[:3] == (account, region, name) and version in (None, own[3]):
                    environment.retired = True

    def close(self) -> None:
        """End everything."""
        with self._guard:
            found = [each for free in self._free.values() for each in free] + list(self._busy)
            self._free.clear()
        for environment in found:
            environment.discard()

    def reap(self, now: float | None = None) -> None:
        """End on-demand environments that have been free for long, and the oldest of too many."""
        moment = time.monotonic() if now is None else now
        with self._guard:
            free = [each for some in self._free.values() for each in some if not each.is_provisioned]
            free.sort(key=lambda each: each.last_used, reverse=True)
            doomed = [each for each in free[:MOST_IDLE] if moment - each.last_used > IDLE_SECONDS or not each.alive]
            for environment in [*doomed, *free[MOST_IDLE:]]:
                self._free[environment.function.key].remove(environment)
                self._end_later(environment)

    def _count_provisioned(self, key: Key) -> int:
        with self._guard:
            return sum(
                each.function.key == key and each.is_provisioned and each.alive
                for each in [*self._free.get(key, ()), *self._busy]
            )

    def _end_surplus(self, key: Key) -> None:
        while True:
            with self._guard:
                free = [each for each in self._free.get(key, ()) if each.is_provisioned]
                busy = [each for each in self._busy if each.function.key == key and each.is_provisioned]
                surplus = len(free) + len(busy) - self._provisioned.get(key, 0)
                if surplus <= 0:
                    return
                if not free:
                    for each in busy[:surplus]:
                        each.retired = True
                    return
                self._free[key].remove(free[0])
            free[0].discard()

    def _replace_provisioned(self, dead: Environment) -> None:
        """Lambda replaces a provisioned environment that has ended."""
        wanted = self._provisioned.get(dead.function.key, 0)
        if dead.is_provisioned and wanted and not dead.retired:
            arguments = (dead.function, wanted, lambda _: None)
            threading.Thread(target=self.provision, args=arguments, daemon=True).start()

    @staticmethod
    def _end_later(environment: Environment) -> None:
        environment.retired = True
        threading.Thread(target=environment.discard, name="lambda-end", daemon=True).start()

    def _reap_for_ever(self) -> None:
        pause = threading.Event()
        while not pause.wait(_REAP_SECONDS):
            try:
                self.reap()
            except Exception:
                _LOG.exception("idle environments were not ended")
