"""Starting, watching, restarting, adopting and stopping the parts, as a user does it: through the command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from localcloud import lifecycle, ports, processes, supervisor
from localcloud.home import Home, State
from localcloud.parts import Part

PARTS = ("controlplane", "ministack", "envoy", "supervisor")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A cloud that the tests of this file may break; every test leaves it ready."""
    make = request.getfixturevalue("make_cloud")
    running = make(tmp_path_factory.mktemp("broken") / "home")
    yield running
    make.stop(running)


def _pids(cloud: Any) -> dict[str, int]:
    return {name: cloud.pid(name) for name in PARTS}


def test_up_again_changes_nothing_and_returns_the_state(broken: Any) -> None:
    before = _pids(broken)
    done = broken.command("up", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ports"] == broken.state.ports
    assert _pids(broken) == before


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_comes_back_on_its_port_and_the_others_stay(
    broken: Any, wait_until: Callable[..., Any], part: str
) -> None:
    before, before_ports = _pids(broken), broken.state.ports
    os.kill(before[part], signal.SIGKILL)
    wait_until(lambda: broken.pid(part) != before[part], what=f"a new {part}")
    broken.wait_ready()
    after = _pids(broken)
    assert {name for name in PARTS if after[name] != before[name]} == {part}
    assert broken.state.ports == before_ports


def test_restarts_are_counted_and_the_count_survives_the_supervisor(
    broken: Any, wait_until: Callable[..., Any]
) -> None:
    counted = broken.state.parts["ministack"]["restarts"]
    os.kill(broken.pid("ministack"), signal.SIGKILL)
    wait_until(lambda: broken.state.parts["ministack"]["restarts"] == counted + 1)
    broken.wait_ready()
    old = broken.pid("supervisor")
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: broken.pid("supervisor") != old)
    broken.wait_ready()
    assert broken.state.parts["ministack"]["restarts"] == counted + 1


def test_a_part_that_died_with_the_supervisor_is_started_by_the_next_one(
    broken: Any, wait_until: Callable[..., Any]
) -> None:
    before = _pids(broken)
    for part in ("supervisor", "envoy"):
        os.kill(before[part], signal.SIGKILL)
    wait_until(lambda: broken.pid("envoy") != before["envoy"] and broken.pid("supervisor") != before["supervisor"])
    broken.wait_ready()
    assert broken.pid("ministack") == before["ministack"]


def test_up_restarts_a_cloud_whose_supervisor_and_control_plane_are_dead(broken: Any) -> None:
    before = _pids(broken)
    for part in ("supervisor", "controlplane"):
        os.kill(before[part], signal.SIGKILL)
    done = broken.command("up")
    assert done.returncode == 0, done.stderr
    assert broken.pid("ministack") == before["ministack"]


@pytest.mark.parametrize("text", ["{", "", "[]", '{"version": 99}', '{"version": 1}'])
def test_a_corrupt_state_file_is_set_aside_and_the_running_parts_are_found_again(
    broken: Any, wait_until: Callable[..., Any], text: str
) -> None:
    before, before_ports = _pids(broken), broken.state.ports
    before_asides = set(broken.home.root.glob("state.json.corrupt-*"))
    broken.home.state_file.write_text(text)
    done = broken.command("up")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: lifecycle.ready_state(broken.home))
    assert broken.state.ports == before_ports
    assert broken.pid("ministack") == before["ministack"]
    assert set(broken.home.root.glob("state.json.corrupt-*")) >= before_asides
    assert broken.control("GET", "/_lab/tenants") == []  # the token works


def test_many_at_once_start_one_cloud(tmp_path: Path, make_cloud: Any, wait_until: Callable[..., Any]) -> None:
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "localcloud", "up", "--home", str(tmp_path / "home"), "--aws-port", "0"],
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    messages = [command.communicate(timeout=60)[1] for command in commands]
    cloud = make_cloud.existing(tmp_path / "home")
    try:
        assert [command.returncode for command in commands] == [0] * 4, messages
        # The supervisors that came too late look for the lock a moment longer, and end.
        wait_until(lambda: sorted(str(p.part) for p in processes.of_home(cloud.home)) == sorted(PARTS))
    finally:
        make_cloud.stop(cloud)


