"""Week 1, lab 04: a cold call's bill, a tree as lists, percentiles against a target, keys, held environments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, isclose
from statistics import mean, median
from typing import Any, Final

from labs.checks.grading import Check, Misconception, called

Leaf = Callable[[Mapping[str, Any], Sequence[float | None]], float]

_MB_A_GB: Final = 1024
_DAYS_A_MONTH: Final = 730 / 24


def _near(value: float, wanted: float, tolerance: float = 0.002) -> bool:
    return isclose(float(value), wanted, rel_tol=tolerance)


def _gb_seconds(milliseconds: float, memory_mb: float) -> float:
    return ceil(round(milliseconds, 6)) / 1000 * memory_mb / _MB_A_GB


billed = Check(
    id="week1_lambda.04.billed",
    question="How many GB-seconds are billed for that first call, with `init_ms`, `duration_ms` and `memory_mb` as its "
    "REPORT line has them?",
    is_right=lambda value, init_ms, duration_ms, memory_mb: _near(value, _gb_seconds(init_ms + duration_ms, memory_mb)),
    right=lambda _, init_ms, duration_ms, **__: (
        f"Yes: both phases, rounded up to the next millisecond. {init_ms / (init_ms + duration_ms):.0%} of it is "
        "for importing. Until August 2025 that part was free for a zip package; many pages on the web still say so."
    ),
    wrong="Milliseconds of both phases, rounded up, to seconds, times the memory in GB (1,024 MB).",
    misconceptions=(
        Misconception(
            "init is free",
            lambda value, duration_ms, memory_mb, **_: _near(value, _gb_seconds(duration_ms, memory_mb)),
            "You left out the init phase. It has been billed since 1 August 2025: compare Billed Duration in the line.",
        ),
        Misconception(
            "milliseconds",
            lambda value, init_ms, duration_ms, memory_mb: _near(
                value, 1000 * _gb_seconds(init_ms + duration_ms, memory_mb)
            ),
            "The report counts milliseconds, the price is per second.",
        ),
        Misconception(
            "megabytes",
            lambda value, init_ms, duration_ms, memory_mb: _near(
                value, _MB_A_GB * _gb_seconds(init_ms + duration_ms, memory_mb)
            ),
            "That is MB-seconds. The price is per GB.",
        ),
        Misconception(
            "only what was used",
            lambda value, init_ms, duration_ms, memory_mb: (
                0.01 < float(value) / _gb_seconds(init_ms + duration_ms, memory_mb) < 0.9
                and _gb_seconds(duration_ms, memory_mb) < 0.9 * float(value)
            ),
            "That is less than the memory it was given, times the time. Memory Size counts, not Max Memory Used.",
        ),
    ),
    hints=(
        "Which field of the REPORT line already holds both phases, rounded up?",
        "milliseconds / 1000 · megabytes / 1024",
    ),
)

# --- A tree as lists ------------------------------------------------------------------------------------------------

_TREE: Final[Mapping[str, Any]] = {
    "feature": [0, 1, -1, -1, 1, -1, -1],
    "threshold": [10.0, 5.0, 0.0, 0.0, 7.0, 0.0, 0.0],
    "missing_left": [True, False, False, False, True, False, False],
    "left": [1, 2, 0, 0, 5, 0, 0],
    "right": [4, 3, 0, 0, 6, 0, 0],
    "value": [0.01, -0.02, -0.5, 0.25, 0.03, 0.75, 1.5],
}
_STUMP: Final[Mapping[str, Any]] = {
    "feature": [-1], "threshold": [0.0], "missing_left": [False], "left": [0], "right": [0], "value": [0.1],
}  # fmt: skip
_ROWS: Final[tuple[tuple[float | None, float | None], ...]] = (
    (3.0, 4.0), (3.0, 6.0), (12.0, 6.0), (12.0, 9.0), (10.0, 5.0), (10.0, 7.0), (None, 4.0), (3.0, None), (12.0, None),
)  # fmt: skip
_KNOWN: Final = _ROWS[:4]
_EQUAL: Final = _ROWS[4:5]
_MISSING: Final = _ROWS[6:]


def _walk(tree: Mapping[str, Any], row: Sequence[float | None]) -> int:
    """The position of the leaf that a row ends in."""
    node = 0
    while tree["feature"][node] >= 0:
        value = row[tree["feature"][node]]
        goes_left = tree["missing_left"][node] if value is None else value <= tree["threshold"][node]
        node = tree["left"][node] if goes_left else tree["right"][node]
    return node


def _value(row: Sequence[float | None]) -> float:
    return float(_TREE["value"][_walk(_TREE, row)])


def _agrees(leaf: Leaf, rows: Iterable[Sequence[float | None]]) -> bool:
    return all(isclose(called(leaf, _TREE, list(row)), _value(row)) for row in rows)


def _is_leaf_value(leaf: Leaf) -> bool:
    return _agrees(leaf, _ROWS) and isclose(called(leaf, _STUMP, [1.0, 1.0]), 0.1)


def _fails_on_missing(leaf: Leaf) -> bool:
    if not _agrees(leaf, (*_KNOWN, *_EQUAL)):
        return False
    try:
        return not _agrees(leaf, _MISSING)
    except TypeError:
        return True


leaf_value = Check(
    id="week1_lambda.04.leaf",
    question="Write leaf(tree, row): walk from node 0 to a leaf and return its value.",
    is_right=_is_leaf_value,
    right="Yes. That is all of scikit-learn that this prediction needs: a comparison and a step, some hundred times.",
    wrong="On a small tree your answer differs from a walk by hand. Start at node 0; stop where `feature` is -1.",
    misconceptions=(
        Misconception(
            "the place of the leaf, not its value",
            lambda leaf: all(called(leaf, _TREE, list(row)) == _walk(_TREE, row) for row in _KNOWN),
            "You return where the leaf is. The prediction needs what it holds: tree['value'][node].",
        ),
        Misconception(
            "one step only",
            lambda leaf: all(
                called(leaf, _TREE, list(row)) == _TREE["value"][1 if (row[0] or 0) <= 10 else 4] for row in _KNOWN
            ),
            "You stop after one step, at a node that is not a leaf. Go on while `feature` is not -1.",
        ),
        Misconception(
            "equal goes right",
            lambda leaf: _agrees(leaf, _KNOWN) and not _agrees(leaf, _EQUAL),
            "A row whose number equals the threshold goes left: at most, not below.",
        ),
        Misconception(
            "a missing number",
            _fails_on_missing,
            "Known numbers end in the right leaf, a missing one (None) does not: each node says in `missing_left` "
            "where it belongs. None cannot be compared with a number.",
        ),
    ),
    hints=(
        "Keep the position of the current node in a variable, and loop while tree['feature'][node] >= 0.",
        "value = row[tree['feature'][node]] is None for what is missing: then tree['missing_left'][node] decides.",
        "node = tree['left'][node] if … else tree['right'][node]",
    ),
)

# --- The target -----------------------------------------------------------------------------------------------------


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[ceil(0.95 * len(values)) - 1]


def _below(
    first: Mapping[str, Sequence[float]], target: float, statistic: Callable[[Sequence[float]], float]
) -> set[str]:
    return {name for name, values in first.items() if statistic(values) < target}


def _by(statistic: Callable[[Sequence[float]], float]) -> Callable[..., bool]:
    def is_that(names: Iterable[str], first: Mapping[str, Sequence[float]], target: float) -> bool:
        found = _below(first, target, statistic)
        return set(names) == found != _below(first, target, _p95)

    return is_that


meets = Check(
    id="week1_lambda.04.meets",
    question="Which remedies meet the target: p95 of the first calls (`first`, milliseconds by remedy) below `target`? "
    "A list of names.",
    is_right=lambda names, first, target: set(names) == _below(first, target, _p95),
    right=lambda names, **_: (
        f"Yes: {len(set(names))} of them. A target on p95 asks for the slow calls, not for the usual ones; and it says "
        "nothing about what a remedy costs."
    ),
    wrong=lambda names, first, target: (
        f"{len(set(names) ^ _below(first, target, _p95))} of them are on the wrong side. Sort the calls of a remedy: "
        "which of 20 is the 95th percentile?"
    ),
    misconceptions=(
        Misconception("the usual call", _by(median), "You compared the median. Half of the callers wait longer."),
        Misconception("the average", _by(mean), "You compared the average, which hides the slow calls."),
        Misconception("the best call", _by(min), "You compared the fastest call of each. A target is not met by luck."),
        Misconception(
            "the other way round",
            lambda names, first, target: set(names) == set(first) - _below(first, target, _p95),
            "Those are the ones that miss it.",
        ),
        Misconception(
            "names that do not occur",
            lambda names, first, **_: not set(names) <= set(first),
            lambda _, first, **__: f"Use these names: {', '.join(first)}.",
        ),
    ),
    hints=(
        "Nearest rank, as in lab 03: of 20 calls the 19th, in order of size.",
        "[name for name, values in first.items() if np.percentile(values, 95, method='inverted_cdf') < target]",
    ),
)

# --- The front door -------------------------------------------------------------------------------------------------

_STATUS: Final[Mapping[str, int]] = {
    "no key": 403, "wrong key": 403, "too fast": 429, "unknown token": 401, "revoked token": 403,
}  # fmt: skip


def _says(situation: str, *statuses: int) -> Callable[..., bool]:
    return lambda answer: int(answer[situation]) in statuses


door = Check(
    id="week1_lambda.04.door",
    question=f"Which status does the door answer with? A dict with {', '.join(_STATUS)}.",
    is_right=lambda answer: {name: int(answer[name]) for name in _STATUS} == dict(_STATUS),
    right="Yes. 401 says: I do not know who you are. 403 says: I know enough, and you may not. 429 says: come back "
    "later; of the three it is the only one that a client should ever try again.",
    wrong="Not all five. Decide for each: is it unknown who asks, is it forbidden, or is it too much?",
    misconceptions=(
        Misconception(
            "a situation is missing",
            lambda answer: not set(_STATUS) <= set(answer),
            f"Say it for each: {', '.join(_STATUS)}.",
        ),
        Misconception(
            "a key says who you are",
            lambda answer: _says("wrong key", 401)(answer) or _says("no key", 401)(answer),
            "API Gateway does not take a key for an identity: it looks for a usage plan, finds none, and forbids. "
            "(Azure API Management does answer 401 here.)",
        ),
        Misconception(
            "the server is overloaded",
            _says("too fast", 500, 502, 503),
            "Nothing is wrong with the server. This caller has used up what its plan allows, and that is a 4xx.",
        ),
        Misconception(
            "too fast is forbidden",
            _says("too fast", 403),
            "Forbidden would mean: never. This caller may ask again in a moment, and there is a status that says so.",
        ),
        Misconception(
            "revoked is unknown",
            _says("revoked token", 401),
            "The authorizer knows this token, and answers with a policy that denies. Who asks is known.",
        ),
        Misconception(
            "unknown is forbidden",
            _says("unknown token", 403),
            "Here the authorizer raised Unauthorized: it does not know who asks. That has a status of its own.",
        ),
    ),
    hints=(
        "Three statuses are enough for the five: 401, 403, 429.",
        "Only one of them comes from not knowing who asks. Look at authorizer.py.",
    ),
)

# --- What is held ---------------------------------------------------------------------------------------------------


def _millions(requests_a_day: float) -> float:
    """Of requests a month."""
    return requests_a_day * _DAYS_A_MONTH / 1e6


held = Check(
    id="week1_lambda.04.held",
    question="Calls cost `usd_calls` per million. One environment is held all month for `usd_held`. What do a million "
    "calls cost with it, at `requests_a_day`?",
    is_right=lambda usd, usd_calls, usd_held, requests_a_day: _near(
        usd, usd_calls + usd_held / _millions(requests_a_day), 0.02
    ),
    right=lambda usd, usd_calls, requests_a_day, **_: (
        f"Yes: {float(usd) / usd_calls:,.0f} times as much. It takes {1 / _millions(requests_a_day):,.0f} months until "
        "a million calls have come, and the environment is held through all of them. At a thousand times the traffic "
        "the same holding is nearly nothing."
    ),
    wrong="What is held is paid by the month. How many months does a million calls take at this traffic?",
    misconceptions=(
        Misconception(
            "a month's holding",
            lambda usd, usd_calls, usd_held, **_: _near(usd, usd_calls + usd_held),
            "You added one month of holding to a million calls. At this traffic a month does not have a million.",
        ),
        Misconception(
            "only the holding",
            lambda usd, usd_calls, usd_held, requests_a_day: (
                abs(usd - usd_held / _millions(requests_a_day)) < usd_calls / 10
            ),
            "The calls themselves are still paid.",
        ),
        Misconception(
            "a day's requests",
            lambda usd, usd_calls, usd_held, requests_a_day: _near(usd, usd_calls + usd_held / (requests_a_day / 1e6)),
            "The holding is for a month, your requests are for a day.",
        ),
        Misconception(
            "nothing changes",
            lambda usd, usd_calls, **_: _near(usd, usd_calls),
            "Holding is paid whether anybody calls or not.",
        ),
    ),
    hints=(
        "How many million requests does a month have? requests_a_day · 30.4 / 1,000,000, far less than one.",
        "usd_calls + usd_held / (millions a month)",
    ),
)

CHECKS: Final[Sequence[Check]] = (billed, leaf_value, meets, door, held)
