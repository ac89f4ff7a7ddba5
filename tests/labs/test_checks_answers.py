"""What holds of every question: each case of the tables beside this file, stubs, misconceptions and hints."""

import importlib
import pkgutil

import pytest

from labs import checks
from labs.checks import attempt_me

from . import test_checks_tour_and_week1 as tour_and_week1
from . import test_checks_week1_cost as week1_cost
from . import test_checks_week1_lambda as week1_lambda
from . import test_checks_week1_storage as week1_storage

TABLES = (tour_and_week1, week1_storage, week1_lambda, week1_cost)
CASES = [(table.BY_ID[case[0]], *case[1:]) for table in TABLES for case in table.CASES]
CHECKS = {check.id: check for table in TABLES for check in table.BY_ID.values()}
CONTEXTS = {check.id: context for check, _, context, _, _ in CASES}


def test_every_question_is_in_a_table():
    modules = [importlib.import_module(f"labs.checks.{each.name}") for each in pkgutil.iter_modules(checks.__path__)]
    assert set(CHECKS) == {check.id for module in modules for check in getattr(module, "CHECKS", ())}


@pytest.mark.parametrize(
    ("check", "answer", "context", "state", "misconception"),
    [pytest.param(*case, id=f"{case[0].id}-{number}") for number, case in enumerate(CASES)],
)
def test_an_answer(check, answer, context, state, misconception):
    result = check.grade(answer, **context)
    assert (result.state, result.misconception) == (state, misconception), result.message


@pytest.mark.parametrize("id", CHECKS)
@pytest.mark.parametrize("stub", [..., attempt_me, None])
def test_a_stub_is_not_wrong(id, stub):
    result = CHECKS[id].grade(stub, **CONTEXTS[id])
    assert (result.state, result.message) == ("not attempted", CHECKS[id].question)


@pytest.mark.parametrize("id", CHECKS)
def test_every_misconception_has_a_case(id):
    shown = {misconception for check, _, _, _, misconception in CASES if check.id == id and misconception}
    assert shown == {idea.name for idea in CHECKS[id].misconceptions}


@pytest.mark.parametrize("id", CHECKS)
def test_every_question_has_hints(id):
    assert len(CHECKS[id].hints) >= 2
