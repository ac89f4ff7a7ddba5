"""The quiz banks: ten items a lab, a reason for every option, answers that cannot be guessed by their letter."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BANKS = sorted((ROOT / "book/quizzes").glob("*.yml"))
MOST_OF_A_LETTER = 0.30
MOST_LONGEST = 0.5


def load_extension():
    spec = importlib.util.spec_from_file_location("quiz", ROOT / "book/_ext/quiz.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


quiz = load_extension()
PARTS = [part for bank in BANKS for part in quiz.sections(yaml.safe_load(bank.read_text()))]
ITEMS = [item for part in PARTS for item in part["items"]]
CHOICES = [item for item in ITEMS if item["kind"] in ("single", "multiple")]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part["lab"])
def test_ten_items_for_a_lab_that_exists(part):
    assert len(part["items"]) == 10
    assert (ROOT / f"solutions/{part['lab']}.py").exists()


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["id"])
def test_an_item_can_be_asked(item):
    quiz.check(item)
    shown = quiz.html(1, item)
    assert shown.count("<details>") == shown.count("</details>") >= 1


def test_ids_are_unique():
    assert [id for id, count in Counter(item["id"] for item in ITEMS).items() if count > 1] == []


@pytest.mark.parametrize("bank", BANKS, ids=lambda bank: bank.stem)
def test_no_letter_is_right_too_often(bank):
    items = [item for part in quiz.sections(yaml.safe_load(bank.read_text())) for item in part["items"]]
    letters = Counter(
        "ABCDEFGH"[place]
        for item in items
        if item["kind"] in ("single", "multiple")
        for place, option in enumerate(item["options"])
        if option.get("right")
    )
    most, count = letters.most_common(1)[0]
    assert count / letters.total() <= MOST_OF_A_LETTER, f"{most} is right {count} of {letters.total()} times"


def test_the_longest_option_is_not_the_right_one_too_often():
    singles = [item for item in CHOICES if item["kind"] == "single"]
    longest = [
        max(item["options"], key=lambda option: len(str(option["text"]))).get("right", False) for item in singles
    ]
    assert sum(longest) / len(longest) <= MOST_LONGEST


@pytest.mark.parametrize("item", [i for i in ITEMS if i["kind"] == "numeric"], ids=lambda item: item["id"])
def test_a_typical_wrong_value_is_not_within_the_right_one(item):
    for wrong in item.get("wrong", ()):
        assert abs(wrong["value"] - item["answer"]) > item["tolerance"] + wrong["tolerance"]


@pytest.mark.parametrize("item", [i for i in ITEMS if i["kind"] == "ordering"], ids=lambda item: item["id"])
def test_an_ordering_is_shown_mixed(item):
    assert quiz.shuffled(item) != item["options"]
    assert sorted(quiz.shuffled(item)) == sorted(item["options"])


GOOD = {"id": "x", "question": "Why?"}
OPTION = {"text": "a", "reason": "b"}


@pytest.mark.parametrize(
    "item",
    [
        {**GOOD, "kind": "essay"},
        {**GOOD, "kind": "single", "options": [OPTION, OPTION, OPTION]},
        {**GOOD, "kind": "single", "options": [{**OPTION, "right": True}, {**OPTION, "right": True}, OPTION]},
        {**GOOD, "kind": "multiple", "options": [{**OPTION, "right": True}] * 3},
        {**GOOD, "kind": "single", "options": [{**OPTION, "right": True}, OPTION, {"text": "c"}]},
        {**GOOD, "kind": "numeric", "answer": 1},
        {**GOOD, "kind": "numeric", "answer": 1, "tolerance": 0, "reason": "r", "wrong": [{"value": 2}]},
        {**GOOD, "kind": "ordering", "options": ["a", "b"], "reason": "r"},
    ],
)
def test_a_malformed_item_is_refused(item):
    with pytest.raises(quiz.QuizError, match="x: "):
        quiz.check(item)
