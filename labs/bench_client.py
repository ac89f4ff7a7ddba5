"""A small load generator for benchmarks: one process, asyncio and httptools, keep-alive, a closed loop per connection.

Locust spends about half a millisecond per request and would measure itself; this spends about 40 microseconds. Reads
a JSON object on stdin (host, port, path, headers, body, connections, seconds) and prints one on stdout.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

import httptools

_WARM_UP_SECONDS: Final = 0.5


class Connection(asyncio.Protocol):
    """Sends the same request again as soon as the answer is complete."""

    def __init__(self, request: bytes, latencies: list[float], errors: list[int]) -> None:
        self._request = request
        self._latencies = latencies
        self._errors = errors
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.stopping = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end: an error unless it was asked for."""
        if exc or not self.stopping:
            self._errors.append(0)
        if not self.ended.done():
            self.ended.set_result(None)

    def on_message_complete(self) -> None:
        """An answer is complete: note it and send again."""
        self._latencies.append(time.perf_counter() - self._sent)
        if self._parser.get_status_code() != 200:
            self._errors.append(self._parser.get_status_code())
        self._parser = httptools.HttpResponseParser(self)
        if self.stopping:
            self.close()
        else:
            self._send()

    def close(self) -> None:
        """Hang up."""
        self.stopping = True
        if self._transport:
            self._transport.close()

    def _send(self) -> None:
        assert self._transport
        self._sent = time.perf_counter()
        self._transport.write(self._request)


def request_bytes(host: str, port: int, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A POST on the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in ("host", "content-length")]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Requests per second and latencies in milliseconds, after half a second of warming up."""
    latencies: list[float] = []
    errors: list[int] = []
    request = request_bytes(spec["host"], spec["port"], spec["path"], spec["headers"], spec["body"].encode())
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(request, latencies, errors), spec["host"], spec["port"])
        for _ in range(spec["connections"])
    ]
    await asyncio.sleep(_WARM_UP_SECONDS)
    latencies.clear()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(spec["seconds"])
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    taken = sorted(latencies)
    for _, connection in made:
        connection.stopping = True
    await asyncio.wait([connection.ended for _, connection in made], timeout=10)
    return _summary(taken, errors, seconds, used)


def _summary(taken: list[float], errors: list[int], seconds: float, cpu_seconds: float) -> dict[str, Any]:
    def at(rank: float) -> float:
        return taken[min(len(taken) - 1, int(rank * len(taken)))] * 1000 if taken else float("nan")

    return {
        "requests": len(taken), "per_second": len(taken) / seconds, "p50_ms": at(0.5), "p99_ms": at(0.99),
        "errors": len(errors), "client_cpu": cpu_seconds / seconds,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(json.load(sys.stdin)))))
