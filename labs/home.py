"""Where things are: the state folder, the repository, the files labs keep."""

from __future__ import annotations

import os
from pathlib import Path


def repository() -> Path:
    """The folder that holds labs, notebooks and solutions."""
    return Path(__file__).resolve().parents[1]


def folder() -> Path:
    """The state folder: LAB_HOME, else `.lab` in the repository. It may not exist yet."""
    return Path(os.environ.get("LAB_HOME") or repository() / ".lab").resolve()


def build_folder() -> Path:
    """Where generated reports go."""
    return repository() / "_build"


def tenant_name() -> str:
    """The tenant of this process: LAB_TENANT_NAME, else the notebook that runs it, else `default`."""
    named = os.environ.get("LAB_TENANT_NAME")
    if named:
        return named
    notebook = os.environ.get("JPY_SESSION_NAME")
    if not notebook:
        return "default"
    path = Path(notebook)
    try:
        path = path.resolve().relative_to(repository() / "notebooks")
    except ValueError:
        path = Path(*path.parts[-2:])
    return str(path.with_suffix("")).strip("/")
