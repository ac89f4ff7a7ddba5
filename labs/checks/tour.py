"""The tour's questions: what is known in advance, what retries do to errors, what an idle endpoint costs."""

from __future__ import annotations

from collections.abc import Collection
from math import isclose
from typing import Final

from labs.checks.grading import Check, Misconception

_KNOWN: Final = {"carrier", "distance", "sched_dep_time"}
_HOURS: Final = 24 * 30


def _names(answer: Collection[str]) -> set[str]:
    if isinstance(answer, str):
        raise TypeError('give a set of names, such as {"carrier", "dep_time"}')
    return set(answer)


def _near(value: float, wanted: float, tolerance: float = 0.02) -> bool:
    return isclose(float(value), wanted, rel_tol=tolerance)


known = Check(
    id="tour.known",
    question="Which of the five columns are known two hours before departure? Answer with a set of names.",
    is_right=lambda names: _names(names) == _KNOWN,
    right="Yes. The schedule is printed months ahead; what the flight then did is not. A model that was trained on "
    "dep_delay would look brilliant in the notebook and have nothing to work with on the day.",
    wrong="Some name is missing, or one is not in the list. Go through the five one by one: does it stand in the "
    "timetable?",
    misconceptions=(
        Misconception(
            "the best predictor",
            lambda names: "dep_delay" in _names(names),
            "dep_delay predicts the arrival delay better than anything else, but two hours before departure nobody "
            "has it. "
            "A column that only exists after the moment of prediction is called a leak.",
        ),
        Misconception(
            "planned and actual time",
            lambda names: "air_time" in _names(names),
            "air_time is how long the flight took once it was in the air. It is measured after landing; the distance "
            "is what "
            "you know before.",
        ),
    ),
    hints=(
        "For each column ask: at 16:00, what would I see on the screen for the 18:00 flight?",
        "Three of the five stand in the timetable.",
    ),
)

retries = Check(
    id="tour.retries",
    question="A call fails with probability `share`, the client tries at most three times. Which share of calls "
    "still fails?",
    is_right=lambda answer, share: _near(answer, share**3),
    right=lambda _, share: (
        f"Yes: all three attempts must fail, {share:g} · {share:g} · {share:g} = {share**3:.3f}. It only holds while "
        "attempts fail "
        "independently. In an outage they fail together, and retries then triple the load on a service that is "
        "already down."
    ),
    wrong="Think of one call: in which of all cases does the caller see an error?",
    misconceptions=(
        Misconception(
            "dividing by the attempts",
            lambda answer, share: _near(answer, share / 3),
            "You divided by the number of attempts. Attempts do not share the failures among them: a call fails only "
            "when the "
            "first AND the second AND the third attempt fail.",
        ),
        Misconception(
            "counting retries, not attempts",
            lambda answer, share: _near(answer, share**4),
            "That is the first attempt and three retries. Three attempts in total means two retries: AWS counts the "
            "first one.",
        ),
        Misconception(
            "adding the attempts",
            lambda answer, share: _near(answer, 1 - (1 - share) ** 3),
            "That is the share of calls in which at least one attempt fails. The caller sees only the calls in which "
            "all fail.",
        ),
        Misconception(
            "retries change nothing",
            lambda answer, share: _near(answer, share),
            "That is the share of single attempts that fail, without any retry.",
        ),
    ),
    hints=(
        "Draw a tree: attempt 1 fails or not; only when it failed there is an attempt 2.",
        "Multiply along the branch on which everything goes wrong.",
    ),
)

bill = Check(
    id="tour.bill",
    question="The endpoint stays up for 30 days and nobody asks it anything. What does it cost, in USD, at "
    "`usd_per_hour`?",
    is_right=lambda usd, usd_per_hour: _near(usd, usd_per_hour * _HOURS),
    right=lambda _, usd_per_hour: (
        f"Yes: {usd_per_hour:g} USD · 24 · 30 = {usd_per_hour * _HOURS:.2f} USD. A real-time endpoint is an instance "
        "that is always on; "
        "this is the bill that surprises people most."
    ),
    wrong="Multiply: price per hour, hours per day, days. How many hours a day is the instance on?",
    misconceptions=(
        Misconception(
            "no requests, no cost",
            lambda usd, **_: float(usd) == 0,
            "You pay for the instance, not for the requests. It runs, ready to answer, whether anybody asks or not.",
        ),
        Misconception(
            "office hours",
            lambda usd, usd_per_hour: any(_near(usd, usd_per_hour * 8 * days) for days in (20, 21, 22, 30)),
            "You counted eight hours a day. Nobody switches the endpoint off in the evening unless somebody does it.",
        ),
        Misconception(
            "one day",
            lambda usd, usd_per_hour: _near(usd, usd_per_hour * 24),
            "That is one day.",
        ),
        Misconception(
            "the price is per second",
            lambda usd, usd_per_hour: _near(usd, usd_per_hour * _HOURS * 3600),
            "The list price is per hour; the bill then counts in seconds.",
        ),
    ),
    hints=("The price book's unit is the hour.", "30 days have 720 hours."),
)

CHECKS: Final = (known, retries, bill)
