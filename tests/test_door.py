"""The door `lab`: every obstacle a newcomer can meet before the kit is installed has a message with a next action."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DEAD_INDEX = "http://127.0.0.1:9/simple"


@pytest.fixture
def door() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("door", str(REPOSITORY / "lab"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("door", loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """The door in a folder whose lock holds nothing but the installer and the build backend."""
    root = tmp_path / "clone"
    (root / "labs").mkdir(parents=True)
    (root / "labs" / "__init__.py").touch()
    (root / "labs" / "cli.py").write_text("import sys; print('handed over', *sys.argv[1:])")
    shutil.copy(REPOSITORY / "lab", root)
    (root / "requirements.txt").write_text(
        _blocks("uv", "hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers")
    )
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "small"\nversion = "0"\n[tool.hatch.build.targets.wheel]\npackages = ["labs"]\n'
        'dev-mode-dirs = ["."]\n'
    )
    return root


def _blocks(*names: str) -> str:
    lock = (REPOSITORY / "requirements.txt").read_text()
    return "".join(re.search(rf"^{name}==(?:.*\\\n)*.*\n", lock, re.MULTILINE).group(0) for name in names)


def _run(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "LAB_VENV")} | environment
    return subprocess.run([sys.executable, "lab", *arguments], cwd=root, env=env, capture_output=True, text=True)


def test_the_first_command_installs_and_hands_over_and_the_second_installs_nothing(small_project):
    first = _run(small_project, "status", "--verbose")
    assert first.returncode == 0, first.stderr
    assert "handed over status --verbose" in first.stdout
    assert "Installing the locked packages" in first.stderr
    second = _run(small_project, "status")
    assert (second.stdout, second.stderr) == ("handed over status\n", "")


def test_a_changed_lock_is_installed_again(small_project):
    assert _run(small_project, "setup").returncode == 0
    with (small_project / "requirements.txt").open("a") as lock:
        lock.write("# changed\n")
    assert "Installing the locked packages" in _run(small_project, "status").stderr


@pytest.mark.parametrize("damage", ["no interpreter", "dead interpreter", "no mark"])
def test_a_half_made_environment_is_repaired(small_project, damage):
    assert _run(small_project, "setup").returncode == 0
    venv = small_project / ".venv"
    if damage == "no mark":
        (venv / ".lab-lock").unlink()
    else:
        (venv / "bin" / "python").unlink()
    if damage == "dead interpreter":
        (venv / "bin" / "python").symlink_to("/nonexistent/python3")
    result = _run(small_project, "status")
    assert result.returncode == 0, result.stderr
    assert "handed over status" in result.stdout


def test_an_unreachable_registry_is_named_and_nothing_is_marked_complete(small_project):
    # PIP_CONFIG_FILE and the find-links variables would offer other sources.
    unreachable = {"PIP_INDEX_URL": DEAD_INDEX, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_RETRIES": "0"}
    result = _run(small_project, "run", **unreachable, PIP_EXTRA_INDEX_URL="", PIP_NO_CACHE_DIR="1")
    assert result.returncode == 1
    assert "package index could not be reached" in result.stderr
    assert "run the same command again" in result.stderr
    assert not (small_project / ".venv" / ".lab-lock").exists()


def test_help_before_the_set_up_installs_nothing(small_project):
    result = _run(small_project, "--help")
    assert "./lab run" in result.stdout
    assert not (small_project / ".venv").exists()


def test_windows_is_told_about_wsl(door):
    with pytest.raises(door.SetupError, match="wsl --install"):
        door.refuse_windows("win32")


def test_an_unsupported_python_says_what_to_install(door, monkeypatch):
    monkeypatch.setattr(door.shutil, "which", lambda _: None)
    with pytest.raises(door.SetupError, match=r"no Python 3\.11 to 3\.13 is on PATH(?s:.)*python3-?\.?12"):
        door.start_again_with_newer_python()


def test_an_unsupported_python_starts_a_fitting_one(door, monkeypatch):
    started = []
    monkeypatch.setattr(door.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "python3.12" else None)
    monkeypatch.setattr(door, "works", lambda python: True)
    monkeypatch.setattr(door.os, "execv", lambda python, arguments: started.append(python) or sys.exit(0))
    with pytest.raises(SystemExit):
        door.start_again_with_newer_python()
    assert started == ["/usr/bin/python3.12"]


def test_python_2_and_3_6_would_get_the_message_not_a_syntax_error():
    source = (REPOSITORY / "lab").read_text()
    compile(source, "lab", "exec")
    assert not re.search(r"\bf['\"]|:=|-> |match ", source)


def test_a_full_disk_says_how_much_is_needed(door):
    with pytest.raises(door.SetupError, match=r"0\.5 GB are free .* needs 6 GB"):
        door.require_disk(free_bytes=5e8)


def test_a_python_without_ensurepip_says_python3_venv(door, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(door.SetupError, match="apt install python3-venv"):
        door.make_venv()


def test_a_newer_python_than_supported_counts_as_unsupported(door, monkeypatch, tmp_path):
    Version = namedtuple("Version", "major minor")
    monkeypatch.setattr(door, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(door, "MARK", str(tmp_path / ".venv" / ".lab-lock"))
    monkeypatch.setattr(door.sys, "version_info", Version(3, 14))
    monkeypatch.setattr(door.shutil, "which", lambda _: None)
    with pytest.raises(door.SetupError, match=r"Python 3\.14 is not supported"):
        door.set_up()


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("error: No space left on device", "disk is full"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES: hash mismatch", "not the one that was locked"),
        ("Failed to fetch: dns error", "package index could not be reached"),
        ("something else", "rm -rf"),
    ],
)
def test_installer_complaints_get_a_next_action(door, said, advice):
    assert advice in door.next_action(said)