def test_a_stopped_cloud_keeps_its_ports_and_data(tmp_path: Path, make_cloud: Any) -> None:
    cloud = make_cloud(tmp_path / "home")
    before = cloud.state.ports
    tenant = cloud.tenant("stays")
    cloud.client("s3", tenant).create_bucket(Bucket="stays-here")
    make_cloud.stop(cloud)
    assert cloud.state.parts == {}
    assert cloud.command("status").returncode == 1

    assert cloud.command("up").returncode == 0
    try:
        assert cloud.state.ports == before
        assert [b["Name"] for b in cloud.client("s3", tenant).list_buckets()["Buckets"]] == ["stays-here"]
    finally:
        make_cloud.stop(cloud)


def test_down_twice_and_down_of_nothing_are_fine(tmp_path: Path, make_cloud: Any) -> None:
    cloud = make_cloud(tmp_path / "home")
    make_cloud.stop(cloud)
    assert cloud.command("down").returncode == 0
    assert make_cloud.existing(tmp_path / "nowhere").command("down").returncode == 0


def test_down_stops_a_cloud_without_supervisor_or_state(tmp_path: Path, make_cloud: Any) -> None:
    cloud = make_cloud(tmp_path / "home")
    os.kill(cloud.pid("supervisor"), signal.SIGKILL)
    cloud.home.state_file.unlink()
    make_cloud.stop(cloud)


def test_down_stops_a_cloud_whose_home_was_deleted(tmp_path: Path, make_cloud: Any) -> None:
    cloud = make_cloud(tmp_path / "home")
    shutil.rmtree(cloud.home.root)
    make_cloud.stop(cloud)


def test_a_taken_port_is_refused_with_who_has_it_and_what_to_do(tmp_path: Path, make_cloud: Any) -> None:
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        port = mine.getsockname()[1]
        done = make_cloud.existing(tmp_path / "home").command("up", "--aws-port", str(port))
    assert done.returncode == 1
    assert f"Port {port} is taken by pid {os.getpid()} (" in done.stderr
    assert "lab up --aws-port " in done.stderr


def test_another_port_than_the_running_one_is_refused(broken: Any) -> None:
    done = broken.command("up", "--aws-port", str(ports.free_port()))
    assert done.returncode == 1
    assert f"runs already, on port {broken.state.ports['aws']}" in done.stderr


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path, make_cloud: Any) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = make_cloud.existing(tmp_path / "file" / "home").command("up")
    assert done.returncode == 1
    assert "LAB_HOME=/other/folder lab up" in done.stderr


def test_a_full_disk_is_refused(small_disk: Path, make_cloud: Any) -> None:
    (small_disk / "filler").write_bytes(b"x" * (1 << 19))
    done = make_cloud.existing(small_disk / "home").command("up")
    assert done.returncode == 1
    assert "is full" in done.stderr


def test_status_without_a_cloud_says_what_to_do(tmp_path: Path, make_cloud: Any) -> None:
    done = make_cloud.existing(tmp_path / "home").command("status")
    assert done.returncode == 1
    assert "Run: lab up" in done.stderr


def test_the_state_file_is_for_this_user_only(broken: Any) -> None:
    assert broken.home.state_file.stat().st_mode & 0o777 == 0o600
    assert broken.home.root.stat().st_mode & 0o077 == 0


def test_all_parts_listen_on_loopback_only(broken: Any) -> None:
    import psutil

    for process in processes.of_home(broken.home):
        listening = [c for c in psutil.Process(process.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip for c in listening} <= {"127.0.0.1"}


def test_parts_know_little_of_the_users_environment(broken: Any) -> None:
    import psutil

    for name in PARTS[:3]:
        environment = psutil.Process(broken.pid(name)).environ()
        assert environment["HTTPS_PROXY"] == "http://127.0.0.1:9"
        assert not {"AWS_ACCESS_KEY_ID", "PYTHONPATH", "PYTEST_CURRENT_TEST"} & set(environment)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Callable[[Part], supervisor.Board]]:
    """Let a Keeper keep a part of the test's own; stopped afterwards, and what it kept is killed."""
    home = Home(tmp_path / "home").create()
    stop, ring = os.pipe()
    keepers: list[supervisor.Keeper] = []
    board = supervisor.Board(home, State.new({}))

    def keep(part: Part) -> supervisor.Board:
        keepers.append(supervisor.Keeper(home, {}, part, board, stop))
        keepers[-1].start()
        return board

    yield keep
    os.close(ring)
    for keeper in keepers:
        keeper.join(5)
    for process in processes.of_home(home):
        os.kill(process.pid, signal.SIGKILL)
    os.close(stop)


def _part(script: str, is_ready: Callable[[], bool] = lambda: True) -> Part:
    return Part("toy", (sys.executable, "-c", script), is_ready)


