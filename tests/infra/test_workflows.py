"""Workflows, forms, licences and the development container: valid, pinned, modest, and true to the repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
CONTAINER = ROOT / ".devcontainer" / "devcontainer.json"

PINNED = re.compile(r"[\w.-]+/[\w./-]+@v\d+")
# What a fork's pull request can fill with anything must not be pasted into a shell.
PASTED = re.compile(r"\$\{\{")
WRITES = {("publish", "deploy"): {"pages": "write", "id-token": "write"}}

per_workflow = pytest.mark.parametrize("name", WORKFLOWS)


def load(name: str) -> dict[str, Any]:
    workflow = yaml.safe_load(WORKFLOWS[name].read_text())
    workflow["on"] = workflow.pop(True)  # YAML 1.1 reads the key `on` as true
    return workflow


def steps(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, body in load(name)["jobs"].items():
        for step in body["steps"]:
            yield job, step


def commands(name: str) -> list[str]:
    return [step["run"] for _job, step in steps(name) if "run" in step]


def test_there_are_the_three() -> None:
    assert list(WORKFLOWS) == ["publish", "test", "weekly"]
    assert set(load("test")["on"]) == {"pull_request", "push"}
    assert set(load("weekly")["on"]) == {"schedule", "workflow_dispatch"}
    assert load("publish")["on"]["push"]["branches"] == ["main"]


@per_workflow
def test_everything_has_a_name_and_an_end(name: str) -> None:
    workflow = load(name)
    assert workflow["name"]
    for job in workflow["jobs"].values():
        assert job["name"]
        assert 0 < job["timeout-minutes"] <= 60
    assert all(step.get("name") for _job, step in steps(name))


@per_workflow
def test_actions_are_pinned_to_a_major_version(name: str) -> None:
    used = [step["uses"] for _job, step in steps(name) if "uses" in step]
    assert used
    assert [each for each in used if not PINNED.fullmatch(each)] == []


def test_one_action_has_one_version() -> None:
    used = {step["uses"] for name in WORKFLOWS for _job, step in steps(name) if "uses" in step}
    assert len({each.partition("@")[0] for each in used}) == len(used)


@per_workflow
def test_a_workflow_may_read_and_only_the_deployment_may_write(name: str) -> None:
    workflow = load(name)
    assert workflow["permissions"] == {"contents": "read"}
    for job, body in workflow["jobs"].items():
        assert body.get("permissions", {}) == WRITES.get((name, job), {})
    checkouts = [step for _job, step in steps(name) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@per_workflow
def test_no_secret_is_used_and_nothing_is_pasted_into_a_shell(name: str) -> None:
    text = WORKFLOWS[name].read_text()
    assert "secrets." not in text
    assert "pull_request_target" not in text
    assert not re.search(r"AKIA[0-9A-Z]{16}|(?i:password|token)\s*[:=]\s*\S", text.replace("id-token: write", ""))
    assert [run for run in commands(name) if PASTED.search(run)] == []


@per_workflow
def test_the_cache_follows_the_lock(name: str) -> None:
    keys = [step["with"]["key"] for _job, step in steps(name) if step.get("uses", "").startswith("actions/cache@")]
    assert keys
    assert all("hashFiles('requirements.txt')" in key for key in keys)


@pytest.mark.parametrize(("name", "command"), [("test", ".ci/run"), ("weekly", ".ci/run"), ("publish", "./lab run")])
def test_a_workflow_runs_what_a_person_would(name: str, command: str) -> None:
    assert command in [run.strip() for run in commands(name)]


@pytest.mark.parametrize("run", [run for name in WORKFLOWS for run in commands(name)])
def test_commands_are_shell_and_name_files_that_exist(run: str) -> None:
    done = subprocess.run(["bash", "-n", "-c", run], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in shlex.split(run, comments=True):
        if word in ("./lab", ".ci/run"):
            assert os.access(ROOT / word, os.X_OK)
        elif re.fullmatch(r"(book|tests|labs|infra)/\S+", word):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize(
    "options", [["lock", "--upgrade", "--output"], ["setup"], ["run"]], ids=lambda options: options[0]
)
def test_commands_of_lab_exist(options: list[str]) -> None:
    assert any(" ".join(options) in run for name in WORKFLOWS for run in commands(name))
    if options[0] == "setup":  # done by the door itself, before there is anything to ask
        assert '"setup"' in (ROOT / "lab").read_text()
        return
    asked = [sys.executable, "-m", "labs.cli", options[0], "--help"]
    wide = {**os.environ, "COLUMNS": "200"}
    said = subprocess.run(asked, cwd=ROOT, env=wide, capture_output=True, text=True, check=False)
    assert said.returncode == 0
    assert all(option in said.stdout for option in options[1:])


def test_pythons_are_those_that_the_project_supports() -> None:
    wanted = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert wanted is not None
    supported = range(int(wanted[1]), int(wanted[2]))
    matrix = load("test")["jobs"]["test"]["strategy"]["matrix"]["include"]
    tested = {int(each["python"].removeprefix("3.")) for each in matrix}
    assert tested <= set(supported)
    assert {supported.start, supported.stop - 1} <= tested, "the oldest and the newest at least"
    assert {each["system"].partition("-")[0] for each in matrix} == {"ubuntu", "macos"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_complete(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert set(form) == {"name", "description", "labels", "body"}
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in ("input", "textarea", "dropdown", "checkboxes")
        assert field["attributes"]["label"]
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_issues_are_opened_by_a_form() -> None:
    assert len(FORMS) >= 3
    assert yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text()) == {"blank_issues_enabled": False}
    assert (ROOT / ".github/pull_request_template.md").read_text().count("- [ ]") >= 3


def test_the_development_container_sets_up_by_the_door() -> None:
    container = json.loads(CONTAINER.read_text())
    assert container["postCreateCommand"] == "./lab setup"
    assert re.fullmatch(r"[\w./-]+:\d+-3\.1[123]-\w+", container["image"]), "a tag that says which Python, never latest"
    gigabytes = int(container["hostRequirements"]["storage"].removesuffix("gb"))
    assert gigabytes >= int(re.search(r"DISK_GB = (\d+)", (ROOT / "lab").read_text())[1])


@pytest.mark.parametrize(
    ("path", "attribute", "value"),
    [
        ("lab", "eol", "lf"),
        ("notebooks/start/00_tour.ipynb", "linguist-generated", "true"),
        ("solutions/start/00_tour.py", "linguist-generated", "unspecified"),
        ("book/figures/break_even.svg", "linguist-generated", "true"),
        ("book/start/index.md", "linguist-documentation", "true"),
        ("x.png", "text", "unset"),
    ],
)
def test_git_knows_what_is_generated(path: str, attribute: str, value: str) -> None:
    asked = subprocess.run(["git", "check-attr", attribute, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.strip().endswith(f"{attribute}: {value}")


def test_licences_say_who_they_are() -> None:
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    text = (ROOT / "LICENSE-TEXT").read_text()
    assert text.startswith("SPDX-License-Identifier: CC-BY-4.0\n")
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in text
    readme = (ROOT / "CONTRIBUTING.md").read_text()
    assert "Apache-2.0" in readme
    assert "CC-BY-4.0" in readme
