"""The book, built once for all tests that look at it."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The book, built from a copy of what is committed, as a bare `jupyter-book build .` builds it."""
    copy = tmp_path_factory.mktemp("book")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    command = [str(Path(sysconfig.get_path("scripts")) / "jupyter-book"), "build", ".", "-W", "--keep-going", "-n"]
    nowhere = {
        "LAB_HOME": str(copy / "no-cloud"),
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, **nowhere}, capture_output=True, text=True, timeout=280, check=False
    )
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    assert done.returncode == 0, "\n".join(warnings) or done.stderr[-3000:]
    assert not (copy / "no-cloud").exists(), "building the book started the local cloud"
    return copy / "_build" / "html"
