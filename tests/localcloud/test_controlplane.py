"""The control API: who may call it, what it answers to bad input, and what it knows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from localcloud import controlplane
from localcloud.home import Home
from localcloud.loops import Loop
from localcloud.meter import storage, usage
from localcloud.store import Store


def _ask(cloud: Any, path: str, token: str | None, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{cloud.state.ports['control']}{path}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, method=method, headers=headers, data=body)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_health_needs_no_token_and_names_the_parts(cloud: Any) -> None:
    status, body = _ask(cloud, "/_lab/health", None)
    assert status == 200
    assert body["ready"] is True
    assert set(body["parts"]) == {"supervisor", "controlplane", "ministack", "envoy"}


@pytest.mark.parametrize("token", [None, "", "wrong", "ünï"])
@pytest.mark.parametrize("path", ["/_lab/tenants", "/_lab/faults", "/_lab/processes", "/_lab/tenants/1/usage"])
def test_without_the_token_nothing_is_told(cloud: Any, path: str, token: str | None) -> None:
    status, body = _ask(cloud, path, token and token.encode().decode("latin-1"))
    assert status == 401
    assert "state.json" in body["message"]


def test_the_control_api_is_not_reachable_through_the_gateway(cloud: Any) -> None:
    request = urllib.request.Request(f"{cloud.url}/_lab/health")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        text = error.read()
    assert b'"parts"' not in text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/_lab/tenants", b"{}", 400, "needs a name"),
        ("POST", "/_lab/tenants", b"[]", 400, "JSON object"),
        ("POST", "/_lab/tenants", b"{", 400, "JSON"),
        ("POST", "/_lab/tenants", b'{"name": "n", "lab": "l", "ttl_hours": -1}', 400, "ttl_hours"),
        ("POST", "/_lab/tenants", b'{"name": "n", "lab": "l", "ttl_hours": "x"}', 400, "ttl_hours"),
        ("DELETE", "/_lab/tenants/000000000000", None, 404, "no tenant 000000000000"),
        ("GET", "/_lab/tenants/000000000000/leftovers", None, 404, "no tenant"),
        ("POST", "/_lab/faults", b'{"kind": "earthquake"}', 400, "earthquake"),
        ("POST", "/_lab/faults", b'{"kind": "error", "colour": "red"}', 400, "colour"),
        ("DELETE", "/_lab/faults/none", None, 400, "lab fault list"),
    ],
)
def test_bad_input_gets_a_message(
    cloud: Any, method: str, path: str, body: bytes | None, status: int, says: str
) -> None:
    answered, told = _ask(cloud, path, cloud.state.token, method, body)
    assert answered == status
    assert says in told["message"]


def test_processes_are_named(cloud: Any) -> None:
    names = {each["name"] for each in cloud.control("GET", "/_lab/processes") if each["main"]}
    assert {"supervisor", "controlplane", "ministack", "envoy"} <= names


def test_a_fault_is_in_force_until_it_is_cleared(cloud: Any, tenant: Any, aws: Callable[..., Any]) -> None:
    sqs = aws("sqs")
    sqs.list_queues()
    fault = cloud.control("POST", "/_lab/faults", {"kind": "error", "service": "sqs", "tenant": tenant.account})
    with pytest.raises(sqs.exceptions.ClientError, match=fault["id"]):
        sqs.list_queues()
    assert fault in cloud.control("GET", "/_lab/faults")
    cloud.control("DELETE", f"/_lab/faults/{fault['id']}")
    sqs.list_queues()


def test_requests_are_in_the_ledger_when_asked_for(cloud: Any, tenant: Any, aws: Callable[..., Any]) -> None:
    for _ in range(7):
        aws("sqs").list_queues()
    rows = cloud.control("GET", f"/_lab/tenants/{tenant.account}/usage")
    assert sum(row["quantity"] for row in rows if (row["service"], row["unit"]) == ("SQS", "request")) == 7


def test_stored_bytes_are_metered_once_per_interval(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    store = Store(home.database)
    bucket = home.ministack / "s3" / "123456789012" / "bucket"
    (bucket / "deep").mkdir(parents=True)
    (bucket / "deep" / "object").write_bytes(b"x" * 1000)
    (bucket / "deep" / "object.meta.json").write_bytes(b"{}")
    for now in (100.0, 160.0, 160.0, 220.0, 10_000.0):  # the same moment twice, then a long time down
        storage.sample(store, home, now)
    rows = usage.of_tenant(store, "123456789012")
    assert [(row.quantity, row.started, row.ended) for row in rows] == [
        (60_000.0, 100.0, 160.0),
        (60_000.0, 160.0, 220.0),
    ]
    assert {(row.service, row.sku, row.unit, row.resource) for row in rows} == {
        ("S3", "Standard storage", "byte-second", "bucket")
    }


def test_coverage_is_printed_without_a_cloud(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localcloud", "coverage", "--home", str(tmp_path / "none")]
    table = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert "CreateTrainingJob" in table["sagemaker"]["operations"]
    assert table["sagemaker-runtime"]["operations"] == ["InvokeEndpoint"]
    assert {"PutObject", "CreateBucket"} <= set(table["s3"]["operations"])
    assert {"SendMessage", "ReceiveMessage"} <= set(table["sqs"]["operations"])
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert "    CreateTrainingJob\n" in text
    assert not (tmp_path / "none").exists()


def test_a_loop_goes_on_after_an_error_and_can_be_woken_and_stopped(wait_until: Callable[..., Any]) -> None:
    calls: list[float] = []

    def work() -> None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise ValueError("the first call fails")

    loop = Loop("test", 600.0, work)
    loop.start()
    wait_until(lambda: len(calls) == 1)
    loop.wake()
    wait_until(lambda: len(calls) == 2)
    loop.stop()
    loop.wake()
    assert len(calls) == 2


def test_the_watch_leaves_a_stopped_cloud_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    home.state_file.write_text('{"token": "t", "ports": {"aws": 1}, "parts": {}, "version": 1}')
    controlplane.SupervisorWatch(home).look()
    assert not (home.logs / "supervisor.log").exists()
