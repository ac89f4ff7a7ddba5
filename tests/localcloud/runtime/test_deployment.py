"""Deployments: revisions, roll-outs under load, crashes, scaling, restarts and deletion, with real replicas."""

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from localcloud.gateway.spec import Route
from localcloud.home import Home
from localcloud.loops import Loop
from localcloud.meter import usage
from localcloud.runtime import process, replica
from localcloud.runtime.deployment import DeploymentError, Deployments
from localcloud.runtime.records import cluster_name
from localcloud.runtime.spec import Billing, DeploymentSpec, Limits, Pool
from localcloud.store import Store, StoreFullError

SERVER = """
import http.server, os, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ["TEXT"].encode()
        self.send_response(200 if self.path == "/ping" or self.path == "/" else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""
CRASH = "import sys; print('loading the model', flush=True); sys.exit('no model_fn in inference.py')"
NEVER_READY = "import time; print('thinking', flush=True); time.sleep(60)"
TENANT, REGION = "123456789012", "us-east-1"


class DirectGateway:
    """Sends requests straight to the replicas, as the gateway would: weighted, and counted until answered."""

    def __init__(self):
        self.published = {}
        self.history = []
        self._active = Counter()
        self._lock = threading.Lock()

    def publish(self, publication):
        with self._lock:
            before = self.published.get(publication.id)
            self.published[publication.id] = publication
            self.history.append(publication)
        self._drain(_ports(before) - _ports(publication))

    def withdraw(self, publication_id):
        with self._lock:
            before = self.published.pop(publication_id, None)
        self._drain(_ports(before))

    def request(self, deployment_id):
        with self._lock:
            found = self.published.get(deployment_id)
            ports = _ports_by_weight(found) if found else []
            if not ports:
                return 503, ""
            port = random.choice(ports)
            self._active[port] += 1
        try:
            return _get(port)
        finally:
            with self._lock:
                self._active[port] -= 1

    def _drain(self, ports):
        deadline = time.monotonic() + 10
        while any(self._active[port] for port in ports) and time.monotonic() < deadline:
            time.sleep(0.005)


def _ports(publication):
    return {port for cluster in publication.clusters for _, port in cluster.endpoints} if publication else set()


def _ports_by_weight(publication):
    clusters = {cluster.name: [port for _, port in cluster.endpoints] for cluster in publication.clusters}
    return [port for target in publication.targets for _ in range(target.weight) for port in clusters[target.cluster]]


def _get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


class Running:
    """A control plane's share of deployments: the object and its loop."""

    def __init__(self, folder, gateway=None):
        self.home = Home(folder).create()
        self.store = Store(self.home.database)
        self.gateway = gateway or DirectGateway()
        self.deployments = Deployments(self.store, self.gateway, self.home)
        self.deployments.adopt()
        self.loop = Loop("reconcile", 0.1, self.deployments.reconcile)
        self.loop.start()

    def spec(self, *pools, id="tenant-endpoint", path="/invoke"):
        return DeploymentSpec(id, TENANT, REGION, Route("aws", path), pools or (self.pool(),))

    def pool(self, name="main", *, script=SERVER, text="one", replicas=1, weight=1, start_seconds=20.0, **limits):
        limits.setdefault("stop_grace_seconds", 5.0)
        return Pool(
            name=name,
            command=(sys.executable, "-I", "-S", "-c", script, "{port}"),
            env={"TEXT": text},
            replicas=replicas,
            weight=weight,
            health_path="/ping",
            billing=Billing("AWS", "SageMaker AI", "ml.m5.large Hosting", "endpoint/test"),
            log=self.home.logs / "endpoint",
            limits=Limits(**limits),
            start_seconds=start_seconds,
        )

    def status(self, id="tenant-endpoint"):
        return self.deployments.status(id)

    def pids(self):
        return {each.identity.pid for each in self.deployments.replicas() if each.identity}

    def stop(self):
        self.loop.stop()
        self.deployments.close()


