"""A small repository with labs that need no cloud."""

import textwrap
from pathlib import Path

import pytest

from labs.notebooks.tree import LabFile
from labs.run.options import Options

SAMPLE = Path(__file__).parent / "sample"


@pytest.fixture(scope="session")
def sample_text():
    return (SAMPLE / "small_lab.txt").read_text(encoding="utf-8")


@pytest.fixture
def write_lab(tmp_path):
    """`write_lab(name, text)` puts a lab's source into a repository of its own."""

    def write(name, text):
        lab = LabFile(tmp_path, name)
        lab.source.parent.mkdir(parents=True, exist_ok=True)
        lab.source.write_text(text, encoding="utf-8")
        return lab

    return write


@pytest.fixture
def lab(write_lab, sample_text):
    """The sample lab in a repository of its own."""
    return write_lab("start/01_small", sample_text)


@pytest.fixture(scope="session")
def tiny():
    """`tiny(code)`: the least that runs: a title, parameters, and one cell."""

    def make(code, tags='["parameters"]'):
        head = f'# %% [markdown]\n# # Measure\n\n# %% tags={tags}\ntarget = "local"\n\n# %%\n'
        return f"{head}{textwrap.dedent(code).strip()}\n"

    return make


@pytest.fixture
def options(tmp_path):
    """Options of a run in the small repository, where notebooks can import the stub of the cloud."""
    return Options(tmp_path / "_build" / "run", environment={"PYTHONPATH": str(SAMPLE)})
