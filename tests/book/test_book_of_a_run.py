"""The book that `lab run` builds: with the notebooks just executed, and without touching the committed ones."""

import json
import shutil
from pathlib import Path

import pytest

from labs.notebooks import document, generate
from labs.notebooks.tree import LabFile
from labs.run import book

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_book(tmp_path):
    """A book of one page and one lab, in this book's own configuration."""
    for name in ("_config.yml", "book/_ext", "book/static"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/first\nchapters:\n  - file: solutions/a/01_x\n")
    (tmp_path / "book" / "first.md").write_text("# First page\n\nIt costs \\$1 or $2, not $3.\n")
    lab = LabFile(tmp_path, "a/01_x")
    lab.source.parent.mkdir(parents=True)
    lab.source.write_text("# %% [markdown]\n# # Measure\n\n# %%\nprint(6 * 7)\n")
    generate.build(lab)
    return lab


def executed(lab, text):
    notebook = document.read(lab.executed)
    notebook["cells"][1] |= {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": text}],
        "execution_count": 1,
    }
    path = lab.root / "fresh.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def test_it_shows_the_fresh_results_and_leaves_the_committed_ones(small_book):
    committed = small_book.executed.read_bytes()
    root = small_book.root
    index = book.build(root, {small_book: executed(small_book, "fresh: 42\n")}, root / "_build" / "book.log")
    assert index == root / "_build" / "html" / "index.html"
    assert "fresh: 42" in (root / "_build" / "html" / "solutions" / "a" / "01_x.html").read_text()
    assert "$2, not $3" in (root / "_build" / "html" / "book" / "first.html").read_text(), "money is not a formula"
    assert small_book.executed.read_bytes() == committed


def test_a_warning_fails_the_build_with_the_reason_and_the_log(small_book):
    (small_book.root / "book" / "first.md").write_text("# First page\n\n{doc}`nowhere`\n")
    log = small_book.root / "book.log"
    with pytest.raises(book.BookError, match=r"unknown document: 'nowhere'[\s\S]*Log: .*book\.log"):
        book.build(small_book.root, {}, log)