@pytest.fixture
def runs(tmp_path, wait_until):
    """Starts control planes on one home; in the end everything is deleted by the last."""
    started = []

    def start(gateway=None):
        started.append(Running(tmp_path / "home", gateway))
        return started[-1]

    yield start
    last = started[-1]
    for each in last.deployments._records.deployments():
        last.deployments.delete(each.id)
    wait_until(lambda: not last.deployments.replicas())
    for each in started:
        each.stop()


@pytest.fixture
def run(runs):
    return runs()


@pytest.fixture
def settled(wait_until):
    """Waits for a state, and that all replicas of it are there."""

    def wait(run, *states, id="tenant-endpoint", timeout=20.0):
        states = states or ("in-service",)
        return wait_until(lambda: (found := run.status(id)) and found.state in states and found, timeout)

    return wait


@contextmanager
def hitting(run, id="tenant-endpoint", clients=2):
    """Clients that ask again and again; yields the answers so far."""
    answers, stop = [], threading.Event()

    def client():
        while not stop.is_set():
            answers.append(run.gateway.request(id))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_serves_after_creation(run, settled):
    assert run.deployments.apply(run.spec()) == 1
    assert run.status().state == "creating"
    found = settled(run)
    assert (found.revision, found.reason) == (1, "")
    assert [(pool.name, pool.desired, pool.healthy, pool.weight) for pool in found.pools] == [("main", 1, 1, 1)]
    assert run.gateway.request("tenant-endpoint") == (200, "one")


def test_traffic_is_split_by_weight(run, settled):
    run.deployments.apply(run.spec(run.pool("a", text="a", weight=3), run.pool("b", text="b", weight=1)))
    settled(run)
    counts = Counter(run.gateway.request("tenant-endpoint")[1] for _ in range(200))
    assert counts["a"] > counts["b"] > 0


def test_update_under_load_loses_nothing(run, settled, wait_until):
    run.deployments.apply(run.spec(run.pool(text="one", replicas=2)))
    settled(run)
    with hitting(run) as answers:
        wait_until(lambda: len(answers) > 50)
        run.deployments.apply(run.spec(run.pool(text="two", replicas=2)))
        assert run.status().state == "updating"
        found = settled(run)
        wait_until(lambda: len(run.pids()) == 2)
        seen = len(answers)
        wait_until(lambda: len(answers) > seen + 50)
    assert found.revision == 2
    assert {status for status, _ in answers} == {200}
    assert [text for _, text in answers[-10:]] == ["two"] * 10


def test_update_that_crashes_leaves_the_old_one_serving(run, settled, wait_until):
    run.deployments.apply(run.spec())
    settled(run)
    with hitting(run) as answers:
        run.deployments.apply(run.spec(run.pool(script=CRASH)))
        found = settled(run, "failed")
        wait_until(lambda: len(run.pids()) == 1)
    assert set(answers) == {(200, "one")}
    assert (found.revision, found.pools[0].healthy) == (1, 1)
    assert "no model_fn" in found.reason
    assert run.deployments.apply(run.spec(run.pool(text="three"))) == 3
    assert settled(run).revision == 3


@pytest.mark.parametrize(
    ("script", "start_seconds", "words"),
    [
        (CRASH, 20.0, ("exited with code 1 before it was healthy", "loading the model\nno model_fn in inference.py")),
        (NEVER_READY, 0.5, ("GET /ping with 200 within 0.5 s", "thinking")),
        ("import os; os.kill(os.getpid(), 9)", 20.0, ("was ended by signal 9", "(empty)")),
    ],
)
def test_creation_that_fails_gives_the_log_as_the_reason(run, settled, wait_until, script, start_seconds, words):
    run.deployments.apply(run.spec(run.pool(script=script, start_seconds=start_seconds, replicas=2)))
    found = settled(run, "failed")
    assert (found.revision, found.pools) == (0, ())
    for word in words:
        assert word in found.reason
    wait_until(lambda: not run.deployments.replicas())
    assert "tenant-endpoint" not in run.gateway.published


