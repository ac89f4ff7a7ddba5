"""Builds the book from a run: the repository's pages with the notebooks that were just executed.

The pages are put together in a staging folder, so that the committed executed notebooks, and with them `git status`,
stay as they are. The result lies where a bare `jupyter-book build .` puts it: `_build/html`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from labs.notebooks import generate
from labs.notebooks.tree import LabFile

# What the book is made of; its pages quote prices from the price book, versions from the lock, and the run's report.
_PARTS: Final = (
    "_config.yml",
    "_toc.yml",
    "book",
    "notebooks",
    "solutions",
    "labs/cost/prices.csv",
    "requirements.txt",
    "_build/run/report.json",
)
# Green means: no warning at all, and no reference that leads nowhere.
STRICT: Final = ("-W", "--keep-going", "-n")


class BookError(RuntimeError):
    """The book did not build; the message holds its last words and the log's path."""


def build(root: Path, executed: Mapping[LabFile, Path], log: Path) -> Path:
    """Build the book of `root` with freshly `executed` notebooks; returns its first page. Raises BookError."""
    staging = root / "_build" / "book"
    _stage(root, staging, executed)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [_jupyter_book(), "build", str(staging), "--path-output", str(root), "-q", *STRICT]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait()
        finally:
            if process.poll() is None:  # Ctrl-C
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status != 0:
        words = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        raise BookError(f"The book did not build:\n{words}\nLog: {log}")
    return root / "_build" / "html" / "index.html"


def _jupyter_book() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "jupyter-book")


def _stage(root: Path, staging: Path, executed: Mapping[LabFile, Path]) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    hidden = shutil.ignore_patterns(".*", "__pycache__", "*.mine.ipynb")
    for name in _PARTS:
        # Times are kept: Sphinx then reads only what has changed.
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir():
            shutil.copytree(root / name, staging / name, ignore=hidden)
        elif (root / name).exists():
            shutil.copy2(root / name, staging / name)
    for lab, notebook in executed.items():
        generate.stage_executed(lab, notebook, staging / "solutions" / f"{lab.name}.ipynb")
