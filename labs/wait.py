"""Waiting on conditions, with a progress line; never a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from labs.show import Progress

T = TypeVar("T")
_FIRST_POLL: Final = 0.02


class WaitTimeoutError(TimeoutError):
    """The condition did not come true in time; the message names what was last seen."""


class FailedStateError(RuntimeError):
    """What was waited for ended in a failed state."""


def wait_until(
    condition: Callable[[], T], timeout: float, label: str = "Waiting", *, every: float = 0.25, quiet: bool = False
) -> T:
    """Poll `condition` until it returns something true, and return that.

    `timeout` and `every` are seconds; polling begins faster and slows down to `every` (use 5 or more on a real account,
    where calls are throttled). `quiet` shows no progress. Raises WaitTimeoutError naming the last value.
    """
    deadline = time.monotonic() + timeout
    pause = min(_FIRST_POLL, every)
    with Progress(label, quiet=quiet) as progress:
        while not (value := condition()):
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"{label}: not within {timeout:g} s (last seen: {value!r})."
                    " Look at the logs (lab logs), or wait longer with timeout=."
                )
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, every)
            progress.update()
    return value


def wait_for_status(
    status: Callable[[], str],
    wanted: str | Collection[str],
    timeout: float,
    label: str = "Waiting",
    *,
    failed: Collection[str] = ("Failed",),
    reason: Callable[[], str] | None = None,
    every: float = 0.25,
) -> str:
    """Poll a status (such as `EndpointStatus`) until it is a wanted one, and return it.

    Raises FailedStateError, with what `reason` returns, as soon as the status is in `failed`; WaitTimeoutError after
    `timeout` seconds.
    """
    good = {wanted} if isinstance(wanted, str) else set(wanted)
    seen = ""

    def arrived() -> str | None:
        nonlocal seen
        seen = status()
        return seen if seen in good or seen in failed else None

    try:
        wait_until(arrived, timeout, label, every=every)
    except WaitTimeoutError as error:
        raise WaitTimeoutError(f"{label}: still {seen!r} after {timeout:g} s, wanted {sorted(good)}.") from error
    if seen in good:
        return seen
    raise FailedStateError(f"{label}: {seen}. {reason() if reason else ''}".strip())
