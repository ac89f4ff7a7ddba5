"""The labs themselves: anatomy, generated notebooks, solutions run strictly, learners' notebooks run unsolved."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labs.notebooks import document, executed, generate, lint, source
from labs.notebooks.tree import all_labs

ROOT = Path(__file__).parents[2]
LABS = all_labs(ROOT)
NAMES = [lab.name for lab in LABS]

per_lab = pytest.mark.parametrize("lab", LABS, ids=NAMES)


def test_there_are_labs():
    assert "start/00_tour" in NAMES


@per_lab
def test_a_lab_has_the_common_anatomy(lab):
    problems = lint.check(source.read(lab.source))
    assert not problems, "\n".join(map(str, problems))


@per_lab
def test_notebooks_are_what_the_source_makes(lab):
    found = generate.differences(lab)
    assert not found, "\n".join(found)


@per_lab
def test_executed_notebooks_show_no_error_and_every_picture_has_its_own_alt_text(lab):
    notebook = document.read(lab.executed)
    assert not executed.is_stale(notebook), f"run: lab run --only {lab.name} --save"
    texts = []
    for number, cell in enumerate(notebook["cells"], start=1):
        outputs = cell.get("outputs", [])
        assert not [each for each in outputs if each["output_type"] == "error"], f"cell {number} shows an error"
        if any(kind.startswith("image/") for each in outputs for kind in each.get("data", {})):
            texts.append(lint.alt_text(cell["metadata"]))
            assert texts[-1], f"cell {number} shows a picture without alt text"
    assert len(set(texts)) == len(texts), "two pictures with the same alt text"


def environment(cloud):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAB"))}
    return {**kept, "LAB_HOME": str(cloud.home.root)}


@pytest.fixture(scope="module")
def solutions(cloud, tmp_path_factory):
    """One strict run of all solutions: what it said, its report, and the answers it gave to checks."""
    folder = tmp_path_factory.mktemp("solutions")
    code = (
        "import sys; from pathlib import Path; from labs.run.command import run_in; "
        "from labs.run.options import Options; "
        "sys.exit(run_in(Path(sys.argv[1]), [], Options(Path(sys.argv[2])), book=False))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(folder)],
        env=environment(cloud),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    report = json.loads((folder / "report.json").read_text())["notebooks"]
    return done, {each["path"]: each for each in report}


def answers(cloud, prefix):
    """The states of checks that notebooks of tenants with this prefix gave."""
    path = cloud.home.root / "progress.json"
    entries = json.loads(path.read_text()) if path.exists() else []
    return {(each["tenant"], each["check"]): each["state"] for each in entries if each["tenant"].startswith(prefix)}


@pytest.mark.timeout(1200)
@per_lab
def test_a_solution_runs_strictly_in_its_own_tenant(solutions, lab):
    _done, report = solutions
    entry = report[lab.shown(lab.executed)]
    assert entry["status"] == "passed", entry["error"]
    assert len(entry["tenant"]) == 12
    assert entry["cost_usd"] is not None
    assert len({each["tenant"] for each in report.values()}) == len(report)


@pytest.mark.timeout(1200)
def test_every_check_of_the_solutions_is_right(solutions, cloud):
    found = answers(cloud, "run-")
    assert found, "no solution handed in an answer"
    assert not {key: state for key, state in found.items() if state != "right"}


@pytest.mark.timeout(1200)
def test_a_run_leaves_no_tenant(solutions, cloud):
    left = [each["name"] for each in cloud.control("GET", "/_lab/tenants") if each["name"].startswith("run-")]
    assert not left


@pytest.mark.timeout(1800)
def test_a_bare_nbval_runs_the_learners_notebooks_to_the_end_with_no_check_passed(solutions, cloud):
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "notebooks/", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(cloud), capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = answers(cloud, "nbval-")
    assert found, "no learner's notebook reached a check"
    assert set(found.values()) == {"not attempted"}, found
