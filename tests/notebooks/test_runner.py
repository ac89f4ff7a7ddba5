"""Running notebooks: a process and tenant each, failures that do not stop the others, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from labs.notebooks import document, source
from labs.run import command, report
from labs.run.child import State
from labs.run.options import Options
from labs.run.runner import Planned, Runner
from labs.run.tenants import NoTenants, Opened

# Starts a process of its own, as a lab's load generator does, and never ends.
ENDLESS = """
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
print(child.pid, file=open("child.pid", "w"), flush=True)
open("child.pid.written", "w").close()
threading.Event().wait()
"""


class Ledger(NoTenants):
    """Remembers which tenants were opened and removed."""

    def __init__(self):
        self.opened, self.closed = [], []

    def open(self, name, lab):
        self.opened.append((name, lab))
        return Opened(name, f"{len(self.opened):012d}")

    def cost_usd(self, opened):
        return 0.25

    def close(self, opened):
        self.closed.append(opened.account)


def plan(*labs):
    return [Planned(lab, source.read(lab.source)) for lab in labs]


def read_report(options):
    notebooks = json.loads((options.folder / "report.json").read_text())["notebooks"]
    return {Path(each["path"]).stem: each for each in notebooks}


def test_one_run_shows_what_passed_what_failed_and_why(write_lab, tiny, options, sample_text, tmp_path, capsys):
    write_lab("start/01_small", sample_text)
    write_lab("start/02_fails", tiny("print('so far')\nprint(1 / 0)"))
    write_lab("start/03_no_parameters", tiny("1", tags='["other"]'))
    write_lab("start/04_alone", tiny("1", tags='["parameters", "exclusive"]'))
    write_lab("start/05_dies", tiny("import os\nos.kill(os.getpid(), 9)"))
    tenants = Ledger()

    assert command.run_in(tmp_path, [], options, book=False, tenants=tenants) == 1

    found = read_report(options)
    assert {name: each["status"] for name, each in found.items()} == {
        "01_small": "passed",
        "02_fails": "failed",
        "03_no_parameters": "failed",
        "04_alone": "passed",
        "05_dies": "failed",
    }
    assert set(found["01_small"]) == {"path", "status", "seconds", "tenant", "cost_usd", "error"}
    assert found["01_small"]["path"] == "solutions/start/01_small.ipynb"
    assert found["01_small"]["cost_usd"] == 0.25
    assert found["02_fails"]["error"] == "Cell 3: ZeroDivisionError: division by zero"
    assert "no cell is tagged `parameters`. Write exactly one" in found["03_no_parameters"]["error"]
    assert "Kernel died" in found["05_dies"]["error"]

    said = capsys.readouterr().out
    assert "print(1 / 0)" in said
    assert "solutions/start/02_fails.py:7" in said
    assert "logs/start-02_fails.log" in said.replace("\n", "").replace("│", "").replace(" ", "")
    assert "so far" in (options.folder / "logs" / "start-02_fails.log").read_text()

    names = [name for name, _lab in tenants.opened]
    assert len(set(names)) == 4, "one tenant each, none for a notebook that does not start"
    assert sorted(tenants.closed) == sorted(f"{n:012d}" for n in range(1, 5))
    executed = (options.folder / "executed/start/01_small.ipynb").read_text()
    assert "share of sixes" in executed
    assert names[0] in executed, "the notebook sees its tenant's name"

    page = (options.folder / "report.html").read_text()
    assert "3 failed, 2 passed" in page
    assert "ZeroDivisionError" in page
    assert "http://" not in page
    assert "https://" not in page


def test_exclusive_notebooks_run_alone_after_the_others(write_lab, tiny, options):
    exclusive = '["parameters", "exclusive"]'
    labs = [
        write_lab("a/01_alone", tiny("1", tags=exclusive)),
        write_lab("a/02_shared", tiny("1")),
        write_lab("a/03_alone", tiny("1", tags=exclusive)),
        write_lab("a/04_shared", tiny("1")),
    ]
    together = []

    def watch(entry, _state):
        running = {Path(each.path).stem for each in runner.report.entries if each.status == "running"}
        together.append(frozenset(running))

    runner = Runner(plan(*labs), options, NoTenants(), watch)
    entries = runner.run(plan(*labs))
    assert {entry.status for entry in entries} == {"passed"}
    assert frozenset({"02_shared", "04_shared"}) in together
    assert all(len(running) == 1 for running in together if any("alone" in name for name in running))
    first_alone = next(n for n, running in enumerate(together) if any("alone" in name for name in running))
    assert not any("shared" in name for running in together[first_alone:] for name in running)


def test_without_keep_going_the_first_failure_is_the_last(write_lab, tiny, tmp_path):
    labs = [write_lab("a/01_fails", tiny("1 / 0")), write_lab("a/02_waits", tiny("1"))]
    options = Options(tmp_path / "run", jobs=1, keep_going=False)
    entries = Runner(plan(*labs), options, NoTenants()).run(plan(*labs))
    assert [entry.status for entry in entries] == ["failed", "not run"]


def test_a_cell_that_never_ends_is_stopped(write_lab, tiny, tmp_path):
    lab = write_lab("a/01_endless", tiny("import threading\nthreading.Event().wait()"))
    options = Options(tmp_path / "run", cell_seconds=1)
    (entry,) = Runner(plan(lab), options, NoTenants()).run(plan(lab))
    assert entry.status == "failed"
    assert entry.error.startswith("Cell 3: CellTimeoutError")


def test_the_learners_notebook_is_not_strict_and_not_solved(write_lab, tiny, tmp_path):
    code = """
    import os
    # BEGIN SOLUTION
    answer = 1
    # END SOLUTION
    assert answer is ...
    assert os.environ["LABS_STRICT"] == "0"
    """
    lab = write_lab("a/01_open", tiny(code))
    from labs.notebooks import generate

    generate.build(lab)
    planned = [Planned(lab, source.read(lab.source), learner=True)]
    (entry,) = Runner(planned, Options(tmp_path / "run"), NoTenants()).run(planned)
    assert (entry.path, entry.status, entry.error) == ("notebooks/a/01_open.ipynb", "passed", None)


def test_a_tenant_that_cannot_be_opened_fails_its_notebook_with_the_reason(write_lab, tiny, options):
    class Down(NoTenants):
        def open(self, name, lab):
            raise RuntimeError("The local cloud does not answer. Run: lab up")

    lab = write_lab("a/01_x", tiny("1"))
    (entry,) = Runner(plan(lab), options, Down()).run(plan(lab))
    assert (entry.status, entry.error) == ("failed", "The local cloud does not answer. Run: lab up")


def test_a_tenant_that_cannot_be_removed_fails_its_notebook(write_lab, tiny, options):
    class Stuck(Ledger):
        def close(self, opened):
            raise RuntimeError("an endpoint does not stop")

    lab = write_lab("a/01_x", tiny("1"))
    (entry,) = Runner(plan(lab), options, Stuck()).run(plan(lab))
    assert entry.status == "failed"
    assert "an endpoint does not stop" in entry.error


def grandchild(options, slug, wait_until):
    folder = options.folder / "work" / slug
    wait_until((folder / "child.pid.written").exists, 60, "the notebook's own child")
    return psutil.Process(int((folder / "child.pid").read_text()))


def test_stopping_a_run_ends_kernels_and_their_children(write_lab, tiny, options, wait_until):
    labs = [write_lab("a/01_endless", tiny(ENDLESS)), write_lab("a/02_waits", tiny("1"))]
    tenants = Ledger()
    runner = Runner(plan(*labs), Options(options.folder, jobs=1), tenants)
    thread = threading.Thread(target=runner.run, args=(plan(*labs),))
    thread.start()
    child = grandchild(options, "a-01_endless", wait_until)
    kernel = child.parent()
    runner.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert [entry.status for entry in runner.report.entries] == ["interrupted", "not run"]
    assert not any(alive(process) for process in (child, kernel))
    assert tenants.closed == ["000000000001"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_signal_to_the_command_leaves_a_process(write_lab, tiny, options, tmp_path, wait_until, number):
    write_lab("a/01_endless", tiny(ENDLESS))
    code = (
        "import sys; from pathlib import Path; from labs.run.command import run_in; "
        "from labs.run.options import Options; from labs.run.tenants import NoTenants; root = Path(sys.argv[1]); "
        "sys.exit(run_in(root, [], Options(root / '_build' / 'run'), tenants=NoTenants()))"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = grandchild(options, "a-01_endless", wait_until)
    below = psutil.Process(run.pid).children(recursive=True)
    assert child.pid in [process.pid for process in below]
    os.kill(run.pid, number)
    said, _ = run.communicate(timeout=60)
    wait_until(lambda: not any(alive(process) for process in below), 20, "the end of every process")
    if number != signal.SIGKILL:  # nobody can report after that
        assert run.returncode == 130
        assert "1 interrupted" in said
        assert read_report(options)["01_endless"]["status"] == "interrupted"


def alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_report_is_whole_at_every_moment(tmp_path):
    path = tmp_path / "report.json"
    written = report.Report(path, [report.Entry("solutions/a.ipynb")])
    assert json.loads(path.read_text())["notebooks"][0]["status"] == "waiting"
    written.change("solutions/a.ipynb", status="passed", seconds=1.5)
    assert json.loads(path.read_text())["notebooks"][0] == {
        "path": "solutions/a.ipynb",
        "status": "passed",
        "seconds": 1.5,
        "tenant": None,
        "cost_usd": None,
        "error": None,
    }
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


def test_saving_renews_the_committed_notebook_and_only_then(write_lab, options, sample_text, tmp_path):
    lab = write_lab("start/01_small", sample_text)
    command.run_in(tmp_path, [], options, book=False, tenants=NoTenants())
    assert not lab.executed.exists()
    assert command.run_in(tmp_path, [], options, book=False, save=True, tenants=NoTenants()) == 0
    assert document.has_outputs(document.read(lab.executed))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"only": ["nowhere"]}, "No lab is called 'nowhere'"),
        ({"target": "aws"}, "costs money. Say how much it may use"),
        ({"target": "aws", "budget": 5.0}, "lab run --target aws --budget 5 --confirm"),
    ],
)
def test_what_cannot_run_says_why(arguments, words, capsys, monkeypatch):
    monkeypatch.setattr(command, "_tenants", lambda target, console: NoTenants())
    assert command.run(**arguments) == 1
    said = capsys.readouterr()
    assert words in said.out + said.err


def test_a_state_before_the_first_word_is_empty(tmp_path):
    from labs.run.child import read_state

    assert read_state(tmp_path / "none.json") == State(0, 0)
