"""`import labs` is light, and offers what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import labs


def test_import_loads_nothing_heavy() -> None:
    script = "import sys; import labs; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"boto3", "botocore", "pandas", "numpy", "httpx", "matplotlib", "typer", "rich", "asyncio"}
    assert {name for name in loaded if name.startswith("labs")} == {"labs"}


@pytest.mark.parametrize("name", labs.__all__)
def test_everything_offered_is_there(name: str) -> None:
    assert getattr(labs, name) is not None


def test_unknown_name_says_what_is_offered() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'conect'.*connect"):
        labs.conect  # noqa: B018  # reading it is the test
