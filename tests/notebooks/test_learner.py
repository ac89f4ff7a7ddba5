"""The learner's notebook: no answers, stubs that tell their shape, no outputs."""

import textwrap
from pathlib import Path

import nbformat
import pytest

from labs.notebooks import document, learner, source

PATH = Path("solutions/x.py")


def stub_of(answer, hint=""):
    cell = source.Cell("code", f"# BEGIN SOLUTION{hint}\n{textwrap.dedent(answer).strip()}\n# END SOLUTION")
    return learner.without_answers(cell, PATH).splitlines()


@pytest.mark.parametrize(
    ("answer", "stub"),
    [
        ("share = 0.2", ["share = ...  # a number"]),
        ("names = ['a', 'b']", ["names = ...  # a list"]),
        ("allowed = {'carrier'}", ["allowed = ...  # a set"]),
        ("a, b = 1, 2", ["a, b = ..., ...  # a tuple"]),
        ("rate: float = late / count", ["rate: float = ..."]),
        (
            "def f(x: int) -> int:\n    '''Twice x.'''\n    return 2 * x",
            ["def f(x: int) -> int:", '    """Twice x."""', "    return ..."],
        ),
        ("def f():\n    print(1)", ["def f():", "    ..."]),
        ("print('only shown')", ["..."]),
        ("first = 1\nsecond = f(first)", ["first = ...  # a number", "second = ...  # what one call returns"]),
        ("return total", ["return ..."]),
    ],
)
def test_a_stub_tells_the_shape_of_the_answer(answer, stub):
    assert stub_of(answer)[1:] == stub


def test_a_stub_counts_lines_or_says_the_hint():
    assert stub_of("x = 1\ny = 2")[0] == "# Your turn (about 2 lines)"
    assert stub_of("x = 1", ": one number")[0] == "# Your turn: one number"


def test_a_stub_keeps_its_indent_and_what_is_around_it():
    text = "def f(x):\n    # BEGIN SOLUTION\n    y = x + 1\n    # END SOLUTION\n    return y"
    shown = learner.without_answers(source.Cell("code", text), PATH)
    assert shown == "def f(x):\n    # Your turn (about 1 line)\n    y = ...\n    return y"
    compile(shown, "stub", "exec")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# BEGIN SOLUTION\nx = 1", "BEGIN SOLUTION without an END"),
        ("x = 1\n# END SOLUTION", "END SOLUTION without a BEGIN"),
        ("# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION", "a second BEGIN"),
    ],
)
def test_unbalanced_markers_are_refused_with_their_line(text, words):
    with pytest.raises(source.SourceError, match=words) as refused:
        learner.without_answers(source.Cell("code", text, number=3, line=40), PATH)
    assert str(refused.value).startswith("solutions/x.py:4")


def test_answers_are_gone_and_the_notebook_is_valid(sample_text):
    notebook = learner.notebook(source.parse(sample_text, PATH), "start/01_small")
    text = document.dumps(notebook)
    assert "1 / 6" not in text
    assert "about the same share" not in text
    assert "SOLUTION" not in text
    assert not document.has_outputs(notebook)
    nbformat.validate(nbformat.reads(text, as_version=4))


def test_every_stub_compiles(sample_text):
    for cell in learner.notebook(source.parse(sample_text, PATH), "start/01_small")["cells"]:
        if cell["cell_type"] == "code":
            compile(cell["source"], cell["id"], "exec")
