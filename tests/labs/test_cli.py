"""The `lab` command: what it prints, and that what is not understood says what to do next."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labs import cli, doctor, home, progress

Lab = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lab(capfd: pytest.CaptureFixture[str], lab_home: Path) -> Lab:
    """`lab("spend")`: exit code, output and errors of a command, on an empty state folder."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out, err

    return run


@pytest.fixture
def on_cloud(lab: Lab, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The same on the session's local cloud."""
    monkeypatch.setenv("LAB_HOME", str(cloud.home.root))
    return lab


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["upp"], "Did you mean 'up'"),
        (["up", "--aws-port", "x"], "--aws-port"),
        (["up", "--aws-port", "70000"], "--aws-port"),
        (["fault", "ad"], "Did you mean 'add'"),
        (["fault", "add"], "exactly one of --error"),
        (["fault", "add", "--outage", "--error", "503"], "exactly one of"),
        (["fault", "add", "--error", "200"], "--error"),
        (["fault", "add", "--error", "503", "--percent", "130"], "--percent"),
        (["logs", "nothing"], "no log of 'nothing'"),
        (["run", "--jobs", "0"], "--jobs"),
        (["notebooks", "biuld"], "build"),
    ],
)
def test_unknown_input_says_what_to_do_next(arguments: list[str], words: str, lab: Lab) -> None:
    code, _, err = lab(*arguments)
    assert code == 2
    assert words in err
    assert "Try: lab" in err


COMMANDS = [
    "start", "run", "progress", "spend", "up", "down", "status", "env", "logs", "coverage", "doctor", "test", "check",
    "bench", "clean", "lock", "fault add", "fault list", "fault clear",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command: str, lab: Lab) -> None:
    code, out, _ = lab(*command.split(), "--help")
    assert code == 0
    assert "Example:" in out


@pytest.mark.parametrize("command", ["spend", "fault list", "fault clear"])
def test_command_that_needs_the_cloud_says_how_to_start_it(command: str, lab: Lab) -> None:
    code, _, err = lab(*command.split())
    assert (code, "Run: lab up" in err) == (1, True)


def test_real_run_without_budget_is_refused(lab: Lab) -> None:
    code, out, err = lab("run", "--target", "aws")
    assert code != 0
    assert "budget" in out + err


def test_status_and_env_and_spend(on_cloud: Lab, cloud: Any) -> None:
    code, out, _ = on_cloud("env", "--tenant", "cli/test")
    assert code == 0
    exports = dict(line.removeprefix("export ").split("=", 1) for line in out.splitlines() if "=" in line)
    assert exports["AWS_ENDPOINT_URL"] == cloud.url
    assert "unset AWS_PROFILE" in out
    assert not [name for name in exports if "proxy" in name.lower()]
    account = exports["AWS_ACCESS_KEY_ID"]
    assert account in on_cloud("status")[1]
    assert account in on_cloud("spend")[1]
    assert "Total at list price" in on_cloud("spend", "--tenant", "cli/test")[1]
    code, _, err = on_cloud("spend", "--tenant", "nobody")
    assert (code, "cli/test" in err) == (2, True)
    cloud.control("DELETE", f"/_lab/tenants/{account}")


def test_env_is_understood_by_a_shell(on_cloud: Lab) -> None:
    _, out, _ = on_cloud("env")
    done = subprocess.run(["sh", "-ec", f"{out}\nenv"], capture_output=True, text=True, check=True, env={**os.environ})
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:" in done.stdout


def test_fault_is_added_listed_and_cleared(on_cloud: Lab) -> None:
    code, out, _ = on_cloud(
        "fault", "add", "--region", "us-east-1", "--service", "sagemaker", "--error", "503", "--percent", "30",
        "--seconds", "60",
    )  # fmt: skip
    assert code == 0
    id = out.split()[0]
    assert "error 503 on 30% of requests: sagemaker in us-east-1" in on_cloud("fault", "list")[1]
    code, _, err = on_cloud("fault", "clear", "none-such")
    assert (code, id in err) == (2, True)
    assert on_cloud("fault", "clear", id)[0] == 0
    assert "Nothing is broken" in on_cloud("fault", "list")[1]


def test_logs_of_a_part(on_cloud: Lab) -> None:
    assert "envoy" in on_cloud("logs")[1]
    assert on_cloud("logs", "supervisor", "-n", "1")[1].count("\n") <= 1


def test_coverage_comes_from_the_code(on_cloud: Lab) -> None:
    code, out, _ = on_cloud("coverage")
    assert code == 0
    assert "CreateTrainingJob" in out


def test_progress(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No question is answered yet" in lab("progress")[1]
    progress.record("start.00.late", "right")
    monkeypatch.setenv("LAB_TENANT_NAME", "run/tour")
    progress.record("start.00.split", "wrong", "a weight is a percentage")
    assert "1 of 1 right" in lab("progress")[1]
    assert "1 of 2 right" in lab("progress", "--all")[1]


def test_clean_removes_only_ended_jobs(lab: Lab, lab_home: Path) -> None:
    now = time.time()
    for name, status in {
        "old": {"state": "ended", "ended": now - 600}, "fresh": {"state": "ended", "ended": now},
        "running": {"state": "running"},
    }.items():  # fmt: skip
        (lab_home / "jobs" / name).mkdir(parents=True)
        (lab_home / "jobs" / name / "status.json").write_text(json.dumps(status))
    assert "ended job" in lab("clean", "--jobs", "--yes")[1]
    assert sorted(each.name for each in (lab_home / "jobs").iterdir()) == ["fresh", "running"]
    assert "nothing to remove" in lab("clean", "--jobs", "--yes")[1]


def test_clean_removes_tenants_with_all_they_have(
    lab: Lab, own_cloud: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_HOME", str(own_cloud.home.root))
    monkeypatch.setattr(home, "build_folder", lambda: tmp_path / "_build")
    (tmp_path / "_build").mkdir()
    tenant = own_cloud.tenant("cli/clean")
    own_cloud.client("s3", tenant).create_bucket(Bucket="full")
    assert "tenant cli/clean" in lab("clean", "--yes")[1]
    assert own_cloud.control("GET", "/_lab/tenants") == []
    assert not (tmp_path / "_build").exists()


def test_up_on_a_taken_port_says_who_has_it(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = lab("up", "--aws-port", str(port))
    assert code == 1
    assert f"Port {port} is taken" in err
    assert str(os.getpid()) in err


def test_doctor_finds_what_is_wrong(lab: Lab, lab_home: Path) -> None:
    assert all(finding.ok for finding in doctor.examine() if "memory" not in finding.what)
    lab_home.mkdir()
    (lab_home / "state.json").write_text("{")
    code, out, _ = lab("doctor")
    assert code == 1
    assert "corrupt" in out
    assert "next: run: lab up" in out


def test_doctor_is_content_with_a_running_cloud(on_cloud: Lab) -> None:
    code, out, _ = on_cloud("doctor")
    assert (code, "4 parts" in out or "envoy runs" in out) == (0, True), out


def test_test_passes_its_arguments_on(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_yes(): pass\ndef test_no(): assert 0\n")
    code, out, _ = lab("test", "-q", str(tmp_path / "test_one.py"), "-k", "yes", "-p", "no:cacheprovider")
    assert (code, "1 passed" in out.splitlines()[-1]) == (0, True), out
    code, out, _ = lab("test", "-q", str(tmp_path / "test_one.py"), "-p", "no:cacheprovider")
    assert (code, "1 failed, 1 passed" in out.splitlines()[-1]) == (1, True), out
