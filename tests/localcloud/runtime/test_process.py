"""Processes: recognised after a restart, never mistaken for another, stopped with all they started."""

import os
import signal
import sys
from dataclasses import replace

import pytest
from localcloud.runtime import process, procfs

SLEEP = (sys.executable, "-I", "-S", "-c", "import time; print('ready', flush=True); time.sleep(60)")


@pytest.fixture
def spawn(tmp_path, wait_until):
    started = []

    def start(command=SLEEP, token="test.1", on_exit=None, ready=True):
        log = tmp_path / f"{len(started)}.log"
        identity = process.spawn(command, env={}, cwd=tmp_path, log=log, token=token, on_exit=on_exit)
        started.append(identity)
        if ready:
            wait_until(lambda: "ready" in process.log_tail(log))
        return identity

    yield start
    for identity in started:
        process.kill_all(identity)


def test_identity_ends_with_the_process(spawn, wait_until):
    codes = []
    identity = spawn(on_exit=codes.append)
    assert process.is_alive(identity)
    process.kill_group(identity)
    wait_until(lambda: codes == [128 + signal.SIGKILL])
    assert not process.is_alive(identity)


@pytest.mark.parametrize("change", [{"start": 1}, {"boot": "another"}])
def test_a_later_process_of_the_same_pid_is_another(spawn, change):
    assert not process.is_alive(replace(spawn(), **change))


def test_a_zombie_is_dead():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert procfs.stat(pid).dead
    assert process.identify(pid) is None
    os.waitpid(pid, 0)


def test_a_strange_command_name_does_not_confuse(spawn, tmp_path):
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to(sys.executable)
    identity = spawn((str(odd), *SLEEP[1:]))
    assert procfs.stat(identity.pid).session == identity.pid


def test_stop_reaches_what_left_the_session(spawn, wait_until, tmp_path):
    text = "import os, time\nif os.fork() == 0: os.setsid()\nprint(os.getpid(), 'ready', flush=True)\ntime.sleep(60)"
    identity = spawn((sys.executable, "-I", "-S", "-c", text))
    wait_until(lambda: len(process.members(identity)) == 2)
    process.stop([identity], grace_seconds=5)
    assert process.members(identity) == []


def test_stop_kills_after_the_grace(spawn):
    text = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)"
    identity = spawn((sys.executable, "-I", "-S", "-c", text))
    process.stop([identity], grace_seconds=0.2)
    assert not process.is_alive(identity)


def test_orphans_are_found_by_the_scope_of_their_token(spawn):
    mine, other = process.new_token("mine"), process.new_token("mine-too")
    first = spawn(token=mine)
    spawn(token=other)
    assert process.find_by_token("mine") == {first.pid: mine}


def test_a_command_that_does_not_exist_raises(spawn):
    with pytest.raises(FileNotFoundError):
        spawn(("/no/such/command",))


def test_free_port_is_not_one_of_the_taken():
    port = process.free_port()
    assert process.free_port(taken=[port]) != port


def test_log_tail_is_the_end(tmp_path):
    log = tmp_path / "log"
    log.write_text("\n".join(str(number) for number in range(10_000)))
    assert process.log_tail(log, lines=2) == "9998\n9999"
    assert process.log_tail(tmp_path / "none") == ""
