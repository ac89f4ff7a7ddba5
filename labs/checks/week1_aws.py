"""Week 1, AWS: reading metrics from logs, sharing work, spot, percentiles, weights, alarms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import ceil, isclose
from typing import Final

from labs.checks.grading import Check, Misconception, called

Assign = Callable[[Sequence[float], int], Sequence[Sequence[int]]]
Percentile = Callable[[Sequence[float], float], float]

_LINES: Final = (
    "algo-1: {'learning_rate': 0.05, 'max_leaf_nodes': 15} validation:auc=0.7353; validation:log_loss=0.5542; "
    "fit_seconds=0.36;",
    "algo-1: {'learning_rate': 0.1, 'max_leaf_nodes': 31} validation:auc=0.7386; validation:log_loss=0.5508; "
    "fit_seconds=0.62;",
    "algo-1: 50000 rows to learn from, 28293 to be judged on",
    "algo-2: {'learning_rate': 0.2, 'max_leaf_nodes': 7} validation:auc=1.0; validation:log_loss=0.1; "
    "fit_seconds=12.00;",
)
_AUCS: Final = ["0.7353", "0.7386", "1.0"]
_LATENCIES: Final = (12.0, 9.0, 11.0, 10.0, 250.0, 13.0, 8.0, 12.0, 14.0, 30.0)


def _near(value: float, wanted: float, tolerance: float = 0.02) -> bool:
    return isclose(float(value), wanted, rel_tol=tolerance)


# --- Lab 02 -------------------------------------------------------------------------------------------------------


def _captured(pattern: str) -> list[str]:
    """What would be read as the metric: the first group of every match in the log."""
    return [match.group(1) for line in _LINES for match in re.finditer(pattern, line)]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+\.?\d*", text) is not None


metric = Check(
    id="week1_aws.02.metric",
    question="Write the regular expression that reads the AUC, and nothing else, from the script's log lines.",
    is_right=lambda pattern: _captured(pattern) == _AUCS,
    right="Yes. The group holds the number alone and the name before it keeps the log loss out. SageMaker searches "
    "each line "
    "and keeps what the group captured; a line that does not match is only a line.",
    wrong=lambda pattern: (
        f"From four lines of such a log your pattern reads {_captured(pattern)}; there are three AUC values to read."
    ),
    misconceptions=(
        Misconception(
            "no group",
            lambda pattern: re.compile(pattern).groups == 0,
            "Your pattern finds the text but marks no part of it. SageMaker takes the first group: put the number in "
            "( ).",
        ),
        Misconception(
            "greedy",
            lambda pattern: any(";" in text or "=" in text for text in _captured(pattern)),
            "Your group runs on past the number, to a later semicolon: .* takes as much as it can. Say which "
            "characters a number has.",
        ),
        Misconception(
            "digits only",
            lambda pattern: set(_captured(pattern)) <= {"0", "1"} and bool(_captured(pattern)),
            "Your group stops at the decimal point: \\d and [0-9] do not match a point. Every model would score 0.",
        ),
        Misconception(
            "too wide",
            lambda pattern: (
                len(_captured(pattern)) >= len(_AUCS)
                and all(map(_is_number, _captured(pattern)))
                and _captured(pattern) != _AUCS
            ),
            "Your pattern also fits another number of the line. Name the metric in front of the group.",
        ),
    ),
    hints=(
        "Copy a line from the log above and begin with the text that stands just before the number.",
        "A number here is digits and one point: [0-9.]+",
        'r"validation:auc=(...)": what belongs in the group?',
    ),
)


def _loads(assign: Assign, costs: Sequence[float], hosts: int) -> list[float]:
    """Seconds of each host; raises ValueError when a setting is lost or tried twice."""
    shares = [list(share) for share in called(assign, costs, hosts)]
    if len(shares) != hosts:
        raise ValueError(f"{len(shares)} lists for {hosts} instances; return one list of positions per instance")
    dealt = sorted(index for share in shares for index in share)
    if dealt != list(range(len(costs))):
        raise ValueError(f"the positions dealt out are {dealt}; each of 0 to {len(costs) - 1} must occur exactly once")
    return [sum(costs[index] for index in share) for share in shares]


_CASES: Final[tuple[tuple[tuple[float, ...], int], ...]] = (
    ((1.0, 4.0) * 4, 2),
    ((4.0, 1.0) * 3, 2),
    ((1.0, 1.0, 1.0, 3.0), 2),
    ((5.0, 4.0, 3.0, 3.0, 3.0), 2),
    ((2.0, 6.0, 2.0, 6.0, 2.0, 6.0), 3),
)


def _as_good_as_longest_first(assign: Assign) -> bool:
    return all(max(_loads(assign, costs, hosts)) <= _longest_first(costs, hosts) + 1e-9 for costs, hosts in _CASES)


def _longest_first(costs: Sequence[float], hosts: int) -> float:
    loads = [0.0] * hosts
    for cost in sorted(costs, reverse=True):
        loads[loads.index(min(loads))] += cost
    return max(loads)


def _same_loads(assign: Assign, other: Callable[[Sequence[float], int], list[list[int]]]) -> bool:
    return all(
        _loads(assign, costs, hosts) == [sum(costs[i] for i in share) for share in other(costs, hosts)]
        for costs, hosts in _CASES
    )


def _interleaved(costs: Sequence[float], hosts: int) -> list[list[int]]:
    return [list(range(host, len(costs), hosts)) for host in range(hosts)]


def _blocks(costs: Sequence[float], hosts: int) -> list[list[int]]:
    size = ceil(len(costs) / hosts)
    return [list(range(len(costs)))[host * size : (host + 1) * size] for host in range(hosts)]


share = Check(
    id="week1_aws.02.share",
    question="Write assign(costs, hosts): one list of positions per instance, so that the slowest instance ends as "
    "early as you can.",
    is_right=_as_good_as_longest_first,
    right="Yes. Longest first, to whoever has least: a rule of thumb from 1969 (Graham) that is never worse than 4/3 "
    "of the best "
    "possible. Every instance computes the same list, so none has to ask another.",
    wrong="Every setting is dealt out once, but on some lists of costs the slowest instance ends later than it must. "
    "Try "
    "costs [1, 1, 1, 3] on two instances by hand.",
    misconceptions=(
        Misconception(
            "dealing like cards",
            lambda assign: _same_loads(assign, _interleaved),
            "That is what the script did: by position, blind to the costs. Here cheap and dear settings alternate, "
            "so one instance "
            "got all the dear ones.",
        ),
        Misconception(
            "equal counts are equal work",
            lambda assign: _same_loads(assign, _blocks),
            "Equal numbers of settings are not equal work. Look at the costs, not at how many there are.",
        ),
    ),
    hints=(
        "The job is done when the last instance is done: only the largest load counts.",
        "Place the dearest setting first; a small one fits in anywhere at the end.",
        "Keep a list of loads. For each cost from large to small: give it to the instance with the smallest load.",
    ),
)

break_even = Check(
    id="week1_aws.02.break_even",
    question="Spot is `discount` off (a fraction). How many times the compute may reclaims cost before spot is "
    "dearer than on demand?",
    is_right=lambda times, discount: _near(times, 1 / (1 - discount)),
    right=lambda _, discount: (
        f"Yes: you pay {1 - discount:.0%} of the price, so you may compute 1 / {1 - discount:.3f} = "
        f"{1 / (1 - discount):.2f} times as long. "
        "With a checkpoint a reclaim costs one setting, not a second run."
    ),
    wrong="Write the two bills: on demand, hours · price; spot, more hours · a lower price. Set them equal.",
    misconceptions=(
        Misconception(
            "the discount, not what remains",
            lambda times, discount: _near(times, 1 / discount),
            "You divided by the discount. You pay what is left of the price: 1 minus the discount.",
        ),
        Misconception(
            "adding percentages",
            lambda times, discount: _near(times, 1 + discount),
            "A discount and more hours multiply, they do not add: half the price pays for twice the hours, not for "
            "1.5 times.",
        ),
        Misconception(
            "the extra, not the total",
            lambda times, discount: _near(times, 1 / (1 - discount) - 1),
            "That is the extra time you can afford. The question asks how many times the whole compute.",
        ),
    ),
    hints=("Let on demand cost 1 an hour. What does one spot hour cost?", "times · (1 - discount) = 1"),
)

# --- Lab 03 -------------------------------------------------------------------------------------------------------


def _nearest_rank(values: Sequence[float], percent: float) -> float:
    return sorted(values)[max(0, ceil(percent / 100 * len(values)) - 1)]


def _percentiles(function: Percentile) -> tuple[float, float, float]:
    return called(function, _LATENCIES, 50), called(function, _LATENCIES, 90), called(function, _LATENCIES, 99)


percentile = Check(
    id="week1_aws.03.percentile",
    question="Write percentile(values, percent) by nearest rank: the smallest value that at least `percent` of all "
    "values do not exceed.",
    is_right=lambda function: (
        _percentiles(function) == tuple(_nearest_rank(_LATENCIES, percent) for percent in (50, 90, 99))
        and called(function, [7.0], 1) == 7.0
    ),
    right="Yes. Of ten values, p90 is the ninth and p99 already the largest: with ten requests nobody can know a "
    "p99. "
    "You need some hundreds before it means something.",
    wrong=lambda function: (
        f"For ten latencies of 8 to 250 ms your p50, p90 and p99 are {_percentiles(function)}. "
        "Sort a copy and count from the smallest: which place must p90 have among ten?"
    ),
    misconceptions=(
        Misconception(
            "not sorted",
            lambda function: _percentiles(function)[0] == _LATENCIES[4] or _percentiles(function)[1] == _LATENCIES[8],
            "You picked by position in the order of arrival. Percentiles ask for the order of size: sort first.",
        ),
        Misconception(
            "a share of the maximum",
            lambda function: _near(_percentiles(function)[1], 0.9 * max(_LATENCIES)),
            "That is a share of the largest value. A percentile counts requests; it does not scale times.",
        ),
        Misconception(
            "one place too far",
            lambda function: _percentiles(function)[:2] == (sorted(_LATENCIES)[5], sorted(_LATENCIES)[9]),
            "You are one place too far: places count from 1, Python's positions from 0.",
        ),
    ),
    hints=(
        "How many of 10 values are 90 percent? The largest of those is p90.",
        "The place is ceil(percent / 100 · number of values), counted from 1.",
    ),
)


def _canary(weight: float, stable: float) -> float:
    """The canary's share of the traffic."""
    return float(weight) / (stable + float(weight))


