"""Every request enters the usage ledger exactly once, whatever dies in between."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter, defaultdict

import pytest
from localcloud.gateway.access_log import Tailer
from localcloud.gateway.errors import GatewayError
from localcloud.gateway.log_entry import parse_line
from localcloud.meter import usage
from localcloud.store import Store

ACCOUNT, OTHER, STRANGER = "111122223333", "444455556666", "999999999999"
PATH = "/endpoints/iris/invocations"
MOMENT = 1_800_000_000.0
MINUTE = 60


def line(**changes):
    """A line as Envoy writes it."""
    fields = {
        "time": f"{MOMENT:.6f}", "listener": "aws", "method": "POST", "path": PATH, "operation": None, "status": 200,
        "flags": "-", "bytes_in": 10, "bytes_out": 20, "total_us": 3000, "upstream_us": 1000, "route": "iris",
        "cluster": "iris-1", "pool": "blue", "request_id": "5",
        "labels": {"tenant": ACCOUNT, "region": "us-east-1", "service": "sagemaker-runtime", "resource": "iris"},
        "scope": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=",
    }  # fmt: skip
    return json.dumps(fields | changes, sort_keys=True, separators=(",", ":")).encode() + b"\n"


class Writer:
    """Writes a log as Envoy does: it keeps its file open until it is told to reopen."""

    def __init__(self, path):
        self.access_log, self.down = path, False
        self._file = path.open("ab", buffering=0)

    def write(self, data):
        self._file.write(data)

    def reopen_logs(self):
        if self.down:
            raise GatewayError("down")
        self._file.close()
        self._file = self.access_log.open("ab", buffering=0)

    def settle_log(self):
        if self.down:
            raise GatewayError("down")


@pytest.fixture
def writer(tmp_path):
    made = Writer(tmp_path / "access.log")
    yield made
    made._file.close()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cloud.db")


@pytest.fixture
def tailer(store, writer):
    return Tailer(store, writer)


def counted(store, tenant=ACCOUNT, sku="requests"):
    return sum(row.quantity for row in usage.of_tenant(store, tenant) if row.sku == sku)


def test_requests_and_bytes_per_minute_and_resource(store, writer, tailer):
    writer.write(line() * 3 + line(time=f"{MOMENT + MINUTE}"))
    scope = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/eu-west-1/s3/aws4_request"
    writer.write(line(scope=scope, labels={}, path="/bucket/a/b"))
    assert tailer.read() == 5
    rows = {(row.service, row.resource, row.sku, row.started): row for row in usage.of_tenant(store, ACCOUNT)}
    assert {key: row.quantity for key, row in rows.items()} == {
        ("SageMaker AI", "iris", "requests", MOMENT): 3,
        ("SageMaker AI", "iris", "data in", MOMENT): 30,
        ("SageMaker AI", "iris", "data out", MOMENT): 60,
        ("SageMaker AI", "iris", "requests", MOMENT + MINUTE): 1,
        ("SageMaker AI", "iris", "data in", MOMENT + MINUTE): 10,
        ("SageMaker AI", "iris", "data out", MOMENT + MINUTE): 20,
        ("S3", "bucket", "Standard PUT/COPY/POST/LIST", MOMENT): 1,
    }
    of_s3 = rows["S3", "bucket", "Standard PUT/COPY/POST/LIST", MOMENT]
    assert (of_s3.region, of_s3.unit) == ("eu-west-1", "request")


@pytest.mark.parametrize(
    ("method", "path", "sku"),
    [
        ("GET", "/bucket/a/b", "Standard GET/SELECT"),
        ("HEAD", "/bucket/a", "Standard GET/SELECT"),
        ("HEAD", "/bucket", "Standard GET/SELECT"),
        ("GET", "/bucket/", "Standard PUT/COPY/POST/LIST"),
        ("GET", "/", "Standard PUT/COPY/POST/LIST"),
        ("PUT", "/bucket/a", "Standard PUT/COPY/POST/LIST"),
        ("POST", "/bucket", "Standard PUT/COPY/POST/LIST"),
        ("DELETE", "/bucket/a", "Standard DELETE"),
    ],
)
def test_an_s3_request_has_the_class_it_is_billed_as(store, writer, tailer, method, path, sku):
    scope = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/us-east-1/s3/aws4_request"
    writer.write(line(scope=scope, labels={}, method=method, path=path))
    tailer.read()
    assert [row.sku for row in usage.of_tenant(store, ACCOUNT)] == [sku]


@pytest.mark.parametrize(
    ("changes", "billed"),
    [
        ({}, 1),
        ({"status": 404}, 1),
        ({"status": 424}, 1),
        ({"status": 503}, 0),
        ({"status": 0}, 0),
        ({"status": 429, "labels": {"fault": "f1"}}, 0),
        ({"route": "no-tenant/json", "status": 403, "labels": {}}, 0),
        ({"scope": None, "labels": {}}, 0),
        ({"labels": {}}, 1),
        ({"labels": None}, 1),
    ],
)
def test_what_is_billed(store, writer, tailer, changes, billed):
    writer.write(line(**changes))
    tailer.read()
    assert counted(store) == billed


def test_a_presigned_scope_is_understood():
    entry = parse_line(line(scope=f"{ACCOUNT}%2F20260101%2Feu-west-1%2Fs3%2Faws4_request", labels={}))
    assert (entry.tenant, entry.region, entry.service) == (ACCOUNT, "eu-west-1", "s3")


def test_a_line_being_written_is_left_for_later(store, writer, tailer):
    text = line()
    writer.write(text + text[:40])
    assert tailer.read() == 1
    writer.write(text[40:])
    assert tailer.read() == 1
    assert counted(store) == 2


def test_a_torn_line_costs_only_itself(store, writer, tailer):
    """Envoy was killed in the middle of a line, and its successor wrote on."""
    writer.write(line() + line()[:100] + line() + b"garbage\n" + line())
    assert tailer.read() == 3
    assert (counted(store), tailer.damaged) == (3, 1)


def test_a_truncated_log_is_read_from_its_start(store, writer, tailer):
    writer.write(line() * 5)
    tailer.read()
    os.truncate(writer.access_log, 0)
    writer.write(line() * 2)
    assert tailer.read() == 2


def test_a_missing_log_is_no_error(store, tailer, writer):
    writer.access_log.unlink()
    assert tailer.read() == 0


def test_a_new_reader_goes_on_where_the_old_one_was(store, writer, tailer):
    writer.write(line() * 5)
    tailer.read()
    writer.write(line() * 2)
    assert Tailer(store, writer).read() == 2
    assert counted(store) == 7


def test_two_readers_count_once(store, writer):
    writer.write(line() * 20_000)
    readers = [threading.Thread(target=Tailer(store, writer).read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert counted(store) == 20_000


def test_listeners_get_what_was_counted_and_may_fail(store, writer, tailer):
    seen = []
    tailer.add_listener(lambda _: 1 / 0)
    tailer.add_listener(seen.extend)
    writer.write(line() + line(status=503))
    tailer.read()
    assert [entry.status for entry in seen] == [200, 503]
    assert (seen[0].pool, seen[0].upstream_seconds) == ("blue", 0.001)


def test_rotation_loses_and_repeats_nothing(store, writer):
    tailer = Tailer(store, writer, rotate_bytes=2000)
    for number in range(50):
        writer.write(line() * 3)
        if number % 7 == 0:
            tailer = Tailer(store, writer, rotate_bytes=2000)
        tailer.read()
    writer.write(line())
    tailer.read()
    assert counted(store) == 151
    assert len(list(writer.access_log.parent.glob("access.log*"))) <= 3


def test_rotation_while_the_writer_is_down(store, writer):
    tailer = Tailer(store, writer, rotate_bytes=2000)
    writer.write(line() * 10)
    writer.down = True
    tailer.read()  # renamed; the old file is still the one being written
    writer.write(line() * 2)
    tailer.drain()
    writer.down = False
    writer.reopen_logs()
    writer.write(line() * 3)
    tailer.drain()
    assert counted(store) == 15


_READER = """
    import sys
    from pathlib import Path
    from localcloud.gateway import access_log
    from localcloud.store import Store

    class Writer:
        access_log = Path(sys.argv[1])
        def reopen_logs(self): pass
        def settle_log(self): pass

    access_log._CHUNK_BYTES = 4096
    tailer = access_log.Tailer(Store(Path(sys.argv[2])), Writer())
    tailer.add_listener(lambda _: print("batch", flush=True))
    while True:
        tailer.read()
