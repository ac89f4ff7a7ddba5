"""A small repository with labs that need no cloud."""

import textwrap
from pathlib import Path

import pytest

from labs.notebooks.tree import LabFile

SAMPLE = Path(__file__).parent / "sample"


@pytest.fixture
def sample_text():
    return (SAMPLE / "small_lab.py").read_text(encoding="utf-8")


@pytest.fixture
def lab(tmp_path, sample_text):
    """The sample lab in a repository of its own."""
    return write_lab(tmp_path, "start/01_small", sample_text)


def write_lab(root, name, text):
    lab = LabFile(root, name)
    lab.source.parent.mkdir(parents=True, exist_ok=True)
    lab.source.write_text(text, encoding="utf-8")
    return lab


def tiny(code, *, tags='["parameters"]'):
    """The least that runs: a title, parameters, and one cell."""
    body = textwrap.dedent(code).strip()
    return f'# %% [markdown]\n# # Measure\n\n# %% tags={tags}\ntarget = "local"\n\n# %%\n{body}\n'