weights = Check(
    id="week1_aws.03.weights",
    question="The stable variant has the weight `stable`. Which weight sends 10% of the requests to the canary?",
    is_right=lambda weight, stable: isclose(_canary(weight, stable), 0.1, rel_tol=0.005),
    right=lambda weight, stable: (
        f"Yes: {float(weight):.3g} / ({stable:g} + {float(weight):.3g}) is a tenth. A weight means nothing alone; a "
        "variant's share is its weight divided by the sum of all."
    ),
    wrong=lambda weight, stable: (
        f"That weight sends {_canary(weight, stable):.1%} to the canary: its weight divided by the sum of both."
    ),
    misconceptions=(
        Misconception(
            "a tenth of the other weight",
            lambda weight, stable: isclose(weight, stable / 10, rel_tol=1e-6),
            "A tenth of the other's weight is one part in eleven, 9.1%. The share is taken from the sum of both "
            "weights.",
        ),
        Misconception(
            "the other way round",
            lambda weight, stable: isclose(_canary(weight, stable), 0.9, rel_tol=1e-6),
            "That sends 90% to the canary. A canary is the small bird you risk first.",
        ),
        Misconception(
            "weights are percentages",
            lambda weight, **_: isclose(weight, 10, rel_tol=1e-6) or isclose(weight, 0.1, rel_tol=1e-6),
            "A weight is neither a percentage nor a fraction of the traffic. Only its ratio to the other weights "
            "counts.",
        ),
    ),
    hints=(
        "Write the canary's share with w for its weight: w divided by what?",
        "Solve w / (stable + w) = 0.1 for w.",
    ),
)

