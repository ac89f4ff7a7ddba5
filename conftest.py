"""Lets a bare `pytest --nbval-lax notebooks/` work: a tenant per notebook, and a known way to compare outputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent
_SANITIZE = _ROOT / "tests" / "notebooks" / "nbval_sanitize.cfg"


def pytest_configure(config: pytest.Config) -> None:
    """Compare outputs without what differs from run to run, unless told otherwise."""
    if getattr(config.option, "nbval_sanitize_with", "") is None:
        config.option.nbval_sanitize_with = str(_SANITIZE)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Name the tenant before nbval starts the notebook's kernel: what one leaves must not trouble the next."""
    if item.path.suffix == ".ipynb":
        os.environ["LAB_TENANT_NAME"] = "nbval-" + "-".join(item.path.with_suffix("").parts[-2:])
