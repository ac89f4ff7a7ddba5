"""Waiting on conditions: what is returned, and what is said when it does not come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.wait import FailedStateError, WaitTimeoutError, wait_for_status, wait_until


def steps(*values: str) -> Iterator[str]:
    yield from values
    while True:
        yield values[-1]


def test_wait_returns_what_came_true() -> None:
    values = steps("", "", "ready")
    assert wait_until(lambda: next(values), 5, every=0.01) == "ready"


def test_wait_names_what_was_last_seen() -> None:
    with pytest.raises(WaitTimeoutError, match=r"Jobs: not within 0.05 s \(last seen: 0\)"):
        wait_until(lambda: 0, 0.05, "Jobs", every=0.01)


@pytest.mark.parametrize("wanted", ["InService", {"InService", "Updating"}])
def test_status_arrives(wanted: str | set[str]) -> None:
    values = steps("Creating", "Creating", "InService")
    assert wait_for_status(lambda: next(values), wanted, 5, every=0.01) == "InService"


def test_failed_status_ends_the_wait_with_its_reason() -> None:
    values = steps("Creating", "Failed")
    with pytest.raises(FailedStateError, match=r"Endpoint: Failed\. no /ping"):
        wait_for_status(lambda: next(values), "InService", 5, "Endpoint", reason=lambda: "no /ping", every=0.01)


def test_status_that_does_not_come_is_named() -> None:
    with pytest.raises(WaitTimeoutError, match=r"still 'Creating' after 0.05 s, wanted \['InService'\]"):
        wait_for_status(lambda: "Creating", "InService", 0.05, every=0.01)