alarm = Check(
    id="week1_aws.03.alarm",
    question="The alarm should go off when ModelLatency averages over 50 ms. Which number is the threshold?",
    is_right=lambda threshold: _near(threshold, 50_000, 1e-6),
    right="Yes: AWS/SageMaker reports ModelLatency in microseconds. Always read a metric's unit before setting an "
    "alarm on it.",
    wrong="Look at the Unit in the datapoints that CloudWatch returned above.",
    misconceptions=(
        Misconception(
            "milliseconds",
            lambda threshold: _near(threshold, 50, 1e-6),
            "50 would be 50 microseconds: the alarm would be on all the time, and soon nobody would look at it.",
        ),
        Misconception(
            "seconds",
            lambda threshold: _near(threshold, 0.05, 1e-6),
            "That would be seconds. Against a metric in microseconds the alarm could never be off.",
        ),
        Misconception(
            "seconds, in microseconds",
            lambda threshold: float(threshold) >= 1_000_000,
            "That is seconds, counted in microseconds: the alarm would never go off. One millisecond has a thousand "
            "microseconds.",
        ),
    ),
    hints=("The unit stands beside each datapoint.", "1 ms = 1,000 µs"),
)


update_bill = Check(
    id="week1_aws.03.update_bill",
    question="Blue/green keeps both fleets for `both_seconds`. What does that overlap cost extra, in USD, with "
    "`instances` new "
    "instances at `usd_per_hour` each?",
    is_right=lambda usd, both_seconds, instances, usd_per_hour: _near(
        usd, both_seconds / 3600 * instances * usd_per_hour
    ),
    right=lambda _, both_seconds, instances, **__: (
        f"Yes: {both_seconds:.1f} s of {instances} extra instance(s). The safety of a second fleet is paid by the "
        "second, and it is cheap; "
        "forgetting to remove it is not."
    ),
    wrong="Seconds to hours, then times the price, times the instances that exist twice.",
    misconceptions=(
        Misconception(
            "a whole hour",
            lambda usd, instances, usd_per_hour, **_: _near(usd, instances * usd_per_hour),
            "You charged a full hour. SageMaker AI bills endpoint instances by the second.",
        ),
        Misconception(
            "hours and seconds",
            lambda usd, both_seconds, instances, usd_per_hour: _near(usd, both_seconds * instances * usd_per_hour),
            "The price is per hour, your time is in seconds.",
        ),
        Misconception(
            "both fleets are extra",
            lambda usd, both_seconds, instances, usd_per_hour: _near(
                usd, 2 * both_seconds / 3600 * instances * usd_per_hour
            ),
            "You counted both fleets. One of them you would have paid anyway.",
        ),
    ),
    hints=("Only what exists twice is extra.", "seconds / 3600 · price per hour · instances"),
)

