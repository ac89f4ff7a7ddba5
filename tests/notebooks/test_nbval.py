"""nbval as this repository sets it up: a tenant per notebook, and a sanitize file that hides only what may differ."""

import subprocess
import sys
from pathlib import Path

import pytest

from labs.notebooks import document

ROOT = Path(__file__).parents[2]


def nbval(folder, *arguments):
    """Run nbval on a folder as a user of the repository would; returns its exit code and what it said."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *arguments]
    config = ["-c", str(ROOT / "pyproject.toml"), "--confcutdir", str(ROOT)]
    done = subprocess.run(
        [*command, *config, "-p", "conftest", str(folder)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return done.returncode, done.stdout + done.stderr


def write(path, code, output):
    cell = document.code(code, {})
    if output:
        cell |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": [output]}], "execution_count": 1}
    document.write(path, document.dumps(document.make([cell])))


VOLATILE = [
    ("from datetime import datetime; print(datetime.now().isoformat())", "2026-01-31T12:00:00.000001\n"),
    ("import uuid; print(uuid.uuid4())", "3f2504e0-4f89-11d3-9a0c-0305e82c3301\n"),
    (
        "print('run-20261120-150000-week1_aws-02_x in 123456789012')",
        "run-20250101-000000-start-00_tour in 210987654321\n",
    ),
    ("print('http://127.0.0.1:4566 took 3.1 s and cost USD 0.10')", "http://127.0.0.1:9999 took 12 s and cost USD 2\n"),
    ("print(object())", "<object object at 0x7f3c5ad1e0b0>\n"),
    ("print('flights-00ab12cd')", "flights-ffee0011\n"),
]


def test_what_may_differ_is_not_compared_and_the_rest_is(tmp_path):
    for number, (code, output) in enumerate(VOLATILE):
        write(tmp_path / f"{number}.ipynb", code, output)
    write(tmp_path / "wrong.ipynb", "print('AUC 0.71')", "AUC 0.99\n")
    status, said = nbval(tmp_path, "--nbval")
    assert status == 1, said
    assert f"1 failed, {len(VOLATILE)} passed" in said
    assert "AUC 0.99" in said


def test_every_notebook_has_a_tenant_of_its_own(tmp_path):
    code = "import os\nassert os.environ['LAB_TENANT_NAME'] == 'nbval-{0}-{1}', os.environ['LAB_TENANT_NAME']"
    for name in ("01_a", "02_b"):
        write(tmp_path / f"{name}.ipynb", code.format(tmp_path.name, name), "")
    status, said = nbval(tmp_path, "--nbval-lax")
    assert status == 0, said


@pytest.mark.parametrize("wrong", ["1 / 0", "undefined_name"])
def test_a_cell_that_fails_fails_the_run_and_is_shown(tmp_path, wrong):
    write(tmp_path / "bad.ipynb", wrong, "")
    status, said = nbval(tmp_path, "--nbval-lax")
    assert status == 1
    assert wrong in said
