"""The status page and the labs' own lines: from the report, from committed notebooks, or plainly without a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTENSIONS = ROOT / "book" / "_ext"
sys.path.insert(0, str(EXTENSIONS))

import lab_card  # noqa: E402  (extensions of the book are not a package)
import run_status  # noqa: E402

LOCK = "boto3==1.43.106 \\\n    --hash=sha256:00\nuv==0.9.5 ; sys_platform != 'win32' \\\n    --hash=sha256:00\n"
DAY = 1_795_000_000
"""2026-11-18 in UTC."""


def entry(name: str, status: str = "passed", **more: object) -> dict[str, object]:
    measured = {"seconds": 28.2, "cost_usd": 0.00066, "error": None}
    return {"path": f"solutions/{name}.ipynb", "status": status, **measured, **more}


@pytest.fixture
def book(tmp_path: Path):
    """A small book of two labs; `build` returns the process, `page` the words of one page."""
    (tmp_path / "requirements.txt").write_text(LOCK)
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\nextensions = ['myst_parser', 'lab_card']\n"
        "exclude_patterns = ['_build']\n"
    )
    (tmp_path / "index.md").write_text(
        "# Status\n\n```{run-status}\nboto3\nuv\n```\n\n```{toctree}\n:glob:\nsolutions/a/*\n```\n"
    )
    for name in ("01_first", "02_second"):
        path = tmp_path / "solutions" / "a" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Try {name}\n\nText.\n")

    def report(*entries: dict[str, object]) -> None:
        path = tmp_path / run_status.REPORT
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"notebooks": entries}))
        os.utime(path, (DAY, DAY))

    def build() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(tmp_path), str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def page(name: str) -> str:
        from bs4 import BeautifulSoup

        html = (tmp_path / "out" / f"{name}.html").read_text()
        return BeautifulSoup(html, "html.parser").select_one("[role=main]").get_text(" ", strip=True)

    return tmp_path, report, build, page


def test_says_plainly_that_there_was_no_run_and_then_shows_one(book) -> None:
    root, report, build, page = book
    done = build()
    assert done.returncode == 0, done.stderr
    assert "No run came before this build." in page("index")
    assert "Try 01_first not recorded - - -" in page("index")
    assert "boto3 1.43.106" in page("index")
    assert "uv 0.9.5" in page("index")
    assert "Not measured yet." in page("solutions/a/01_first")

    report(entry("a/01_first"), entry("a/02_second", "failed", seconds=130.0, error="Cell 3: KeyError: 'x'"))
    assert build().returncode == 0
    assert "1 of 2 labs passed in the run of 2026-11-18" in page("index")
    assert "Try 01_first passed 28 s 0.00066 USD 2026-11-18" in page("index")
    assert "Try 02_second failed 2.2 min" in page("index")
    first, second = page("solutions/a/01_first"), page("solutions/a/02_second")
    assert "Last run: 2026-11-18, 28 s on the machine that built this book" in first
    assert "the same use at list price costs 0.00066 USD" in first
    assert "ended after 2.2 min: failed. The outputs below are older." in second

    (root / run_status.REPORT).unlink()
    assert build().returncode == 0
    assert "No run came before this build." in page("index"), "pages follow the report when it goes, too"
    assert "Not measured yet." in page("solutions/a/01_first")


def test_a_lab_that_has_not_ended_is_not_reported(book, tmp_path: Path) -> None:
    _root, report, _build, _page = book
    report(entry("a/01_first", "running"), entry("a/02_second", "waiting", seconds=None), entry("a/03_x", "not run"))
    assert run_status.report(tmp_path) == {}


def test_a_library_that_is_not_locked_fails_the_build_and_names_page_and_line(book) -> None:
    root, _report, build, _page = book
    (root / "index.md").write_text("# Status\n\nWords.\n\n```{run-status}\nboto9\n```\n")
    done = build()
    assert done.returncode != 0
    assert "index.md:5" in done.stderr
    assert "requirements.txt has no boto9" in done.stderr


def test_a_damaged_report_fails_the_build_and_says_how_to_make_it_anew(book) -> None:
    root, report, build, _page = book
    report()
    (root / run_status.REPORT).write_text('{"notebooks": [')
    done = build()
    assert done.returncode != 0
    assert "cannot be read" in done.stderr
    assert "lab run" in done.stderr


def test_a_committed_notebook_remembers_its_run(tmp_path: Path) -> None:
    notebook = tmp_path / "solutions" / "a" / "01_first.ipynb"
    notebook.parent.mkdir(parents=True)
    notebook.write_text(json.dumps({"cells": [], "metadata": {"lab": {"run": {"seconds": 27.1, "day": "2026-11-20"}}}}))
    found = run_status.result(tmp_path, "solutions/a/01_first")
    assert found == run_status.Result("passed", 27.1, day=date(2026, 11, 20))
    assert lab_card.words(found) == "Last run: 2026-11-20, 27 s (kept with the notebook)."


def test_papermills_record_is_kept_in_short(tmp_path: Path) -> None:
    from labs.notebooks import document, executed

    def lab_notebook(**metadata: object) -> document.Notebook:
        made = document.make([document.code("x = 1", {})], source="solutions/a/01_first.py")
        made["metadata"] |= metadata
        return made

    ran = lab_notebook(papermill={"duration": 27.088639, "end_time": "2026-11-20T16:21:40.349414+00:00"})
    ran["cells"][0] |= {"execution_count": 1}
    once = executed.with_outputs(lab_notebook(), ran, tmp_path)
    assert once["metadata"]["lab"]["run"] == {"seconds": 27.1, "day": "2026-11-20"}
    again = executed.with_outputs(lab_notebook(), once, tmp_path)
    assert again["metadata"] == once["metadata"], "making the notebook again keeps it"
    assert "papermill" not in again["metadata"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "-"), (0.4, "0 s"), (28.2, "28 s"), (89.4, "89 s"), (90.0, "1.5 min")]
)
def test_durations_in_words(seconds: float | None, words: str) -> None:
    assert run_status.duration(seconds) == words


@pytest.mark.parametrize(
    ("usd", "words"), [(None, "-"), (0.0, "0 USD"), (0.0006609, "0.00066 USD"), (0.0123, "0.01 USD"), (2.5, "2.50 USD")]
)
def test_costs_in_words(usd: float | None, words: str) -> None:
    assert run_status.cost(usd) == words
