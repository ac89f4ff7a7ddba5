"""Every question of lab 05: unattempted, each typical wrong answer with its misconception, right."""

import numpy as np

from labs.checks import week1_cost
from labs.cost import estimate

CALL = {"milliseconds": 12.3, "memory_mb": 1769}
GB_SECONDS = 0.013 * 1769 / 1024
USD = {"gb_second": 0.0000166667, "request": 0.2e-6, "door": 1e-6}
EACH = GB_SECONDS * USD["gb_second"] + 1.2e-6
MONTH = {"requests_a_day": 923, "gb_seconds": GB_SECONDS, "usd": USD}
A_MONTH = 923 * 730 / 24 * EACH
FIXED = {"fixed": 83.95, "each": EACH}
CROSSING = 83.95 / EACH / (730 / 24)
DOUBLED = {"each": EACH, "computing": EACH - 1.2e-6}
OPTIONS = {
    "usd": {"endpoint": 83.95, "serverless": 0.0146, "lambda": 0.0441}, "budget": 20,
    "crossings": {"serverless": 5_300_000, "lambda": CROSSING},
}  # fmt: skip
DECISION = {"choice": "lambda", "usd_a_month": 0.0441, "changes_above": CROSSING}

CASES = [
    # check, answer, context, state, misconception
    ("gb_seconds", GB_SECONDS, CALL, "right", ""),
    ("gb_seconds", 0.0175, {"milliseconds": 9.999, "memory_mb": 1792}, "right", ""),
    ("gb_seconds", GB_SECONDS * 1000, CALL, "wrong", "milliseconds"),
    ("gb_seconds", 12.3 * 1769 / 1024, CALL, "wrong", "milliseconds"),
    ("gb_seconds", 0.013 * 1769, CALL, "wrong", "megabytes"),
    ("gb_seconds", 0.013 * 1.769, CALL, "wrong", "a thousand megabytes"),
    ("gb_seconds", 0.0123 * 1769 / 1024, CALL, "wrong", "not rounded up"),
    ("gb_seconds", 0.1, CALL, "wrong", ""),
    ("gb_seconds", "some", CALL, "wrong", ""),
    ("month", A_MONTH, MONTH, "right", ""),
    ("month", A_MONTH / 30.4167 * 30, MONTH, "right", ""),
    ("month", A_MONTH * 24 / 730, MONTH, "wrong", "one day"),
    ("month", A_MONTH * (EACH - 1.2e-6) / EACH, MONTH, "wrong", "only the computing"),
    ("month", A_MONTH * (EACH - 1e-6) / EACH, MONTH, "wrong", "without the door"),
    ("month", 0, MONTH, "wrong", "the free tier"),
    ("month", 923 * 30 * 1.2, MONTH, "wrong", "prices per million"),
    ("month", 1, MONTH, "wrong", ""),
    ("break_even", CROSSING, FIXED, "right", ""),
    ("break_even", CROSSING * 730 / 24, FIXED, "wrong", "requests a month"),
    ("break_even", CROSSING / 730, FIXED, "wrong", "an hour's price"),
    ("break_even", EACH / 83.95, FIXED, "wrong", "upside down"),
    ("break_even", 1000, FIXED, "wrong", ""),
    ("sensitivity", EACH / (2 * EACH - 1.2e-6), DOUBLED, "right", ""),
    ("sensitivity", 0.5, DOUBLED, "wrong", "twice as long, half as many"),
    ("sensitivity", (2 * EACH - 1.2e-6) / EACH, DOUBLED, "wrong", "the other direction"),
    ("sensitivity", 2, DOUBLED, "wrong", "the price doubles"),
    ("sensitivity", 1, DOUBLED, "wrong", "duration does not count"),
    ("sensitivity", 0.6, DOUBLED, "wrong", ""),
    # when nearly all is computing, half is right
    ("sensitivity", 0.5, {"each": 1e-4, "computing": 0.99e-4}, "right", ""),
    ("decision", DECISION, OPTIONS, "right", ""),
    ("decision", {"choice": "serverless", "usd_a_month": 0.0146, "changes_above": 5_300_000}, OPTIONS, "right", ""),
    (
        "decision",
        {"choice": "endpoint", "usd_a_month": 83.95, "changes_above": 0},
        OPTIONS,
        "wrong",
        "over the budget",
    ),
    ("decision", DECISION | {"changes_above": 5_300_000}, OPTIONS, "wrong", "the crossing of the other one"),
    ("decision", DECISION | {"changes_above": CROSSING / 86_400}, OPTIONS, "wrong", "a second's requests"),
    ("decision", DECISION | {"usd_a_month": 3}, OPTIONS, "wrong", ""),
    ("decision", {"choice": "lambda"}, OPTIONS, "wrong", ""),
    ("decision", DECISION | {"choice": "a mainframe"}, OPTIONS, "wrong", ""),
    ("decision", DECISION | {"usd_a_month": ...}, OPTIONS, "not attempted", ""),
]
BY_ID = {check.id.rpartition(".")[2]: check for check in week1_cost.CHECKS}


def test_what_is_right_is_what_the_estimators_say():
    function = estimate.function(923, seconds=0.0123, memory_mb=1769)
    door = estimate.api_gateway(923)
    assert BY_ID["month"].grade((function + door).total_usd, **MONTH).state == "right"
    found = estimate.break_even(
        estimate.endpoint,
        lambda requests: estimate.function(requests, seconds=0.0123, memory_mb=1769) + estimate.api_gateway(requests),
    )
    assert BY_ID["break_even"].grade(found, **FIXED).state == "right"
    assert np.isclose(CROSSING, found, rtol=1e-3)
