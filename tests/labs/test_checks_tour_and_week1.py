"""Every question of the tour and week 1: unattempted, each typical wrong answer with its misconception, right."""

from functools import partial

import pytest

from labs.checks import tour, week1_aws

RETRIES = {"share": 0.5}
BILL = {"usd_per_hour": 0.115}
SPOT = {"discount": 0.548}
EVIDENCE = {
    "requests": 2_000, "failed": 0, "p99_ms": 40.0,
    "usd_per_month": 82.8, "requests_per_day": 900, "usd_per_1000": 3.07,
}  # fmt: skip
WEIGHTS = {"stable": 3}
UPDATE = {"both_seconds": 3.0, "instances": 2, "usd_per_hour": 0.115}


def unfinished(*arguments):
    return ...


def interleaved(costs, hosts):
    return [list(range(host, len(costs), hosts)) for host in range(hosts)]


def blocks(costs, hosts):
    size = -(-len(costs) // hosts)
    return [list(range(len(costs)))[host * size : (host + 1) * size] for host in range(hosts)]


def in_order_to_the_least_loaded(costs, hosts):
    return greedy(costs, hosts, range(len(costs)))


def longest_first(costs, hosts):
    return greedy(costs, hosts, sorted(range(len(costs)), key=lambda index: -costs[index]))


def greedy(costs, hosts, order):
    loads, shares = [0.0] * hosts, [[] for _ in range(hosts)]
    for index in order:
        host = loads.index(min(loads))
        loads[host] += costs[index]
        shares[host].append(index)
    return shares


def loses_one(costs, hosts):
    return [share[1:] if host == 0 else share for host, share in enumerate(longest_first(costs, hosts))]


def ranked(values, percent, shift=-1):
    place = -(-percent * len(values) // 100)
    return sorted(values)[min(len(values) - 1, max(0, int(place) + shift))]


def unsorted(values, percent):
    return values[max(0, int(-(-percent * len(values) // 100)) - 1)]


def of_the_maximum(values, percent):
    return max(values) * percent / 100


CASES = [
    # check, answer, context, state, misconception
    ("tour.known", {"carrier", "distance", "sched_dep_time"}, {}, "right", ""),
    ("tour.known", {"carrier", "distance", "sched_dep_time", "dep_delay"}, {}, "wrong", "the best predictor"),
    ("tour.known", {"carrier", "distance", "sched_dep_time", "air_time"}, {}, "wrong", "planned and actual time"),
    ("tour.known", {"carrier"}, {}, "wrong", ""),
    ("tour.known", "carrier", {}, "wrong", ""),
    ("tour.retries", 0.125, RETRIES, "right", ""),
    ("tour.retries", 0.5 / 3, RETRIES, "wrong", "dividing by the attempts"),
    ("tour.retries", 0.0625, RETRIES, "wrong", "counting retries, not attempts"),
    ("tour.retries", 0.875, RETRIES, "wrong", "adding the attempts"),
    ("tour.retries", 0.5, RETRIES, "wrong", "retries change nothing"),
    ("tour.bill", 82.8, BILL, "right", ""),
    ("tour.bill", 82.80, BILL, "right", ""),
    ("tour.bill", 0, BILL, "wrong", "no requests, no cost"),
    ("tour.bill", 0.115 * 8 * 22, BILL, "wrong", "office hours"),
    ("tour.bill", 2.76, BILL, "wrong", "one day"),
    ("tour.bill", 0.115 * 720 * 3600, BILL, "wrong", "the price is per second"),
    ("tour.bill", 50, BILL, "wrong", ""),
    ("week1_aws.02.metric", r"validation:auc=([0-9.]+)", {}, "right", ""),
    ("week1_aws.02.metric", r"auc=(\d+\.\d+);", {}, "right", ""),
    ("week1_aws.02.metric", r"validation:auc=[0-9.]+", {}, "wrong", "no group"),
    ("week1_aws.02.metric", r"validation:auc=(.*);", {}, "wrong", "greedy"),
    ("week1_aws.02.metric", r"validation:auc=(\d+)", {}, "wrong", "digits only"),
    ("week1_aws.02.metric", r"validation:loss=([0-9.]+);", {}, "wrong", ""),
    ("week1_aws.02.metric", r"=([0-9.]+);", {}, "wrong", "too wide"),
    ("week1_aws.02.metric", r"([0-9.]+);$", {}, "wrong", "too wide"),
    ("week1_aws.02.metric", r"([0-9.]+", {}, "wrong", ""),
    ("week1_aws.02.share", longest_first, {}, "right", ""),
    ("week1_aws.02.share", interleaved, {}, "wrong", "dealing like cards"),
    ("week1_aws.02.share", blocks, {}, "wrong", "equal counts are equal work"),
    ("week1_aws.02.share", in_order_to_the_least_loaded, {}, "wrong", ""),
    ("week1_aws.02.share", loses_one, {}, "wrong", ""),
    ("week1_aws.02.break_even", 2.212, SPOT, "right", ""),
    ("week1_aws.02.break_even", 1.825, SPOT, "wrong", "the discount, not what remains"),
    ("week1_aws.02.break_even", 1.548, SPOT, "wrong", "adding percentages"),
    ("week1_aws.02.break_even", 1.212, SPOT, "wrong", "the extra, not the total"),
    ("week1_aws.03.percentile", ranked, {}, "right", ""),
    ("week1_aws.03.percentile", unsorted, {}, "wrong", "not sorted"),
    ("week1_aws.03.percentile", of_the_maximum, {}, "wrong", "a share of the maximum"),
    ("week1_aws.03.percentile", partial(ranked, shift=0), {}, "wrong", "one place too far"),
    ("week1_aws.03.percentile", lambda values, percent: sum(values) / len(values), {}, "wrong", ""),
    ("week1_aws.03.weights", 1 / 3, WEIGHTS, "right", ""),
    ("week1_aws.03.weights", 0.333, WEIGHTS, "right", ""),
    ("week1_aws.03.weights", 0.3, WEIGHTS, "wrong", "a tenth of the other weight"),
    ("week1_aws.03.weights", 27, WEIGHTS, "wrong", "the other way round"),
    ("week1_aws.03.weights", 10, WEIGHTS, "wrong", "weights are percentages"),
    ("week1_aws.03.weights", 0.1, WEIGHTS, "wrong", "weights are percentages"),
    ("week1_aws.03.weights", 3, WEIGHTS, "wrong", ""),
    ("week1_aws.03.weights", "a third", WEIGHTS, "wrong", ""),
    ("week1_aws.03.alarm", 50_000, {}, "right", ""),
    ("week1_aws.03.alarm", 50, {}, "wrong", "milliseconds"),
    ("week1_aws.03.alarm", 0.05, {}, "wrong", "seconds"),
    ("week1_aws.03.alarm", 50_000_000, {}, "wrong", "seconds, in microseconds"),
    ("week1_aws.03.alarm", 500, {}, "wrong", ""),
    ("week1_aws.03.update_bill", 3 / 3600 * 2 * 0.115, UPDATE, "right", ""),
    ("week1_aws.03.update_bill", 0.23, UPDATE, "wrong", "a whole hour"),
    ("week1_aws.03.update_bill", 0.69, UPDATE, "wrong", "hours and seconds"),
    ("week1_aws.03.update_bill", 2 * 3 / 3600 * 2 * 0.115, UPDATE, "wrong", "both fleets are extra"),
    ("week1_aws.03.update_bill", 0.001, UPDATE, "wrong", ""),
    ("week1_aws.milestone.evidence", EVIDENCE, {}, "right", ""),
    ("week1_aws.milestone.evidence", EVIDENCE | {"failed": 3}, {}, "wrong", "some failed"),
    ("week1_aws.milestone.evidence", EVIDENCE | {"requests": 200}, {}, "wrong", "too few for a p99"),
    ("week1_aws.milestone.evidence", EVIDENCE | {"usd_per_1000": 92.0}, {}, "wrong", "cost per request of one day"),
    (
        "week1_aws.milestone.evidence",
        EVIDENCE | {"usd_per_1000": 0.003067},
        {},
        "wrong",
        "per request, not per thousand",
    ),
    ("week1_aws.milestone.evidence", EVIDENCE | {"usd_per_1000": 5}, {}, "wrong", ""),
    ("week1_aws.milestone.evidence", {"requests": 2_000}, {}, "wrong", ""),
    ("week1_aws.milestone.evidence", EVIDENCE | {"p99_ms": ...}, {}, "not attempted", ""),
]
BY_ID = {check.id: check for check in (*tour.CHECKS, *week1_aws.CHECKS)}


@pytest.mark.parametrize("id", ["week1_aws.02.share", "week1_aws.03.percentile"])
def test_an_unfinished_function_is_not_wrong(id):
    assert BY_ID[id].grade(unfinished).state == "not attempted"
