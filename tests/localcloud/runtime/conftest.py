"""Fixtures for the tests of the runtime."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from localcloud.runtime import job, process, procfs
from localcloud.runtime.spec import JobSpec, Limits


@pytest.fixture(scope="session")
def wait_until():
    def wait(condition, timeout=20.0):
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.01)
        return result

    return wait


@pytest.fixture
def make_job(tmp_path):
    """Builds the spec of a job that runs a Python text; whatever is left of it is killed afterwards."""
    folders = []

    def make(text="", *, name="job", command=None, env=None, **limits):
        folder = tmp_path / name
        folder.mkdir()
        folders.append(folder)
        limits.setdefault("stop_grace_seconds", 5.0)
        return JobSpec(
            folder=folder,
            command=command or (sys.executable, "-I", "-S", "-c", text),
            env=env or {},
            working_folder=folder,
            log=folder / "log.txt",
            limits=Limits(**limits),
        )

    yield make
    for folder in folders:
        _end(folder)


def _end(folder: Path) -> None:
    keeper = job.shim_identity(folder)
    if keeper is not None:
        process.kill_all(keeper)
    job.status(folder)


@pytest.fixture(autouse=True)
def no_orphans(request, tmp_path):
    """After a test nothing alive may work in its temporary folder."""
    yield
    left = [each.pid for each in procfs.snapshot() if _works_in(each.pid, tmp_path)]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"left behind by {request.node.name}: {left}"


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:
        return False
