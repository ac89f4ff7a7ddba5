"""Background loops that survive their own errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_LOG = logging.getLogger(__name__)


class Loop:
    """Calls a function again and again in a thread of its own: every `seconds`, and at once when woken.

    An exception is logged and the loop goes on.
    """

    def __init__(self, name: str, seconds: float, function: Callable[[], object]) -> None:
        self.name = name
        self._seconds = seconds
        self._function = function
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call is made at once."""
        self._thread.start()

    def wake(self) -> None:
        """Make the next call now (or right after the present one)."""
        self._wake.set()

    def stop(self, timeout: float = 5.0) -> None:
        """Make no further call, and wait for the present one to end."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._function()
            except Exception:
                _LOG.exception("the loop %s failed; it goes on", self.name)
            self._wake.wait(self._seconds)
            self._wake.clear()
