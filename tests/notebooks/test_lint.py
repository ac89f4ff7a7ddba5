"""The anatomy of a lab: a good one passes, and each defect is named with its line, its cell and the remedy."""

from pathlib import Path

import pytest

from labs.notebooks import lint, source
from labs.notebooks.command import lint_in

PATH = Path("solutions/x.py")


def problems(text):
    return [str(problem) for problem in lint.check(source.parse(text, PATH))]


def test_the_sample_is_a_good_lab(sample_text):
    assert problems(sample_text) == []


DEFECTS = [
    ("no parameters cell", '# %% tags=["parameters"]', "# %%", "no cell is tagged `parameters`. Write exactly one"),
    ("no target", 'target = "local"', 'goal = "local"', 'Add `target = "local"`'),
    ("a noun as title", "# Measure a die", "# Dice", "begins with 'Dice'. Begin with a verb"),
    ("no card", "**Prerequisites**", "**Before**", "the card lacks: prerequisites"),
    ("no time", "5 minutes", "short", "the card lacks: minutes"),
    ("no preflight", 'lab = connect(target, lab="start/01_small")', "lab = None", "no preflight"),
    ("two import cells", "share = sum(", "import math\n\nshare = sum(", "a second import cell"),
    ("a sleep", "rolls = [", "import time\n\ntime.sleep(1)\nrolls = [", "sleeps. Wait for the condition"),
    ("a placeholder", "guess = 1 / 6", 'guess = "<your-guess>"', "a placeholder to edit"),
    ("money as formula", "One line.", "From $1 to $2.", "two `$` in a paragraph"),
    ("no spend", "lab.spend()", "print()", "never shows the spend"),
    ("no clean-up", "lab.cleanup()", "print()", "no clean-up"),
    ("clean-up unproven", "assert not lab.leftovers()", "print()", "the clean-up does not prove itself"),
    ("no ending", "## What you learned", "## Fin", "no part called `## What you learned`"),
    ("no reading", "**Further reading**", "**More**", "no part called `Further reading`"),
    ("few sections", "## Measure", "### Measure", "2 sections (Why it matters, Read the result); a lab has 3 to 5"),
    ("no alt text", "share = sum(", "plots.latency(rolls)\nshare = sum(", "no alt text"),
    ("a long cell", "share = sum(", "x = 1\n" * 20 + "share = sum(", "22 lines; a code cell has at most 20"),
    ("two titles", "## Measure", "# Measure", "a second level-1 heading"),
    ("broken code", "share = sum(", "share = = sum(", "not valid Python: invalid syntax (line 1 of the cell)"),
    ("open answer", "# END SOLUTION", "# the end", "BEGIN SOLUTION without an END"),
]


@pytest.mark.parametrize(("old", "new", "words"), [case[1:] for case in DEFECTS], ids=[case[0] for case in DEFECTS])
def test_a_defect_is_named_with_its_remedy(sample_text, old, new, words):
    assert old in sample_text
    assert any(words in problem for problem in problems(sample_text.replace(old, new, 1)))


def test_a_problem_names_line_and_cell(sample_text):
    text = sample_text.replace("rolls = [", "time.sleep(1)\nrolls = [", 1)
    line = text[: text.index("time.sleep")].count("\n")
    assert f"solutions/x.py:{line}: cell 11: sleeps." in problems(text)[0]


def test_too_few_and_too_many_cells(sample_text):
    assert any("a lab has 20 to 35" in problem for problem in problems(sample_text.split("# ## Measure")[0]))
    assert any("a lab has 20 to 35" in problem for problem in problems(sample_text + "\n# %% [markdown]\n# x\n" * 20))


def test_four_code_cells_in_a_row_need_text(sample_text):
    text = sample_text.replace("# %%\nrolls", "# %%\na = 1\n\n# %%\nb = 1\n\n# %%\nc = 1\n\n# %%\nrolls", 1)
    assert any("no text before this code" in problem for problem in problems(text))


def test_the_same_alt_text_twice_is_no_alt_text(sample_text):
    plot = '# %% mystnb={"image": {"alt": "a plot"}}\nplots.bars(rolls)\n\n'
    assert any("the same alt text" in problem for problem in problems(sample_text + "\n" + plot + plot))


def test_the_command_fails_with_the_remedy(write_lab, tmp_path, sample_text, capsys):
    write_lab("start/01_small", sample_text.replace('# %% tags=["parameters"]', "# %%"))
    assert lint_in(tmp_path, []) == 1
    assert "solutions/start/01_small.py: no cell is tagged `parameters`" in capsys.readouterr().err
