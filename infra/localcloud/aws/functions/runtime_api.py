"""The Lambda Runtime API, over which a function's process gets its events and gives its answers.

Wire format: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Every environment has a port of its own;
all of them are served by one event loop in one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from queue import SimpleQueue
from typing import Final, Literal

from localcloud.aws.functions.failures import MOST_RESPONSE_BYTES

Kind = Literal["ready", "response", "error", "init error", "too large", "exited", "out of memory"]

_PREFIX: Final = "/2018-06-01/runtime/"
_RESULT: Final = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
_MOST_HEADER_BYTES: Final = 4 << 20
"""A runtime's error cause travels in a header of up to 1 MB."""
_ACCEPTED: Final = b'{"status":"OK"}\n'


@dataclass(frozen=True)
class Happening:
    """Something that an environment did. `moment` by time.perf_counter()."""

    kind: Kind
    moment: float
    body: bytes = b""
    request_id: str = ""
    code: int = 0


@dataclass(frozen=True)
class Invocation:
    """One event on its way to the handler."""

    request_id: str
    event: bytes
    arn: str
    deadline: float
    """Unix seconds."""
    trace_id: str | None = None

    def headers(self) -> dict[str, str]:
        """As the runtime reads them."""
        found = {
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(self.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.arn,
        }
        return found | ({"Lambda-Runtime-Trace-Id": self.trace_id} if self.trace_id else {})


@dataclass
class RuntimeApi:
    """One environment's side of it."""

    server: RuntimeApiServer
    happenings: SimpleQueue[Happening]
    port: int = 0
    handed_out: float = 0.0
    """When the last event was given to the runtime, by time.perf_counter()."""
    current: str = ""
    """The request that an answer is awaited for."""
    pending: asyncio.Queue[Invocation] = field(default_factory=asyncio.Queue)
    listener: asyncio.Server | None = None
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def submit(self, invocation: Invocation) -> None:
        """Hand this event out when the runtime asks for one."""
        self.server.loop.call_soon_threadsafe(self.pending.put_nowait, invocation)

    def close(self) -> None:
        """End listening and every connection."""
        self.server.loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        if self.listener is not None:
            self.listener.close()
        for connection in self.connections:
            connection.cancel()


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class RuntimeApiServer:
    """The thread that serves them all."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="lambda-runtime-api", daemon=True).start()

    def open(self, happenings: SimpleQueue[Happening]) -> RuntimeApi:
        """Listen for a new environment; what it does is put into `happenings`."""
        return asyncio.run_coroutine_threadsafe(self._open(happenings), self.loop).result()

    async def _open(self, happenings: SimpleQueue[Happening]) -> RuntimeApi:
        api = RuntimeApi(self, happenings)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                api.connections.add(task)
                task.add_done_callback(api.connections.discard)
            await _serve(api, reader, writer)

        api.listener = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_MOST_HEADER_BYTES)
        api.port = int(api.listener.sockets[0].getsockname()[1])
        return api


async def _serve(api: RuntimeApi, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
        while True:
            request = await _read(reader, writer)
            if request.method == "GET" and request.path == f"{_PREFIX}invocation/next":
                await _hand_out(api, reader, writer)
            else:
                status, body = _take(api, request)
                writer.write(_response(status, body))
            await writer.drain()
    writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _Request(method, path, headers, await _read_chunks(reader))
    return _Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass
    return bytes(body)


async def _hand_out(api: RuntimeApi, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer `next` when there is an event; a runtime that hangs up meanwhile must not swallow it."""
    api.happenings.put(Happening("ready", time.perf_counter()))
    invocation = await api.pending.get()
    if reader.at_eof():
        api.pending.put_nowait(invocation)
        raise ConnectionError
    api.current = invocation.request_id
    api.handed_out = time.perf_counter()
    writer.write(_response(HTTPStatus.OK, invocation.event, invocation.headers()))


def _take(api: RuntimeApi, request: _Request) -> tuple[HTTPStatus, bytes]:
    """The runtime's answer to an event, or its failure to start."""
    now = time.perf_counter()
    if request.method == "POST" and request.path == f"{_PREFIX}init/error":
        api.happenings.put(Happening("init error", now, request.body))
        return HTTPStatus.ACCEPTED, _ACCEPTED
    match = _RESULT.fullmatch(request.path) if request.method == "POST" else None
    if match is None:
        return HTTPStatus.NOT_FOUND, _error("NotFound", "The local cloud's Runtime API has no such resource")
    if match[1] != api.current:
        return HTTPStatus.BAD_REQUEST, _error("InvalidRequestID", "Invalid request ID")
    api.current = ""
    if match[2] == "response" and len(request.body) > MOST_RESPONSE_BYTES:
        api.happenings.put(Happening("too large", now, request_id=match[1], code=len(request.body)))
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _error("RequestEntityTooLarge", "Exceeded maximum allowed payload")
    kind: Kind = "response" if match[2] == "response" else "error"
    api.happenings.put(Happening(kind, now, request.body, match[1]))
    return HTTPStatus.ACCEPTED, _ACCEPTED


def _error(error_type: str, text: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": text}).encode()


def _response(status: HTTPStatus, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