# --- Milestone ----------------------------------------------------------------------------------------------------

_EVIDENCE: Final = ("requests", "failed", "p99_ms", "usd_per_month", "requests_per_day", "usd_per_1000")
_ENOUGH: Final = 1_000
"""Requests, so that ten lie above the p99."""


def _per_1000(found: Mapping[str, float]) -> float:
    return found["usd_per_month"] / (found["requests_per_day"] * 30 / 1000)


def _is_complete(found: Mapping[str, float]) -> bool:
    missing = [name for name in _EVIDENCE if name not in found]
    if missing:
        raise KeyError(f"the evidence lacks {', '.join(missing)}")
    return found["failed"] == 0 and found["p99_ms"] > 0 and _near(found["usd_per_1000"], _per_1000(found), 0.05)


evidence = Check(
    id="week1_aws.milestone.evidence",
    question="Hand in what you measured during the update, and what the service costs: a dict with "
    f"{', '.join(_EVIDENCE)}.",
    is_right=lambda found: _is_complete(found) and found["requests"] >= _ENOUGH,
    right=lambda found: (
        f"Yes: {found['requests']:,} requests through an update, none failed, {found['usd_per_1000']:.2f} USD per "
        "thousand "
        "at your traffic. Now write the page that says why."
    ),
    wrong="The numbers do not fit each other: 30 days of your traffic at the price per thousand must give the month.",
    misconceptions=(
        Misconception(
            "some failed",
            lambda found: found["failed"] > 0,
            "Some requests failed. Look at their status and time: before the new fleet was healthy, or while the old "
            "one "
            "was stopped?",
        ),
        Misconception(
            "too few for a p99",
            lambda found: _is_complete(found) and found["requests"] < _ENOUGH,
            f"Below {_ENOUGH:,} requests fewer than ten lie above the p99: it is a matter of luck. Let the load run "
            "longer.",
        ),
        Misconception(
            "cost per request of one day",
            lambda found: _near(found["usd_per_1000"], 30 * _per_1000(found)),
            "You divided the month's cost by one day's requests.",
        ),
        Misconception(
            "per request, not per thousand",
            lambda found: _near(found["usd_per_1000"], _per_1000(found) / 1000),
            "That is the price of one request. Per thousand it is a number people can compare.",
        ),
    ),
    hints=(
        "Everything but the prices is in the result of labs.load.run.",
        "usd_per_1000 = usd_per_month / (requests_per_day · 30 / 1000)",
    ),
)

CHECKS: Final = (metric, share, break_even, percentile, weights, alarm, update_bill, evidence)
