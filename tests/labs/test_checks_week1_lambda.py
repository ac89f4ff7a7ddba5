"""Every question of lab 04: unattempted, each typical wrong answer with its misconception, right."""

import importlib.util

from labs import flights
from labs.checks import week1_lambda
from labs.cost import estimate

CALL = {"init_ms": 1196.1, "duration_ms": 3.2, "memory_mb": 1024}
FIRST = {
    "notebook": [1000.0] * 20,
    "arrays": [100.0] * 18 + [400.0, 500.0],
    "plain": [50.0] * 19 + [2000.0],
    "lazy": [290.0] * 9 + [310.0] * 11,
    "odd": [10.0] * 10 + [320.0] * 10,
}
TARGET = {"first": FIRST, "target": 300}
MEANS = FIRST | {"odd": [10.0] * 9 + [320.0] * 11}
HELD = {"usd_calls": 0.3, "usd_held": 10.95, "requests_a_day": 900}
MILLIONS = 900 * 730 / 24 / 1e6
STATUS = {"no key": 403, "wrong key": 403, "too fast": 429, "unknown token": 401, "revoked token": 403}


def right_leaf(tree, row):
    node = 0
    while tree["feature"][node] >= 0:
        value = row[tree["feature"][node]]
        left = tree["missing_left"][node] if value is None else value <= tree["threshold"][node]
        node = tree["left" if left else "right"][node]
    return tree["value"][node]


def place(tree, row):
    node = 0
    while tree["feature"][node] >= 0:
        left = (row[tree["feature"][node]] or 0) <= tree["threshold"][node]
        node = tree["left" if left else "right"][node]
    return node


def one_step(tree, row):
    left = (row[tree["feature"][0]] or 0) <= tree["threshold"][0]
    return tree["value"][tree["left" if left else "right"][0]]


def below(tree, row):
    node = 0
    while tree["feature"][node] >= 0:
        value = row[tree["feature"][node]]
        left = tree["missing_left"][node] if value is None else value < tree["threshold"][node]
        node = tree["left" if left else "right"][node]
    return tree["value"][node]


def missing_is_zero(tree, row):
    return tree["value"][place(tree, row)]


def breaks_on_missing(tree, row):
    node = 0
    while tree["feature"][node] >= 0:
        node = tree["left" if row[tree["feature"][node]] <= tree["threshold"][node] else "right"][node]
    return tree["value"][node]


CASES = [
    # check, answer, context, state, misconception
    ("billed", 1.2, CALL, "right", ""),
    ("billed", 1.1993, CALL, "right", ""),
    ("billed", 0.004, CALL, "wrong", "init is free"),
    ("billed", 1200, CALL, "wrong", "milliseconds"),
    ("billed", 1.2 * 1024, CALL, "wrong", "megabytes"),
    ("billed", 1.2 * 171 / 1024, CALL, "wrong", "only what was used"),
    ("billed", 2, CALL, "wrong", ""),
    ("billed", "much", CALL, "wrong", ""),
    ("leaf", right_leaf, {}, "right", ""),
    ("leaf", place, {}, "wrong", "the place of the leaf, not its value"),
    ("leaf", one_step, {}, "wrong", "one step only"),
    ("leaf", below, {}, "wrong", "equal goes right"),
    ("leaf", missing_is_zero, {}, "wrong", "a missing number"),
    ("leaf", breaks_on_missing, {}, "wrong", "a missing number"),
    ("leaf", lambda tree, row: 0.0, {}, "wrong", ""),
    ("leaf", 0.5, {}, "wrong", ""),
    ("leaf", lambda tree, row: ..., {}, "not attempted", ""),
    ("meets", ["plain"], TARGET, "right", ""),
    ("meets", ("plain", "plain"), TARGET, "right", ""),
    ("meets", ["arrays", "plain", "odd"], TARGET, "wrong", "the usual call"),
    ("meets", ["arrays", "plain", "odd"], {"first": MEANS, "target": 300}, "wrong", "the average"),
    ("meets", ["arrays", "plain", "lazy", "odd"], TARGET, "wrong", "the best call"),
    ("meets", ["notebook", "arrays", "lazy", "odd"], TARGET, "wrong", "the other way round"),
    ("meets", ["plain", "numpy"], TARGET, "wrong", "names that do not occur"),
    ("meets", ["plain", "notebook"], TARGET, "wrong", ""),
    ("meets", [], TARGET, "wrong", ""),
    ("door", STATUS, {}, "right", ""),
    ("door", {name: str(value) for name, value in STATUS.items()}, {}, "right", ""),
    ("door", {"no key": 403}, {}, "wrong", "a situation is missing"),
    ("door", STATUS | {"wrong key": 401}, {}, "wrong", "a key says who you are"),
    ("door", STATUS | {"too fast": 503}, {}, "wrong", "the server is overloaded"),
    ("door", STATUS | {"too fast": 403}, {}, "wrong", "too fast is forbidden"),
    ("door", STATUS | {"revoked token": 401}, {}, "wrong", "revoked is unknown"),
    ("door", STATUS | {"unknown token": 403}, {}, "wrong", "unknown is forbidden"),
    ("door", STATUS | {"no key": 418}, {}, "wrong", ""),
    ("door", STATUS | {"no key": ...}, {}, "not attempted", ""),
    ("held", 0.3 + 10.95 / MILLIONS, HELD, "right", ""),
    ("held", 0.3 + 10.95 / (900 * 30 / 1e6), HELD, "right", ""),
    ("held", 11.25, HELD, "wrong", "a month's holding"),
    ("held", 0.3 + 10.95 / (900 / 1e6), HELD, "wrong", "a day's requests"),
    ("held", 10.95 / MILLIONS, HELD, "wrong", "only the holding"),
    ("held", 0.3, HELD, "wrong", "nothing changes"),
    ("held", 50, HELD, "wrong", ""),
]
BY_ID = {check.id.rpartition(".")[2]: check for check in week1_lambda.CHECKS}


def test_the_function_itself_is_right(tmp_path, monkeypatch):
    (tmp_path / "model.json").write_text("{}")
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    spec = importlib.util.spec_from_file_location("plain_function", flights.FUNCTIONS / "plain.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert BY_ID["leaf"].grade(module.leaf).state == "right"


def test_what_is_right_is_what_the_estimators_say():
    held = estimate.function(900, seconds=0.001, memory_mb=1024, provisioned=1)
    calls = sum(item.usd for item in held.items if item.what != "kept warm")
    kept = next(item.usd for item in held.items if item.what == "kept warm")
    context = {"usd_calls": calls / MILLIONS, "usd_held": kept, "requests_a_day": 900}
    assert BY_ID["held"].grade(held.total_usd / MILLIONS, **context).state == "right"
