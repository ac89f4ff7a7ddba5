"""The benchmark's own parts: the client counts what was answered, targets are judged the right way round."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labs import bench


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).count += 1
        self.send_response(503 if self.path == "/broken" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Answering.count = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def send(port: int, path: str) -> dict[str, float]:
    spec = {"host": "127.0.0.1", "port": port, "path": path, "headers": {"Content-Type": "text/csv", "host": "x"},
            "body": "1,2", "connections": 3, "seconds": 0.3}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "labs.bench_client"], input=json.dumps(spec), capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_client_counts_what_was_answered(port: int) -> None:
    found = send(port, "/")
    assert 0 < found["requests"] <= Answering.count
    assert found["errors"] == 0
    assert found["p50_ms"] <= found["p99_ms"]
    assert 0 <= found["client_cpu"] <= 1.5


def test_client_counts_errors(port: int) -> None:
    found = send(port, "/broken")
    assert found["errors"] == Answering.count > 0


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "ok"),
    [(1.0, 2.0, False, True), (3.0, 2.0, False, False), (0.7, 0.5, True, True), (0.4, 0.5, True, False),
     (9.0, None, False, True), (float("nan"), 1.0, False, False), (float("inf"), 120.0, False, False)],
)  # fmt: skip
def test_measure_is_judged(value: float, limit: float | None, at_least: bool, ok: bool) -> None:
    assert bench.Measure("m", value, "s", limit, at_least).ok is ok


def test_unknown_measure_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(only=("speed",)) == 2
    assert "Known: start, job, serving, functions, run" in capsys.readouterr().err


def test_listening_ports_of_a_process() -> None:
    import os

    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert listening.getsockname()[1] in bench._listening(os.getpid())
    assert bench._listening(2**22 + 1) == []
