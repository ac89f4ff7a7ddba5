"""Locust in its own process: rows, loops, failures counted once, nothing left running."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import psutil
import pytest

from labs import load, plots, spend
from labs.load import LoadError

SERVER = """
import asyncio, itertools
numbers = itertools.count()
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    if scope["method"] == "GET":
        status, body = 200, str(next(numbers)).encode()
    else:
        number = next(numbers)
        slow, broken = "slow" in scope["path"], "broken" in scope["path"] and number % 2
        await asyncio.sleep(0.2 if slow else 0.002)
        status, body = (503, b"it is broken") if broken else (200, b"0.1")
    variant = (b"x-amzn-invoked-production-variant", b"blue")
    await send({"type": "http.response.start", "status": status, "headers": [variant]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, wait_until: Callable[..., Any]) -> Iterator[str]:
    """An endpoint that answers in 2 ms, or as its name says."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "answering.py").write_text(SERVER)
    command = [sys.executable, "-m", "uvicorn", "answering:app", "--port", "0", "--lifespan", "off"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        text = wait_until(lambda: _address(folder / "log"), what="uvicorn's address")
        yield f"http://127.0.0.1:{text}"
    finally:
        process.kill()
        process.wait()
        log.close()


def _address(path: Path) -> str:
    _, _, rest = path.read_text().partition("http://127.0.0.1:")
    return rest.split()[0] if rest else ""


@pytest.fixture
def lab(server: str) -> Any:
    """What load needs of a lab: a session with credentials, a region, a client with an address."""
    session = boto3.Session("123456789012", "secret", region_name="us-east-1")
    client = session.client("sagemaker-runtime", endpoint_url=server)
    return SimpleNamespace(session=session, region="us-east-1", client=lambda name: client)


def test_closed_loop_records_every_request(lab: Any, server: str) -> None:
    before = int(httpx.get(server, trust_env=False).text)
    result = load.run(lab, "late", ["1,2", b"3,4"], users=3, seconds=1)
    sent = int(httpx.get(server, trust_env=False).text) - before - 1
    assert result.count == sent > 20
    assert result.failed == 0
    assert result.errors().empty
    assert set(result.frame["variant"]) == {"blue"}
    assert set(load.COLUMNS) <= set(result.frame.columns)
    assert result.percentiles(50)["p50"] <= result.percentiles(99)["p99"]
    assert 0 < result.throughput() < 3000


def test_failures_are_counted_once_and_named(lab: Any, server: str) -> None:
    before = int(httpx.get(server, trust_env=False).text)
    result = load.run(lab, "broken", ["1"], users=2, seconds=1)
    assert result.count == int(httpx.get(server, trust_env=False).text) - before - 1
    assert 0 < result.failed < result.count
    (error,) = result.errors().to_dict("records")
    assert (error["status"], error["error"], error["requests"]) == (503, "it is broken", result.failed)


def test_open_loop_counts_from_the_intended_moment(lab: Any) -> None:
    # One connection, 0.2 s an answer, 20 arrivals a second: a queue builds up, and only an open loop shows it.
    result = load.run(lab, "slow", ["1"], mode="open", rate=20, users=1, seconds=1)
    assert 18 <= result.count <= 21
    gaps = result.frame["started"].diff().dropna()
    assert gaps.median() == pytest.approx(0.05, abs=0.005)
    last = result.frame.iloc[-1]
    assert last["latency_ms"] > 5 * result.percentiles(50, column="service_ms")["p50"] / 2


def test_closed_loop_keeps_a_rate(lab: Any) -> None:
    assert 30 <= load.run(lab, "late", ["1"], users=4, rate=40, seconds=1).count <= 48


def test_background_load_stops_with_its_block(lab: Any) -> None:
    with load.run(lab, "late", ["1"], users=2, seconds=300, background=True) as running:
        assert running.so_far().count > 0
        pid = running.pid
    assert not psutil.pid_exists(pid)
    assert running.stop().count > 0


def test_background_load_ends_when_the_block_fails(lab: Any) -> None:
    with pytest.raises(ZeroDivisionError), load.run(lab, "late", ["1"], seconds=300, background=True) as running:
        _ = 1 / 0
    assert not psutil.pid_exists(running.pid)


def test_load_does_not_outlive_its_parent(server: str, wait_until: Callable[..., Any], tmp_path: Path) -> None:
    script = f"""
import boto3, os, types
from labs import load
s = boto3.Session("123456789012", "x", region_name="us-east-1")
c = s.client("sagemaker-runtime", endpoint_url={server!r})
running = load.run(types.SimpleNamespace(session=s, region="us-east-1", client=lambda n: c), "e", ["1"],
                   seconds=300, background=True)
print(running.pid, running._folder, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
    pid, folder = int(done.stdout.split()[0]), Path(done.stdout.split()[1].decode())
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 10)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"payloads": []}, "at least one payload"), ({"payloads": ["1"], "mode": "open"}, "needs a rate")],
)
def test_load_that_cannot_be_run(arguments: dict[str, Any], words: str, lab: Any) -> None:
    with pytest.raises(LoadError, match=words):
        load.run(lab, "late", **arguments)


def test_endpoint_that_refuses_connections_is_all_failures(lab: Any) -> None:
    gone = lab.session.client("sagemaker-runtime", endpoint_url="http://127.0.0.1:9")
    lab.client = lambda name: gone
    result = load.run(lab, "late", ["1"], users=1, rate=20, seconds=1)
    assert result.failed == result.count > 0
    assert "refused" in result.errors()["error"][0].lower()
    assert result.throughput() == 0


def test_figures_carry_their_text(lab: Any) -> None:
    result = load.run(lab, "broken", ["1"], users=2, seconds=1)
    began = time.time()
    figures = [
        plots.latency_over_time(result, alt="dots", events={"update": began}),
        plots.latency_distribution({"closed": result}, alt="curve"),
        plots.latency_histogram(result, alt="bars"),
        plots.traffic_split(result, alt="areas", labels={"blue": "January"}),
        plots.curves({"loss": [3, 2, 1]}, alt="falls", y_label="log loss"),
        plots.spend_bars(spend.of_usage([_hosting()], "Spend"), alt="one bar"),
    ]
    assert [plots.alt_of(figure) for figure in figures] == ["dots", "curve", "bars", "areas", "falls", "one bar"]
    labels = [text.get_text() for text in figures[3].axes[0].get_legend().get_texts()]
    assert labels == ["January", "failed"]
    with pytest.raises(ValueError, match="alt="):
        plots.curves({"loss": [1]}, alt=" ")


def _hosting() -> dict[str, Any]:
    return {
        "provider": "aws", "region": "us-east-1", "service": "SageMaker AI", "sku": "ml.m5.large Hosting",
        "unit": "second", "quantity": 60.0,
    }  # fmt: skip
