"""Functions' metrics in CloudWatch: counted as invocations end, recorded every second, saved now and then.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html. Counts are recorded as the sum of a second
(their SampleCount is therefore not the number of invocations); durations one by one. What was recorded in the last
seconds before MiniStack is killed may be missing: metrics are best effort, the ledger is exact.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ministack.core.responses import request_scope
from ministack.services import cloudwatch

from localcloud.aws.functions.services import Services

_RECORD_SECONDS: Final = 1.0
_SAVE_SECONDS: Final = 5.0
_NAMESPACE: Final = "AWS/Lambda"

Function = tuple[str, str, str]
"""Account, region and name."""


@dataclass
class _Sums:
    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    durations: list[float] = field(default_factory=list)


class FunctionMetrics:
    """Collects what happened; safe to share between threads."""

    def __init__(self, calls: Services, save_soon: Callable[[Iterable[str]], None]) -> None:
        self._calls = calls
        self._save_soon = save_soon
        self._guard = threading.Lock()
        self._sums: dict[Function, _Sums] = defaultdict(_Sums)
        self._saved = 0.0

    def invoked(self, function: Function, duration_ms: float, *, failed: bool) -> None:
        """One invocation has ended."""
        with self._guard:
            is_first, sums = not self._sums, self._sums[function]
            sums.invocations += 1
            sums.errors += failed
            sums.durations.append(duration_ms)
        self._record_later(is_first)

    def throttled(self, function: Function) -> None:
        """One request was turned away; it is no invocation."""
        with self._guard:
            is_first = not self._sums
            self._sums[function].throttles += 1
        self._record_later(is_first)

    def _record_later(self, is_first: bool) -> None:
        if is_first:
            self._calls.soon(self._schedule)

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_later(_RECORD_SECONDS, self._record)

    def _record(self) -> None:
        with self._guard:
            found, self._sums = self._sums, defaultdict(_Sums)
        for (account, region, name), sums in found.items():
            with request_scope(account, region):
                _record(name, sums)
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()
        else:
            asyncio.get_running_loop().call_later(_SAVE_SECONDS, self._save)

    def _save(self) -> None:
        if time.monotonic() - self._saved > _SAVE_SECONDS / 2:
            self._saved = time.monotonic()
            self._save_soon(("cloudwatch",))


def _record(name: str, sums: _Sums) -> None:
    dimensions = {"FunctionName": name}
    if sums.invocations:
        cloudwatch.record_metric(_NAMESPACE, "Invocations", sums.invocations, "Count", dimensions)
        cloudwatch.record_metric(_NAMESPACE, "Errors", sums.errors, "Count", dimensions)
    cloudwatch.record_metric(_NAMESPACE, "Throttles", sums.throttles, "Count", dimensions)
    for duration in sums.durations:
        cloudwatch.record_metric(_NAMESPACE, "Duration", duration, "Milliseconds", dimensions)
