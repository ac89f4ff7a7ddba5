"""The frame of the checks: three states, misconceptions, hints, what is remembered."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

import labs
from labs import progress
from labs.checks import Check, CheckError, Misconception, NotAttempted, WrongAnswer, attempt_me, called
from labs.checks.desk import checks_of

SPLIT = Check(
    id="sample.00.split",
    question="Which share does variant b get with weights 9 and 1?",
    is_right=lambda share, total=1.0: abs(share - 0.1 * total) < 1e-9,
    right=lambda share, total=1.0: f"{share:g}: a weight counts relative to the sum of the weights.",
    misconceptions=(
        Misconception("weight is a percentage", lambda share, **_: share == 0.01, "A weight is not a percentage."),
        Misconception("fails on other types", lambda share, **_: share.upper() == "X", "Never said."),
    ),
    hints=("Add the weights.", "weight / sum of weights"),
)
FUNCTION = Check(
    id="sample.00.function",
    question="Write a function that doubles.",
    is_right=lambda function: called(function, 3) == 6,
    right="Doubled.",
    wrong="It does not double.",
)


@pytest.fixture(autouse=True)
def sample_week(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("labs.checks.sample")
    module.CHECKS = (SPLIT, FUNCTION)  # type: ignore[attr-defined]  # that is what a week's module declares
    monkeypatch.setitem(sys.modules, "labs.checks.sample", module)
    monkeypatch.delenv("LABS_STRICT", raising=False)


def double(x: int) -> int:
    return 2 * x


def stub(x: int) -> Any: ...


def unwritten(x: int) -> int:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("check", "answer", "state", "words"),
    [
        (SPLIT, ..., "not attempted", "Which share"),
        (SPLIT, attempt_me, "not attempted", "Which share"),
        (SPLIT, None, "not attempted", "Which share"),
        (SPLIT, [0.1, ...], "not attempted", "Which share"),
        (SPLIT, {"share": attempt_me}, "not attempted", "Which share"),
        (SPLIT, 0.01, "wrong", "not a percentage"),
        (SPLIT, 0.5, "wrong", "Not yet"),
        (SPLIT, "a tenth", "wrong", "TypeError"),
        (SPLIT, 0.1, "right", "0.1: a weight counts"),
        (FUNCTION, stub, "not attempted", "doubles"),
        (FUNCTION, unwritten, "not attempted", "doubles"),
        (FUNCTION, lambda x: x / 0, "wrong", "ZeroDivisionError"),
        (FUNCTION, lambda x: x * x, "wrong", "does not double"),
        (FUNCTION, double, "right", "Doubled"),
    ],
)  # fmt: skip
def test_grade(check: Check, answer: object, state: str, words: str) -> None:
    result = check.grade(answer)
    assert (result.state, words in result.message) == (state, True), result.message


def test_no_answer_is_not_attempted() -> None:
    assert SPLIT.grade().state == "not attempted"


def test_context_reaches_the_grading() -> None:
    assert SPLIT.grade(10.0, total=100).state == "right"


def test_misconception_is_named() -> None:
    assert SPLIT.grade(0.01).misconception == "weight is a percentage"


def test_called_raises_for_a_stub() -> None:
    with pytest.raises(NotAttempted):
        called(stub, 1)


@pytest.mark.parametrize(
    ("answer", "mark"), [(..., "○ Not attempted"), (0.5, "✘ Wrong"), (0.1, "✔ Right")]
)  # fmt: skip
def test_output_has_a_sign_and_a_word(answer: object, mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    labs.check("sample.00.split", answer)
    assert capsys.readouterr().out.startswith(mark)


def test_wrong_raises_only_when_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    labs.check("sample.00.split", 0.5)
    monkeypatch.setenv("LABS_STRICT", "1")
    labs.check("sample.00.split", ...)
    labs.check("sample.00.split", 0.1)
    with pytest.raises(WrongAnswer, match=r"sample\.00\.split"):
        labs.check("sample.00.split", 0.5)


def test_hints_come_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    labs.hint("sample.00.split")
    assert capsys.readouterr().out == "Hint 1 of 2: Add the weights.\nHint 2 of 2: weight / sum of weights\n"


def test_results_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (..., 0.01, 0.1):
        labs.check("sample.00.split", answer)
    monkeypatch.setenv("LAB_TENANT_NAME", "run/start/00_tour")
    labs.check("sample.00.split", 0.01)
    mine, automatic = progress.read()
    assert (mine.tenant, mine.state, mine.attempts, mine.automatic) == ("default", "right", 2, False)
    assert (automatic.state, automatic.misconception) == ("wrong", "weight is a percentage")
    assert automatic.automatic


def test_damaged_progress_is_set_aside(lab_home: Path) -> None:
    lab_home.mkdir()
    progress.file().write_text('[{"tenant"')
    labs.check("sample.00.split", 0.1)
    assert [entry.state for entry in progress.read()] == ["right"]
    assert list(lab_home.glob("progress.corrupt-*.json"))


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("sample.00.none", "sample.00.split"),
        ("nowhere.00.split", "labs/checks/nowhere.py"),
        ("03 split", "begins with its week"),
    ],
)
def test_unknown_id_says_what_there_is(id: str, words: str) -> None:
    with pytest.raises(CheckError, match=words):
        labs.check(id, 1)


@pytest.mark.parametrize("declared", [(SPLIT, SPLIT), (Check("other.1", "", bool, ""),)])
def test_week_with_unusable_ids_is_refused(declared: tuple[Check, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["labs.checks.sample"], "CHECKS", declared)
    with pytest.raises(CheckError, match="unique"):
        checks_of("sample")
