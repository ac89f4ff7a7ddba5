"""The quiz banks: right numbers, every objective asked, a reason for every option, no answer guessed by its letter."""

import importlib
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MOST_OF_A_LETTER = 0.30
MOST_LONGEST = 0.5
ITEMS_OF_A_LAB = 10
LETTERS = "ABCDEFGH"


def load(name):
    """A module of the book's extensions, which Sphinx imports from their folder."""
    folder = str(ROOT / "book/_ext")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


quiz_bank, quiz_formula, quiz_html = load("quiz_bank"), load("quiz_formula"), load("quiz_html")
BANKS = quiz_bank.read_all(ROOT)
SECTIONS = [section for bank in BANKS.values() for section in bank.sections]
ITEMS = [item for section in SECTIONS for item in section.items]
LABS = [section for section in SECTIONS if section.page.startswith("solutions/")]
PAGES = sorted([*(ROOT / "book").rglob("*.md"), *(ROOT / "solutions").rglob("[0-9]*.py")])

per_bank = pytest.mark.parametrize("bank", BANKS.values(), ids=BANKS)
per_item = pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)


@per_bank
def test_a_bank_has_no_problem(bank):
    assert "\n".join(map(str, bank.problems)) == ""
    assert bank.items


@pytest.mark.parametrize("section", LABS, ids=lambda section: section.name)
def test_a_lab_has_ten_items(section):
    assert len(section.items) == ITEMS_OF_A_LAB


def test_every_lab_has_its_items():
    written = {f.relative_to(ROOT).with_suffix("").as_posix() for f in (ROOT / "solutions").rglob("[0-9]*.py")}
    assert written - {section.page for section in LABS} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_objective_of_a_page_has_an_item(page):
    name = page.relative_to(ROOT).with_suffix("").as_posix()
    asked = {item.objective for section in SECTIONS if section.page == name for item in section.items}
    assert set(quiz_bank.objectives(page)) == asked


@per_bank
def test_no_letter_is_right_too_often(bank):
    choices = [item for item in bank.items if isinstance(item, quiz_bank.Choice)]
    letters = Counter(
        letter for item in choices for letter, option in zip(LETTERS, item.options, strict=False) if option.right
    )
    most, count = letters.most_common(1)[0]
    assert count / letters.total() <= MOST_OF_A_LETTER, f"{most} is right {count} of {letters.total()} times"


@per_bank
def test_the_longest_option_is_not_the_right_one_too_often(bank):
    singles = [item for item in bank.items if item.kind == "single"]
    longest = [max(item.options, key=lambda option: len(option.text)).right for item in singles]
    assert sum(longest) / len(longest) <= MOST_LONGEST


def test_no_question_is_asked_twice():
    for words in ([item.question for item in ITEMS], [item.id for item in ITEMS]):
        assert [word for word, count in Counter(words).items() if count > 1] == []


@per_item
def test_an_item_gives_different_reasons(item):
    reasons = [option.reason for option in getattr(item, "options", ()) if isinstance(option, quiz_bank.Option)]
    assert len(set(reasons)) == len(reasons)


@per_item
def test_an_ordering_is_shown_mixed(item):
    if isinstance(item, quiz_bank.Ordering):
        assert quiz_html.shuffled(item) != list(item.options)
        assert sorted(quiz_html.shuffled(item)) == sorted(item.options)


@pytest.mark.parametrize(
    ("formula", "value"),
    [("2 * 3 + 1", 7), ("-x ** 2", -9), ("ceil(x / 2)", 2), ("min(1, x)", 1), ("1e6 / 1e3", 1000)],
)
def test_a_formula_is_computed(formula, value):
    assert quiz_formula.evaluate(formula, {"x": 3}) == value


@pytest.mark.parametrize(
    "formula",
    [
        "y",
        "x.real",
        "__import__('os')",
        "[x]",
        "x if x else 1",
        "'a' * 3",
        "1 / 0",
        "9 ** 99999",
        "print(1)",
        "1 +",
        "True",
    ],
)
def test_a_formula_is_arithmetic_and_nothing_else(formula):
    with pytest.raises(quiz_formula.FormulaError, match="formula"):
        quiz_formula.evaluate(formula, {"x": 3})


# A small book with one bank, in which each bad bank differs from the good one in one place.