def test_a_part_that_dies_at_once_is_reported_and_tried_again_ever_more_slowly(
    kept: Callable[[Part], supervisor.Board], tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    kept(_part("raise SystemExit(3)", is_ready=lambda: False))
    cloud = Home(tmp_path / "home")
    message = wait_until(lambda: _toy(cloud).get("message"))
    assert "toy ended with exit code 3 3 times right after its start" in message
    assert str(cloud.logs / "toy.log") in message


def test_a_part_that_cannot_be_started_is_reported(
    kept: Callable[[Part], supervisor.Board], tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    kept(Part("toy", ("/no/such/program",), lambda: False))
    assert "cannot be started" in wait_until(lambda: _toy(Home(tmp_path / "home")).get("message"))


def test_a_part_that_hangs_is_killed_and_started_again(
    kept: Callable[[Part], supervisor.Board],
    tmp_path: Path,
    wait_until: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_LIVENESS_SECONDS", 0.02)
    hangs = threading.Event()
    kept(_part("import time; time.sleep(600)", is_ready=lambda: not hangs.is_set()))
    home = Home(tmp_path / "home")
    wait_until(lambda: _toy(home).get("ready"))
    pid = _toy(home)["pid"]
    hangs.set()
    wait_until(lambda: _toy(home)["pid"] not in (pid, None))
    hangs.clear()
    wait_until(lambda: _toy(home)["ready"])


def test_what_a_dead_part_leaves_in_its_group_is_killed(
    kept: Callable[[Part], supervisor.Board], tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    child = tmp_path / "child"
    script = (
        "import pathlib, subprocess, sys, time\n"
        "sleeper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(sleeper.pid))\n"
        "time.sleep(600)"
    )
    kept(_part(script))
    pid = int(wait_until(lambda: child.exists() and child.read_text()))
    wait_until(lambda: _toy(Home(tmp_path / "home")).get("ready"))
    os.kill(_toy(Home(tmp_path / "home"))["pid"], signal.SIGKILL)
    from localcloud.runtime import process

    wait_until(lambda: process.identify(pid) is None)


def test_of_two_leftovers_one_is_adopted_and_the_other_killed(tmp_path: Path, wait_until: Callable[..., Any]) -> None:
    home = Home(tmp_path / "home").create()
    marks = {"LAB_CLOUD_HOME": str(home.root), "LAB_CLOUD_PART": "toy"}
    script = "import time; time.sleep(600)"
    twins = [
        subprocess.Popen([sys.executable, "-c", script], env=marks, start_new_session=True) for _ in range(2)
    ]  # fmt: skip
    try:
        wait_until(lambda: len(processes.of_home(home)) == 2)
        supervisor.Keeper(home, {}, _part(script), supervisor.Board(home, State.new({})), 0)
        wait_until(lambda: len(processes.of_home(home)) == 1)
        assert _toy(home)["pid"] == processes.of_home(home)[0].pid
    finally:
        for twin in twins:
            twin.kill()
            twin.wait()


def _toy(home: Home) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(home.state_file.read_text())["parts"].get("toy", {})
    except FileNotFoundError:
        return {}
    return found


def test_only_one_may_hold_the_lock_and_asking_does_not_disturb(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    assert not supervisor.is_supervised(home)
    with supervisor.lock(home):
        assert supervisor.is_supervised(home)
        with pytest.raises(supervisor.AlreadySupervisedError), supervisor.lock(home):
            pass
    asking = threading.Event()

    def ask() -> None:
        while not asking.is_set():
            supervisor.is_supervised(home)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(20):
            with supervisor.lock(home):
                time.sleep(0)
    finally:
        asking.set()
        thread.join()


@pytest.mark.parametrize(
    ("asked", "previous", "expected"),
    [
        (0, {"aws": 20_100, "control": 20_101}, {"aws": 20_100, "control": 20_101}),
        (None, {"aws": 20_102}, {"aws": 20_102}),
    ],
)
def test_ports_of_before_are_kept(asked: int | None, previous: dict[str, int], expected: dict[str, int]) -> None:
    chosen = ports.choose(asked, previous)
    assert {name: chosen[name] for name in expected} == expected
    assert len(set(chosen.values())) == len(ports.NAMES)


def test_a_port_of_before_that_somebody_has_now_is_replaced() -> None:
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        taken = mine.getsockname()[1]
        assert ports.choose(0, {"aws": taken})["aws"] != taken
