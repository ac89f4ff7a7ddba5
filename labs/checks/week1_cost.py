"""Week 1, lab 05: what a request costs, where two ways of serving cost the same, what moves that, and a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, isclose
from typing import Any, Final

from labs.checks.grading import Check, Misconception

_DAYS: Final = 730 / 24
_FIELDS: Final = ("choice", "usd_a_month", "changes_above")


def _near(value: float, wanted: float, tolerance: float = 0.02) -> bool:
    return isclose(float(value), wanted, rel_tol=tolerance)


def _billed(milliseconds: float) -> int:
    return ceil(round(milliseconds, 6))


def _gb_seconds(milliseconds: float, memory_mb: float) -> float:
    return _billed(milliseconds) / 1000 * memory_mb / 1024


def _is_scaled(answer: float, scale: float, milliseconds: float, memory_mb: float) -> bool:
    """Whether it is the answer in another unit, with or without the rounding."""
    exact = milliseconds / 1000 * memory_mb / 1024
    return any(_near(answer, value * scale, 0.005) for value in (exact, _gb_seconds(milliseconds, memory_mb)))


gb_seconds = Check(
    id="week1_cost.05.gb_seconds",
    question="A call takes `milliseconds` at `memory_mb`. How many GB-seconds does Lambda bill for it?",
    is_right=lambda answer, milliseconds, memory_mb: _near(answer, _gb_seconds(milliseconds, memory_mb), 0.002),
    right=lambda _, milliseconds, memory_mb: (
        f"Yes: {_billed(milliseconds)} ms / 1000 · {memory_mb:g} MB / 1024 = "
        f"{_gb_seconds(milliseconds, memory_mb):.5f}. What counts is the memory you asked for, not what the code uses."
    ),
    wrong="Seconds times gigabytes. The milliseconds are rounded up to a whole number first.",
    misconceptions=(
        Misconception(
            "milliseconds",
            lambda answer, **call: _is_scaled(answer, 1000, **call),
            "You multiplied milliseconds by gigabytes. A GB-second wants seconds.",
        ),
        Misconception(
            "megabytes",
            lambda answer, **call: _is_scaled(answer, 1024, **call),
            "You multiplied seconds by megabytes. A gigabyte has 1,024 of them here.",
        ),
        Misconception(
            "a thousand megabytes",
            lambda answer, milliseconds, memory_mb: _near(answer, _billed(milliseconds) * memory_mb / 1e6, 0.002),
            "AWS counts 1,024 MB to the gigabyte, not 1,000.",
        ),
        Misconception(
            "not rounded up",
            lambda answer, milliseconds, memory_mb: (
                _near(answer, milliseconds / 1000 * memory_mb / 1024, 0.0005)
                and not _near(answer, _gb_seconds(milliseconds, memory_mb), 0.002)
            ),
            "Right but for the rounding: each call is billed in whole milliseconds, rounded up. For a call of a few "
            "milliseconds that is several percent.",
        ),
    ),
    hints=("Round the milliseconds up, then turn them into seconds.", "ceil(ms) / 1000 · memory_mb / 1024"),
)

month = Check(
    id="week1_cost.05.month",
    question="What does a month of `requests_a_day` cost as Lambda behind an HTTP API, with `gb_seconds` a call and "
    "the list prices in `usd`? (730 hours make a month.)",
    is_right=lambda answer, **context: _near(answer, _month(**context)),
    right=lambda _, **context: (
        f"Yes: {_month(**context):.4f} USD. Of that, {_computing(**context) / _each(**context):.0%} is computing; the "
        "rest is paid for being called at all."
    ),
    wrong="Add what one call costs (GB-seconds, the request, the door), then multiply by the calls of a month.",
    misconceptions=(
        Misconception(
            "one day",
            lambda answer, **context: _near(answer, _month(**context) / _DAYS),
            "That is one day. A month of 730 hours has 30.4 of them.",
        ),
        Misconception(
            "only the computing",
            lambda answer, requests_a_day, gb_seconds, usd: _near(
                answer, requests_a_day * _DAYS * gb_seconds * usd["gb_second"]
            ),
            "You priced the GB-seconds. Lambda also charges for the request, and API Gateway for its own.",
        ),
        Misconception(
            "without the door",
            lambda answer, requests_a_day, gb_seconds, usd: _near(
                answer, requests_a_day * _DAYS * (gb_seconds * usd["gb_second"] + usd["request"])
            ),
            "You left out the HTTP API, and it is the largest part here.",
        ),
        Misconception(
            "the free tier",
            lambda answer, **_: float(answer) == 0,
            "The free tier would cover it, in an account that does nothing else. A comparison starts from the list "
            "price; what is free this year is a note below it.",
        ),
        Misconception(
            "prices per million",
            lambda answer, **context: float(answer) > 1000 * _month(**context),
            "Prices of requests are per million. `usd` already holds them per request.",
        ),
    ),
    hints=(
        "One call: gb_seconds · usd['gb_second'] + usd['request'] + usd['door'].",
        "A month has requests_a_day · 730 / 24 calls.",
    ),
)


def _computing(gb_seconds: float, usd: Mapping[str, float], **_: Any) -> float:
    return gb_seconds * usd["gb_second"]


def _each(gb_seconds: float, usd: Mapping[str, float], **_: Any) -> float:
    return _computing(gb_seconds, usd) + usd["request"] + usd["door"]


def _month(requests_a_day: float, gb_seconds: float, usd: Mapping[str, float]) -> float:
    return requests_a_day * _DAYS * _each(gb_seconds, usd)


def _crossing(fixed: float, each: float) -> float:
    return fixed / (each * _DAYS)


break_even = Check(
    id="week1_cost.05.break_even",
    question="The endpoint costs `fixed` USD a month, a call of the function `each` USD. At how many requests a day do "
    "both cost the same?",
    is_right=lambda requests, fixed, each: _near(requests, _crossing(fixed, each)),
    right=lambda _, fixed, each: (
        f"Yes: {_crossing(fixed, each):,.0f} a day, {_crossing(fixed, each) / 86_400:.1f} a second without a pause. "
        "The flights of New York are 923 a day."
    ),
    wrong="Set the two months equal: fixed = requests a day · days · each.",
    misconceptions=(
        Misconception(
            "requests a month",
            lambda requests, fixed, each: _near(requests, fixed / each),
            "That many in a month. The question asks per day.",
        ),
        Misconception(
            "an hour's price",
            lambda requests, fixed, each: _near(requests, _crossing(fixed / 730, each), 0.05),
            "You used the price of an hour. The endpoint is on for all 730 hours of the month.",
        ),
        Misconception(
            "upside down",
            lambda requests, fixed, each: _near(requests, each / fixed, 0.05) or float(requests) < 1,
            "You divided the other way round. How many calls does the endpoint's price buy?",
        ),
    ),
    hints=("How many calls do you get for the price of the endpoint?", "fixed / each / (730 / 24)"),
)

sensitivity = Check(
    id="week1_cost.05.sensitivity",
    question="A call takes twice as long. By which factor does the break-even (requests a day) change? `computing` of "
    "a call's `each` USD is GB-seconds.",
    is_right=lambda factor, each, computing: _near(factor, each / (each + computing), 0.02),
    right=lambda _, each, computing: (
        f"Yes: {each / (each + computing):.2f}. Only the GB-seconds double, {computing / each:.0%} of a call's price; "
        "the request and the door cost what they did. Find out what you pay for before you make it faster."
    ),
    wrong="Price of a call before and after: which part of it doubles?",
    misconceptions=(
        Misconception(
            "twice as long, half as many",
            lambda factor, each, computing: _near(factor, 0.5) and computing < 0.9 * each,
            "That would be so if a call cost nothing but computing. Look at the three parts of its price again.",
        ),
        Misconception(
            "the other direction",
            lambda factor, each, computing: _near(factor, (each + computing) / each, 0.005),
            "A dearer call means that fewer of them pay for an endpoint: the factor is below 1.",
        ),
        Misconception(
            "the price doubles",
            lambda factor, **_: _near(factor, 2),
            "Neither the price nor the break-even doubles: only the GB-seconds do.",
        ),
        Misconception(
            "duration does not count",
            lambda factor, **_: float(factor) == 1,
            "Nearly, but not quite: the GB-seconds do double.",
        ),
    ),
    hints=("New price of a call: each + computing.", "The break-even is fixed / price: fixed and days cancel out."),
)


def _decision(found: Mapping[str, Any], usd: Mapping[str, float]) -> Mapping[str, Any]:
    missing = [name for name in _FIELDS if name not in found]
    if missing:
        raise KeyError(f"the decision lacks {', '.join(missing)}")
    if found["choice"] not in usd:
        raise ValueError(f"choice is one of {', '.join(usd)}, not {found['choice']!r}")
    return found


def _fits(
    found: Mapping[str, Any], usd: Mapping[str, float], crossings: Mapping[str, float], budget: float, **_: Any
) -> bool:
    choice = _decision(found, usd)["choice"]
    return (
        usd[choice] <= budget
        and _near(found["usd_a_month"], usd[choice], 0.05)
        and _near(found["changes_above"], crossings[choice], 0.05)
    )


decision = Check(
    id="week1_cost.05.decision",
    question="Decide: a dict with `choice` (endpoint, serverless or lambda), `usd_a_month` at today's traffic, and "
    "`changes_above`, the requests a day above which the endpoint is cheaper.",
    is_right=_fits,
    right=lambda found, **_: (
        f"Yes. {found['choice']}, {found['usd_a_month']:.2f} USD a month, until {found['changes_above']:,.0f} requests "
        "a day: whoever reads this in two years knows when to think again."
    ),
    wrong="The numbers do not belong to that choice. Take both from the estimates above.",
    misconceptions=(
        Misconception(
            "over the budget",
            lambda found, usd, budget, **_: usd[_decision(found, usd)["choice"]] > budget,
            lambda found, usd, budget, **_: (
                f"{found['choice']} costs {usd[found['choice']]:.2f} USD a month; the budget in the question is "
                f"{budget:.0f}. A decision record may ask for more money, and then it must say so."
            ),
        ),
        Misconception(
            "the crossing of the other one",
            lambda found, usd, crossings, **_: any(
                _near(found["changes_above"], crossing, 0.05)
                for name, crossing in crossings.items()
                if name != _decision(found, usd)["choice"]
                and not _near(crossing, crossings.get(found["choice"], 0), 0.1)
            ),
            "That is where the other one crosses the endpoint's line.",
        ),
        Misconception(
            "a second's requests",
            lambda found, usd, crossings, **_: _near(
                found["changes_above"] * 86_400, crossings[_decision(found, usd)["choice"]], 0.05
            ),
            "That is per second. Traffic in this lab is counted per day.",
        ),
    ),
    hints=(
        "`usd` holds the three months at today's traffic, `crossings` the break-evens.",
        'decision = {"choice": …, "usd_a_month": usd[…], "changes_above": crossings[…]}',
    ),
)

CHECKS: Final[Sequence[Check]] = (gb_seconds, month, break_even, sensitivity, decision)
