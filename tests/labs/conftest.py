"""State folders for tests of labs: never the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def lab_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder, and a tenant's name that does not depend on who runs the tests."""
    folder = tmp_path / "lab-home"
    monkeypatch.setenv("LAB_HOME", str(folder))
    monkeypatch.delenv("LAB_TENANT_NAME", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return folder


@pytest.fixture
def clean_environment() -> Iterator[None]:
    """Put back whatever `labs.connect` sets in this process's environment."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("AWS_", "LABS_", "SAGEMAKER_")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)