def test_a_command_that_does_not_exist_is_the_reason(run, settled):
    pool = run.pool()
    run.deployments.apply(run.spec(Pool(**{**vars(pool), "command": ("/no/such/server",)})))
    assert "could not be started" in settled(run, "failed").reason


def test_a_dead_replica_is_replaced(run, settled, wait_until):
    run.deployments.apply(run.spec(run.pool(replicas=2)))
    settled(run)
    before = run.pids()
    killed = run.deployments.kill_replica("tenant-endpoint", "main")
    wait_until(lambda: run.status().pools[0].healthy == 2 and run.pids() != before)
    assert killed not in [each.id for each in run.deployments.replicas()]
    assert run.status().state == "in-service"
    wait_until(lambda: len(_ports(run.gateway.published["tenant-endpoint"])) == 2)
    assert run.deployments.kill_replica("tenant-endpoint", "other") is None


def test_repeated_crashes_are_retried_ever_more_slowly(run, settled, wait_until):
    flaky = "import os, sys\nif os.path.exists(os.environ['TEXT']): sys.exit('broken')\n" + SERVER
    switch = run.home.root / "broken"
    run.deployments.apply(run.spec(run.pool(script=flaky, text=str(switch))))
    settled(run)
    switch.touch()
    run.deployments.kill_replica("tenant-endpoint")
    logs = run.home.logs / "endpoint"
    wait_until(lambda: sum("broken" in log.read_text() for log in logs.iterdir()) == 2)
    switch.unlink()
    wait_until(lambda: run.status().pools[0].healthy == 1)
    assert len(list(logs.iterdir())) == 4, "between two crashes there is a pause"
    assert run.status().state == "in-service"


def test_weights_and_counts_change_without_a_new_revision(run, settled, wait_until):
    run.deployments.apply(run.spec(run.pool("a", text="a"), run.pool("b", text="b", weight=0)))
    settled(run)
    before = run.pids()
    with hitting(run) as answers:
        run.deployments.set_pools("tenant-endpoint", {"a": (0, 1), "b": (1, 3)})
        found = settled(run)
        run.deployments.set_pools("tenant-endpoint", {"b": (1, 1)})
        settled(run)
        wait_until(lambda: len(run.pids()) == 2)
    assert found.revision == 1
    assert [(pool.desired, pool.healthy, pool.weight) for pool in found.pools] == [(1, 1, 0), (3, 3, 1)]
    assert {status for status, _ in answers} == {200}
    assert answers[-1] == (200, "b")
    assert run.pids() & before, "scaling does not replace what runs"


def test_cluster_names_are_never_used_twice(run, settled, wait_until):
    run.deployments.apply(run.spec())
    settled(run)
    run.deployments.delete("tenant-endpoint")
    wait_until(lambda: run.status() is None)
    run.deployments.apply(run.spec())
    settled(run)
    names = [cluster.name for each in run.gateway.history for cluster in each.clusters]
    assert len(set(names)) == 2
    assert cluster_name(run.deployments._records.deployments()[0], 1, "main") == names[-1]


def test_delete_leaves_nothing(run, settled, wait_until):
    run.deployments.apply(run.spec(run.pool(replicas=2)))
    settled(run)
    replicas = run.deployments.replicas()
    run.deployments.delete("tenant-endpoint")
    wait_until(lambda: run.status() is None)
    assert not any(process.is_alive(each.identity) for each in replicas)
    assert not list(run.home.replicas.iterdir())
    assert run.gateway.published == {}
    assert all(each.log.exists() for each in replicas)
    wait_until(lambda: "deployment-tenant-endpoint" not in [thread.name for thread in threading.enumerate()])


def test_delete_while_it_is_being_created(run, wait_until):
    run.deployments.apply(run.spec(run.pool(script=NEVER_READY)))
    wait_until(lambda: run.pids())
    run.deployments.delete("tenant-endpoint")
    run.deployments.delete("tenant-endpoint")
    with pytest.raises(DeploymentError, match="being deleted"):
        run.deployments.apply(run.spec())
    wait_until(lambda: run.status() is None)


