"""Invocations through the SDK: what a handler sees, what the caller gets, what REPORT says."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.contract
def test_the_first_call_has_an_init_and_the_second_has_not(functions: Any) -> None:
    name = functions.create()
    first = functions.invoke(name, {"a": [1, 2.5, "é"]})
    second = functions.invoke(name, {"b": None})
    print(first.log, second.log)
    assert (first.payload, first.error) == ({"a": [1, 2.5, "é"]}, None)
    assert second.payload == {"b": None}
    assert "Init Duration" in first.report
    assert "Init Duration" not in second.report
