"""Jobs: how they end, and that they end only once and only for their own reasons."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from localcloud.runtime import job, process, procfs

FOREVER = "import time\nwhile True: time.sleep(0.05)"
SECONDS = 30


def run(spec, timeout=SECONDS):
    job.start(spec)
    return job.wait(spec.folder, timeout)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("print('done')", 0),
        ("raise SystemExit(3)", 3),
        ("1/0", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 128 + signal.SIGSEGV),
        ("import os; os.abort()", 128 + signal.SIGABRT),
    ],
)
def test_ends_by_itself(make_job, text, code):
    ended = run(make_job(text))
    assert (ended.state, ended.reason, ended.exit_code) == ("ended", "exit", code)
    assert ended.started <= ended.ended
    assert not list(Path(make_job(name="other").folder.parent).rglob("core*"))


def test_output_of_both_streams_is_in_the_log(make_job):
    spec = make_job("import sys; print('out', flush=True); print('err', file=sys.stderr)")
    run(spec)
    assert spec.log.read_text() == "out\nerr\n"


def test_environment_is_only_what_the_caller_gave(make_job, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret of the parent")
    spec = make_job("import os, json; print(json.dumps(dict(os.environ)))", env={"GIVEN": "1"})
    run(spec)
    assert set(json.loads(spec.log.read_text())) - {"LC_CTYPE"} == {"GIVEN", "LAB_PROCESS"}


def test_wall_time(make_job):
    ended = run(make_job(FOREVER, wall_seconds=0.5))
    assert (ended.reason, ended.exit_code) == ("wall-time", 128 + signal.SIGTERM)
    assert "0.5 s" in ended.message


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(make_job):
    text = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\n" + FOREVER
    ended = run(make_job(text, wall_seconds=0.5, stop_grace_seconds=0.3))
    assert (ended.reason, ended.exit_code) == ("wall-time", 128 + signal.SIGKILL)


def test_memory_of_the_whole_group_counts(make_job):
    text = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        held = b'x' * (60 << 20)\n"
        "        time.sleep(60)\n"
        "time.sleep(60)"
    )
    ended = run(make_job(text, memory_bytes=200 << 20))
    assert (ended.reason, ended.exit_code) == ("memory", 128 + signal.SIGKILL)
    assert ended.peak_memory_bytes > 200 << 20
    assert "limit of 200 MiB" in ended.message


def test_printing_100_mb_ends_at_the_log_limit(make_job):
    spec = make_job("for _ in range(100): print('x' * (1 << 20))", log_bytes=10 << 20)
    ended = run(spec)
    assert ended.reason == "log-size"
    assert spec.log.stat().st_size == 10 << 20
    assert str(10 << 20) in ended.message


def test_printing_100_mb_within_the_limit_is_fine(make_job):
    spec = make_job("for _ in range(100): print('x' * (1 << 20))")
    assert run(spec).exit_code == 0
    assert spec.log.stat().st_size > 100 << 20


def test_stop_lets_the_job_tidy_up(make_job, wait_until):
    text = (
        "import signal, sys, time\n"
        "def bye(*_): print('saved', flush=True); sys.exit(0)\n"
        "signal.signal(15, bye)\nprint('ready', flush=True)\n" + FOREVER
    )
    spec = make_job(text)
    job.start(spec)
    wait_until(lambda: spec.log.exists() and "ready" in spec.log.read_text())
    job.stop(spec.folder)
    job.stop(spec.folder)
    ended = job.wait(spec.folder, SECONDS)
    assert (ended.reason, ended.exit_code) == ("stopped", 0)
    assert spec.log.read_text() == "ready\nsaved\n"


def test_stop_gives_the_callers_reason(make_job, wait_until):
    spec = make_job(FOREVER)
    job.start(spec)
    wait_until(lambda: job.status(spec.folder).state == "running")
    job.stop(spec.folder, "memory")
    assert job.wait(spec.folder, SECONDS).reason == "memory"


def test_stop_before_the_start_means_it_never_runs(make_job):
    spec = make_job("print('ran')")
    job.stop(spec.folder)
    ended = run(spec)
    assert (ended.reason, ended.exit_code, ended.started) == ("stopped", None, None)
    assert not spec.log.exists()


@pytest.mark.parametrize(
    ("command", "code", "cause"),
    [(("no-such-command",), 127, "No such file"), (("/etc",), 126, "Permission denied")],
)
def test_a_command_that_cannot_start(make_job, command, code, cause):
    ended = run(make_job(command=command, env={"PATH": "/usr/bin"}))
    assert (ended.reason, ended.exit_code) == ("cannot-start", code)
    assert command[0] in ended.message
    assert cause in ended.message


def test_what_the_job_leaves_behind_is_killed(make_job):
    text = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        os.environ.clear(); time.sleep(60)\n"
        "    os._exit(0)\n"
        "time.sleep(0.3)"
    )
    spec = make_job(text)
    assert run(spec).exit_code == 0
    assert process.identify(int(spec.log.read_text())) is None


def test_second_start_changes_nothing(make_job):
    spec = make_job("import time; print('ran', flush=True); time.sleep(0.3)")
    for _ in range(3):
        job.start(spec)
    assert job.wait(spec.folder, SECONDS).exit_code == 0
    job.start(spec)
    assert job.wait(spec.folder, SECONDS).exit_code == 0
    assert spec.log.read_text() == "ran\n"


def test_not_started_is_pending(make_job):
    assert job.status(make_job().folder).state == "pending"


def test_killed_shim_ends_the_job_and_all_its_processes(make_job, wait_until):
    spec = make_job("import os\nos.fork()\nprint(os.getpid(), flush=True)\n" + FOREVER)
    job.start(spec)
    wait_until(lambda: spec.log.exists() and len(spec.log.read_text().split()) == 2)
    pids = [int(pid) for pid in spec.log.read_text().split()]
    keeper = job.shim_identity(spec.folder)
    os.kill(keeper.pid, signal.SIGKILL)
    wait_until(lambda: not process.is_alive(keeper))
    ended = job.status(spec.folder)
    assert (ended.state, ended.reason, ended.exit_code) == ("ended", "shim-killed", None)
    assert ended.ended is not None
    assert all(process.identify(pid) is None for pid in pids)
    assert job.status(spec.folder) == ended


def test_shim_killed_before_it_could_report_is_started_again(make_job, wait_until):
    spec = make_job("print('ran')")
    (spec.folder / "spec.json").write_text("{}")
    assert job.status(spec.folder).state == "pending"
    assert run(spec).exit_code == 0


STARTER = """
import sys, time
from pathlib import Path
from localcloud.runtime import job
from localcloud.runtime.spec import JobSpec
folder = Path(sys.argv[1])
text = "import time; print('working', flush=True); time.sleep(0.5); raise SystemExit(7)"
job.start(JobSpec(folder, (sys.executable, "-I", "-S", "-c", text), {}, folder, folder / "log.txt"))
time.sleep(60)
"""


def test_survives_the_kill_of_whoever_started_it(make_job, wait_until):
    folder = make_job().folder
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(folder)])
    log = folder / "log.txt"
    wait_until(lambda: log.exists() and "working" in log.read_text())
    starter.kill()
    starter.wait()
    ended = job.wait(folder, SECONDS)
    assert (ended.reason, ended.exit_code) == ("exit", 7)


def test_no_zombies_stay(make_job, wait_until):
    spec = make_job("")
    run(spec)
    keeper = job.shim_identity(spec.folder)
    wait_until(lambda: procfs.stat(keeper.pid) is None)


def test_wait_gives_up_after_its_timeout(make_job):
    spec = make_job(FOREVER)
    job.start(spec)
    assert job.wait(spec.folder, 0.05).state != "ended"
    job.stop(spec.folder)
    assert job.wait(spec.folder, SECONDS).reason == "stopped"


def test_seconds_are_those_of_the_process(make_job):
    before = time.time()
    ended = run(make_job("import time; time.sleep(0.2)"))
    assert before <= ended.started
    assert ended.ended - ended.started >= 0.2
    assert ended.ended <= time.time()