def test_a_replica_that_ignores_sigterm_is_killed(run, settled, wait_until):
    deaf = SERVER.replace("signal.signal(signal.SIGTERM, ", "signal.signal(signal.SIGTERM, signal.SIG_IGN) if 1 else (")
    run.deployments.apply(run.spec(run.pool(script=deaf, stop_grace_seconds=0.2)))
    settled(run)
    run.deployments.delete("tenant-endpoint")
    wait_until(lambda: run.status() is None)


@pytest.mark.parametrize(
    ("pools", "words"),
    [({"none": (1, 1)}, "no pool none"), ({"main": (0, 1)}, "no traffic")],
)
def test_impossible_changes_are_refused(run, settled, pools, words):
    run.deployments.apply(run.spec())
    with pytest.raises(DeploymentError, match=words):
        run.deployments.set_pools("tenant-endpoint", pools)
    with pytest.raises(DeploymentError, match="no deployment"):
        run.deployments.set_pools("unknown", {"main": (1, 1)})


@pytest.mark.parametrize(
    ("id", "weight", "words"), [("Upper_Case", 1, "cannot be an id"), ("a" * 101, 1, "100"), ("a", 0, "no traffic")]
)
def test_impossible_deployments_are_refused(run, id, weight, words):
    with pytest.raises(DeploymentError, match=words):
        run.deployments.apply(run.spec(run.pool(weight=weight), id=id))
    assert run.status(id) is None


def test_a_full_disk_starts_nothing_and_is_overcome(run, settled, wait_until, caplog):
    """The worker goes on by itself once there is room again; nothing runs that is not written down."""
    full = [True]

    class Full(type(run.store)):
        def put(self, key, body):
            if full[0] and key.kind == "runtime/replica" and body["identity"]:
                raise StoreFullError("the disk is full")
            super().put(key, body)

    run.store.__class__ = Full
    run.deployments.apply(run.spec())
    wait_until(lambda: "the disk is full" in caplog.text)
    wait_until(lambda: not process.find_by_token(replica.scope(run.home.replicas)))
    full[0] = False
    run.deployments.apply(run.spec())
    settled(run)


def test_one_that_hangs_does_not_hold_up_another(run, settled):
    run.deployments.apply(run.spec(run.pool(script=NEVER_READY), id="hangs"))
    run.deployments.apply(run.spec(id="works"))
    settled(run, id="works")
    assert run.status("hangs").state == "creating"


def test_a_replica_that_eats_memory_is_killed_and_replaced(run, settled, wait_until, caplog):
    hungry = (
        "import os, threading, time\n"
        "def eat():\n"
        "    while not os.path.exists(os.environ['TEXT']): time.sleep(0.01)\n"
        "    os.unlink(os.environ['TEXT'])\n"
        "    global held; held = b'x' * (200 << 20)\n"
        "threading.Thread(target=eat, daemon=True).start()\n"
    )
    meal = run.home.root / "meal"
    run.deployments.apply(run.spec(run.pool(script=hungry + SERVER, text=str(meal), memory_bytes=150 << 20)))
    settled(run)
    before = run.pids()
    meal.touch()
    wait_until(lambda: run.pids().isdisjoint(before) and run.status().pools[0].healthy == 1)
    assert "more than its limit of 150 MiB" in caplog.text


def test_a_log_that_grows_too_long_is_cut(run, settled, wait_until):
    chatty = "print('x' * (1 << 20), flush=True)\n"
    run.deployments.apply(run.spec(run.pool(script=chatty + SERVER, log_bytes=1 << 19)))
    settled(run)
    (each,) = run.deployments.replicas()
    wait_until(lambda: each.log.stat().st_size == 0)
    assert run.status().pools[0].healthy == 1