GOOD_CHOICE = {
    "id": "a-1",
    "objective": "w9-one-1",
    "kind": "single",
    "question": "Why?",
    "options": [{"text": text, "reason": f"because {text}", "right": text == "b"} for text in "abcd"],
}
GOOD_NUMBER = {
    "id": "a-2",
    "objective": "w9-one-1",
    "kind": "numeric",
    "question": "How much?",
    "prices": {"hour": "aws | SageMaker AI | ml.m5.large Hosting | us-east-1"},
    "formula": "hour * 10",
    "answer": 1.15,
    "tolerance": 0.01,
    "reason": "ten hours",
}
GOOD_ORDER = {
    "id": "a-3",
    "objective": "w9-one-1",
    "kind": "ordering",
    "question": "How?",
    "options": ["one", "two", "three"],
    "reason": "so",
}


def small_book(folder, items, **section):
    (folder / "book/quizzes").mkdir(parents=True)
    (folder / "book/week9").mkdir()
    (folder / "book/week9/one.md").write_text("# One\n\n- [**Do** it]{#w9-one-1}\n")
    (folder / "labs/cost").mkdir(parents=True)
    shutil.copy(ROOT / "labs/cost/prices.csv", folder / "labs/cost/prices.csv")
    text = yaml.safe_dump(
        {"title": "Nine", "sections": [{"title": "One", "lecture": "week9/one", "items": items, **section}]},
        sort_keys=False,
    )
    (folder / "book/quizzes/week9.yml").write_text(text)
    return folder


def test_a_good_bank_has_no_problem(tmp_path):
    bank = quiz_bank.read_all(small_book(tmp_path, [GOOD_CHOICE, GOOD_NUMBER, GOOD_ORDER]))["week9"]
    assert bank.problems == []
    assert [item.id for item in bank.items] == ["a-1", "a-2", "a-3"]


def but(item, **changes):
    """`item` with other values; None takes a key away."""
    return {key: value for key, value in {**item, **changes}.items() if value is not None}


WITHOUT_REASON = [*GOOD_CHOICE["options"][:3], {"text": "d"}]
NOTHING_RIGHT = [but(option, right=False) for option in GOOD_CHOICE["options"]]
ALL_RIGHT = [but(option, right=True) for option in GOOD_CHOICE["options"]]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (but(GOOD_CHOICE, kind="essay"), "essay"),
        (but(GOOD_CHOICE, question=None), "question: Field required"),
        (but(GOOD_CHOICE, question=""), "question"),
        (but(GOOD_CHOICE, objective=None), "objective: Field required"),
        (but(GOOD_CHOICE, objective="w9-one-2"), "unknown objective 'w9-one-2'. The page has: w9-one-1"),
        (but(GOOD_CHOICE, options=WITHOUT_REASON), "options.3.reason: Field required"),
        (but(GOOD_CHOICE, options=NOTHING_RIGHT), "0 of 4 options are right"),
        (but(GOOD_CHOICE, options=ALL_RIGHT[:2] + NOTHING_RIGHT[2:]), "2 of 4 options are right"),
        (but(GOOD_CHOICE, kind="multiple", options=ALL_RIGHT), "4 of 4 options are right"),
        (but(GOOD_CHOICE, options=[GOOD_CHOICE["options"][0]] * 2 + GOOD_CHOICE["options"][1:]), "the same"),
        (but(GOOD_CHOICE, hint="c"), "hint: Extra inputs are not permitted"),
        (but(GOOD_CHOICE, id="A 1"), "id: String should match pattern"),
        (but(GOOD_NUMBER, answer=None), "answer: Field required"),
        (but(GOOD_NUMBER, reason=None), "reason: Field required"),
        (but(GOOD_NUMBER, formula=None), "formula: Field required"),
        (but(GOOD_NUMBER, answer=1.5), "hour * 10 is 1.15, not 1.5"),
        (but(GOOD_NUMBER, formula="hours * 10"), "nothing is called 'hours'"),
        (but(GOOD_NUMBER, prices={"hour": "aws | S4 | x | us-east-1"}), "no price for aws | S4 | x | us-east-1"),
        (but(GOOD_NUMBER, wrong=[{"value": 1.15, "tolerance": 0, "reason": "r"}]), "right answer's tolerance"),
        (but(GOOD_NUMBER, wrong=[{"value": 2, "tolerance": 0}]), "wrong.0.reason: Field required"),
        (but(GOOD_NUMBER, claims=[{"formula": "hour", "value": 1, "tolerance": 0}]), "hour is 0.115, not 1"),
        (but(GOOD_ORDER, options=["one", "two"]), "options: Tuple should have at least 3 items"),
        (but(GOOD_ORDER, options=["one", "two", "one"]), "two steps are the same"),
    ],
)  # fmt: skip
def test_a_bad_item_is_reported_with_file_and_line(tmp_path, bad, words):
    bank = quiz_bank.read_all(small_book(tmp_path, [but(GOOD_ORDER, id="a-0"), bad]))["week9"]
    assert len(bank.problems) == 1
    assert words in bank.problems[0].text
    lines = bank.path.read_text().splitlines()
    assert lines[bank.problems[0].line - 1].lstrip("- ") == f"id: {bad['id']}"
    assert str(bank.problems[0]).startswith(f"{bank.path}:{bank.problems[0].line}: {bad['id']}: ")