"""


def test_a_reader_killed_anywhere_counts_once(store, writer, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(_READER), str(writer.access_log), str(tmp_path / "cloud.db")]
    for round_number in range(6):
        writer.write(line() * 2000)
        reader = subprocess.Popen(command, stdout=subprocess.PIPE)
        for _ in range(2 + 3 * round_number):
            assert reader.stdout.readline()
        reader.send_signal(signal.SIGKILL)
        reader.wait()
        reader.stdout.close()
    assert 0 < counted(store) <= 12_000
    Tailer(store, writer).read()
    assert counted(store) == 12_000


# With a real Envoy


def billed(store):
    """Requests per tenant, service and resource."""
    sums = defaultdict(float)
    for tenant in (ACCOUNT, OTHER, STRANGER):
        for row in usage.of_tenant(store, tenant):
            sums[tenant, row.service, row.resource, row.sku] += row.quantity
    return dict(sums)


@pytest.fixture
def cloud(door, backend, publication):
    backend("control-plane", door.ports["control"])
    backend("ministack", door.ports["ministack"])
    door.gateway.publish(publication("iris", {"blue": ([backend("blue")], 1)}))
    return door


def test_the_ledger_equals_what_clients_saw(cloud, store, signed):
    sizes = 0
    for _ in range(30):
        sizes += len(cloud.client.post(PATH, headers=signed(), content=b"x" * 50).content)
    for _ in range(7):
        cloud.client.put("/bucket/key", headers=signed(service="s3", account=OTHER))
    cloud.client.post("/", headers=signed(account=STRANGER))
    cloud.client.post("/", headers=signed())
    Tailer(store, cloud.gateway).drain()
    assert billed(store) == {
        (ACCOUNT, "SageMaker AI", "iris", "requests"): 30,
        (ACCOUNT, "SageMaker AI", "iris", "data in"): 1500,
        (ACCOUNT, "SageMaker AI", "iris", "data out"): sizes,
        (ACCOUNT, "SageMaker AI", "", "requests"): 1,
        (OTHER, "S3", "bucket", "Standard PUT/COPY/POST/LIST"): 7,
    }


def test_drain_is_exact_after_every_single_answer(cloud, store, signed):
    tailer = Tailer(store, cloud.gateway)
    for number in range(1, 101):
        cloud.client.post(PATH, headers=signed())
        tailer.drain()
        assert counted(store) == number


def test_no_secret_is_written(cloud, signed):
    cloud.client.post(PATH, headers=signed())
    cloud.client.get(
        f"/b/k?X-Amz-Credential={ACCOUNT}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=5ec2e7"
    )
    cloud.client.get("/b/k?AWSAccessKeyId=111122223333&Signature=5ec2e7", headers={"authorization": "Bearer 5ec2e7"})
    assert len(cloud.lines()) == 3
    assert "5ec2e7" not in cloud.gateway.access_log.read_text()
    assert [entry["scope"] and ACCOUNT in entry["scope"] for entry in cloud.lines()] == [True, True, None]


def test_an_entry_tells_what_happened(cloud, store, signed):
    entries = []
    tailer = Tailer(store, cloud.gateway)
    tailer.add_listener(entries.extend)
    before = time.time()
    headers = signed(**{"x-sleep": "0.05", "x-amz-target": "SageMaker.CreateModel"})
    answer = cloud.client.post(f"{PATH}?a=b", headers=headers, content=b"abc")
    tailer.drain()
    (entry,) = entries
    assert (entry.method, entry.path, entry.status, entry.flags) == ("POST", PATH, 200, "-")
    assert (entry.tenant, entry.region, entry.service) == (ACCOUNT, "us-east-1", "sagemaker-runtime")
    assert (entry.resource, entry.pool, entry.operation) == ("iris", "blue", "SageMaker.CreateModel")
    assert (entry.bytes_in, entry.bytes_out) == (3, len(answer.content))
    assert before - 0.1 <= entry.time <= time.time()
    assert 0.05 <= entry.upstream_seconds <= entry.seconds
    assert entry.request_id == answer.headers["x-amzn-requestid"]


def test_rotation_under_load(cloud, store, load, wait_until):
    tailer = Tailer(store, cloud.gateway, rotate_bytes=20_000)
    with load("iris") as running:
        for _ in range(8):
            count = len(running.statuses)
            wait_until(lambda count=count: len(running.statuses) > count + 60)
            tailer.read()
    tailer.drain()
    assert running.errors == []
    assert counted(store) == len(running.statuses)
    assert len(list(cloud.home.gateway.glob("access.log.*"))) >= 1


def test_a_killed_envoy_has_written_what_it_answered(cloud, store, signed):
    tailer = Tailer(store, cloud.gateway)
    for number in range(1, 6):
        for _ in range(20):
            assert cloud.client.post(PATH, headers=signed()).status_code == 200
        cloud.gateway.settle_log()
        cloud.kill()
        cloud.start()
        tailer.read()
        assert counted(store) == 20 * number


def test_killed_under_load_the_log_and_the_clients_agree(cloud, store, load, wait_until):
    """A line is written some tens of microseconds after its answer: a kill can at most cost the last of each client."""
    tailer, kills, workers = Tailer(store, cloud.gateway), 5, 4
    with load("iris", workers=workers) as running:
        for _ in range(kills):
            count = len(running.statuses)
            wait_until(lambda count=count: len(running.statuses) > count + 100)
            cloud.kill()
            cloud.start()
    tailer.drain()
    answered = Counter(running.statuses)
    assert answered.keys() == {200}
    assert abs(counted(store) - answered[200]) <= kills * workers
    assert tailer.damaged == 0