def test_replicas_are_kept_over_a_restart(runs, settled, wait_until):
    first = runs()
    first.deployments.apply(first.spec(first.pool(replicas=2)))
    settled(first)
    before = first.pids()
    first.stop()
    second = runs(first.gateway)
    assert [each.id for each in second.deployments.publications()] == ["tenant-endpoint"]
    assert _ports(second.deployments.publications()[0]) == _ports(first.gateway.published["tenant-endpoint"])
    second.deployments.apply(second.spec(second.pool(text="two"), id="other"))
    settled(second, id="other")
    assert before <= second.pids()
    assert settled(second).revision == 1


def test_a_roll_out_goes_on_after_a_restart(runs, settled, wait_until):
    first = runs()
    first.deployments.apply(first.spec())
    settled(first)
    slow = "import time; time.sleep(0.7)\n" + SERVER
    with hitting(first) as answers:
        first.deployments.apply(first.spec(first.pool(script=slow, text="two", replicas=2)))
        wait_until(lambda: len(first.pids()) == 3)
        first.stop()
        second = runs(first.gateway)
        found = settled(second)
    assert (found.revision, found.pools[0].healthy) == (2, 2)
    assert {status for status, _ in answers} == {200}


def test_what_died_meanwhile_is_replaced_and_billed_until_last_seen(runs, settled, wait_until):
    first = runs()
    first.deployments.apply(first.spec())
    settled(first)
    first.deployments.sample_usage()
    (sampled,) = usage.of_tenant(first.store, TENANT)
    first.stop()
    (dead,) = first.deployments.replicas()
    process.kill_all(dead.identity)
    second = runs(first.gateway)
    wait_until(lambda: second.pids() - {dead.identity.pid} and second.status().pools[0].healthy == 1)
    rows = {row.id: row for row in usage.of_tenant(second.store, TENANT)}
    assert rows[f"replica:{dead.id}"] == sampled
    assert len(rows) == 2


CONTROL = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_deployment import Running
run = Running(Path(sys.argv[1]))
run.deployments.apply(run.spec(run.pool(replicas=2)))
time.sleep(60)
"""


def test_kill_minus_nine_of_the_control_plane(runs, settled, wait_until, tmp_path):
    """Also a replica that was started but not yet written down is found, and killed."""
    folder = str(Path(__file__).parent)
    control = subprocess.Popen([sys.executable, "-c", CONTROL, str(tmp_path / "home"), folder])
    store = Store(Home(tmp_path / "home").create().database)
    watcher = Deployments(store, DirectGateway(), Home(tmp_path / "home"))
    wait_until(lambda: (found := watcher.status("tenant-endpoint")) and found.state == "in-service")
    control.kill()
    control.wait()
    kept, forgotten = watcher.replicas()
    assert all(process.is_alive(each.identity) for each in (kept, forgotten))
    store.delete(forgotten.key)
    run = runs()
    wait_until(lambda: run.status().pools[0].healthy == 2)
    assert process.is_alive(kept.identity)
    assert not process.is_alive(forgotten.identity)
    assert kept.identity.pid in run.pids()


def test_usage_is_exactly_once(run, settled, wait_until):
    run.deployments.apply(run.spec(run.pool(replicas=2)))
    settled(run)
    replicas = run.deployments.replicas()
    for _ in range(5):
        run.deployments.sample_usage()
    began = time.time()
    os.kill(replicas[0].identity.pid, signal.SIGKILL)
    wait_until(lambda: replicas[0].id not in [each.id for each in run.deployments.replicas()])
    run.deployments.delete("tenant-endpoint")
    wait_until(lambda: run.status() is None)
    for _ in range(3):
        run.deployments.sample_usage()
    rows = {row.id: row for row in usage.of_tenant(run.store, TENANT)}
    assert len(rows) == 3
    for each in replicas:
        row = rows[f"replica:{each.id}"]
        assert row.started == each.started
        assert row.quantity == row.ended - row.started
        assert began - each.started <= row.quantity <= time.time() - each.started
        assert (row.unit, row.sku, row.service) == ("second", "ml.m5.large Hosting", "SageMaker AI")
