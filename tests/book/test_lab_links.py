"""The lab role links a lab that is in the book and names one that is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_links_a_lab_in_the_book_and_names_an_absent_one(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\nextensions = ['myst_parser', 'lab_links']\n"
    )
    (tmp_path / "solutions" / "week1").mkdir(parents=True)
    (tmp_path / "solutions" / "week1" / "01_here.md").write_text("# Here\n")
    (tmp_path / "index.md").write_text(
        "# Page\n\n{lab}`lab 1 <week1/01_here>` and {lab}`lab 2 <week1/02_absent>`\n\n"
        "```{toctree}\nsolutions/week1/01_here\n```\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert 'href="solutions/week1/01_here.html"' in page
    assert '<em class="lab-absent">lab 2</em>' in page