def test_an_id_that_is_used_twice_is_reported(tmp_path):
    bank = quiz_bank.read_all(small_book(tmp_path, [GOOD_CHOICE, but(GOOD_NUMBER, id="a-1")]))["week9"]
    assert [problem.text for problem in bank.problems] == ["a-1: the id is taken by the item at week9.yml:6"]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"lecture": "week9/two"}, "there is no book/week9/two.md"),
        ({"lab": "week9/01_x"}, "either lab or lecture"),
        ({"colour": "red"}, "a section needs"),
    ],
)
def test_a_bad_section_is_reported(tmp_path, section, words):
    bank = quiz_bank.read_all(small_book(tmp_path, [], **section))["week9"]
    assert any(words in problem.text for problem in bank.problems)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("title: [", 1, "is not YAML"),
        ("title: A\nsections: []\ntitle: B\n", 1, "'title' is written twice"),
        ("- a\n", 1, "a bank needs a title"),
        ("title: A\n", 1, "a bank needs a title and a list of sections"),
    ],
)
def test_a_file_that_is_no_bank_is_reported(tmp_path, text, line, words):
    root = small_book(tmp_path, [])
    (root / "book/quizzes/week9.yml").write_text(text)
    (problem,) = quiz_bank.read_all(root)["week9"].problems
    assert words in problem.text


CONF = """
import sys
sys.path.insert(0, {ext!r})
extensions = ["myst_parser", "prices", "quiz"]
myst_enable_extensions = ["colon_fence", "attrs_inline"]
html_static_path = []
"""


def build(root, page):
    """Build a small book; returns Sphinx's status and what it complained of."""
    from io import StringIO

    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    (root / "conf.py").write_text(CONF.format(ext=str(ROOT / "book/_ext")))
    (root / "index.md").write_text(f"# Index\n\n{page}\n\n```{{toctree}}\nbook/week9/one\n```\n")
    complaints = StringIO()
    with docutils_namespace():
        app = Sphinx(root, root, root / "out", root / "trees", "html", status=None, warning=complaints)
        app.build()
    return app.statuscode, complaints.getvalue()


def test_a_page_shows_what_it_asks_for(tmp_path):
    root = small_book(tmp_path, [GOOD_CHOICE, but(GOOD_NUMBER, tags=["cost"]), GOOD_ORDER])
    asked = ("week9\n", "week9 week9/one\n", "week9\n:tag: cost\n")
    assert build(root, "\n\n## Next\n\n".join(f"```{{quiz}} {words}```" for words in asked)) == (0, "")
    shown = (root / "out/index.html").read_text()
    assert [shown.count(f'data-id="{name}"') for name in ("a-1", "a-2", "a-3")] == [2, 3, 2]
    assert "<h2>One" in shown
    assert "2026-" in shown  # the price's date


def test_a_bad_bank_fails_the_build_with_file_and_line(tmp_path):
    root = small_book(tmp_path, [but(GOOD_CHOICE, options=WITHOUT_REASON)])
    status, complaints = build(root, "```{quiz} week9\n```")
    assert status == 1
    assert f"{root}/book/quizzes/week9.yml:6: ERROR: a-1: options.3.reason: Field required" in complaints


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("```{quiz} week8\n```", "there is no quiz bank book/quizzes/week8.yml"),
        ("```{quiz} week9 week9/two\n```", "the bank week9.yml has no item for week9/two"),
        ("```{quiz} week9\n:tag: red\n```", "has no item for this page red"),
    ],
)
def test_a_page_that_asks_for_nothing_known_fails_the_build(tmp_path, page, words):
    root = small_book(tmp_path, [GOOD_CHOICE])
    status, complaints = build(root, page)
    assert status == 1
    assert f"{root}/index.md:3: ERROR:" in complaints
    assert words in complaints
