"""A real Envoy on free ports, and small real servers behind it."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field, replace

import httpx
import pytest
import uvicorn
from localcloud.gateway.admin import Admin, EnvoyDownError
from localcloud.gateway.gateway import Gateway
from localcloud.gateway.spec import Cluster, Publication, Reply, Route, Target
from localcloud.home import Home
from localcloud.ports import NAMES, free_port

ACCOUNT, OTHER, STRANGER = "111122223333", "444455556666", "999999999999"
KEY = "AWS4-HMAC-SHA256 Credential="


def _wait_until(condition, timeout=20.0, what=""):
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what or condition}"
        time.sleep(0.01)
    return result


@pytest.fixture
def wait_until():
    return _wait_until


def _signed(account=ACCOUNT, service="sagemaker", region="us-east-1", **headers):
    """Headers of a request that an AWS SDK would sign."""
    scope = f"{account}/20260101/{region}/{service}/aws4_request"
    return {"authorization": f"{KEY}{scope}, SignedHeaders=host, Signature={'5ec2e7' * 10}", **headers}


@pytest.fixture
def signed():
    return _signed


class Backend:
    """A real HTTP server in a thread: answers with its name and what it saw; `x-sleep` makes it slow."""

    def __init__(self, name, port=None):
        self.name, self.port, self.served = name, port or free_port(), 0
        self.healthy = True
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            proxy_headers=False,
            port=self.port,
            log_level="error",
            lifespan="off",
            server_header=False,
            timeout_keep_alive=5,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        _wait_until(lambda: self._server.started)

    @property
    def endpoint(self):
        return "127.0.0.1", self.port

    def stop(self):
        """At once: whoever still waits for an answer loses it."""
        self.ask_to_stop()
        self._thread.join(10)

    def ask_to_stop(self):
        self._server.should_exit = self._server.force_exit = True

    async def _app(self, scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        if scope["path"] != "/ping":
            self.served += 1
        await asyncio.sleep(float(headers.get("x-sleep", 0)))
        status = 503 if scope["path"] == "/ping" and not self.healthy else 200
        seen = {"name": self.name, "path": scope["raw_path"].decode(), "query": scope["query_string"].decode()}
        text = json.dumps(seen | {"method": scope["method"], "bytes": len(body), "headers": headers}).encode()
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", b"%d" % len(text)), (b"server", b"backend")],
            }
        )
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})


@pytest.fixture
def backend():
    """`backend("blue")` starts a server; all are stopped at the end."""
    started = []

    def start(name, port=None):
        started.append(Backend(name, port))
        return started[-1]

    yield start
    for each in started:
        each.ask_to_stop()
    for each in started:
        each.stop()


@dataclass
class Door:
    """A gateway with its Envoy."""

    home: Home
    ports: dict
    gateway: Gateway
    process: subprocess.Popen = None
    clients: list = field(default_factory=list)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.ports['aws']}"

    @property
    def client(self):
        if not self.clients:
            self.clients.append(httpx.Client(base_url=self.url, timeout=30, trust_env=False))
        return self.clients[0]

    def start(self):
        self.gateway.write_bootstrap()
        self.process = subprocess.Popen(self.gateway.command(), start_new_session=True)
        _wait_until(Admin(self.ports["envoy_admin"]).is_ready)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def lines(self):
        with contextlib.suppress(EnvoyDownError):
            self.gateway.settle_log()
        return [json.loads(line) for line in self.gateway.access_log.read_text().splitlines()]


@pytest.fixture
def unstarted_door(tmp_path):
    home = Home(tmp_path / "home").create()
    ports = {name: free_port() for name in NAMES}
    door = Door(home, ports, Gateway(home, ports))
    yield door
    for client in door.clients:
        client.close()
    if door.process is not None:
        door.kill()


@pytest.fixture
def door(unstarted_door):
    """Envoy running, with one tenant."""
    unstarted_door.start()
    unstarted_door.gateway.set_tenants({ACCOUNT: time.time() + 3600, OTHER: time.time() + 3600})
    return unstarted_door


_REVISIONS = itertools.count(1)


@pytest.fixture
def publication():
    """`publication("iris", {"blue": ([backend], 1)})`: an endpoint as the SageMaker facade would publish it."""

    def make(name, pools, account=ACCOUNT, region="us-east-1", revision=None, **changes):
        revision = revision or next(_REVISIONS)
        route = Route(
            listener="aws",
            path=f"/endpoints/{name}/invocations",
            header_prefixes={"authorization": f"{KEY}{account}/"},
            header_contains={"authorization": f"/{region}/sagemaker/"},
            pin_header="x-amzn-sagemaker-target-variant",
            rewrite_path="/invocations",
            max_body_bytes=6 * 1024 * 1024,
            too_large=Reply(413, '{"message": "too large"}', {"content-type": "application/json"}),
            unknown_pin=Reply(400, '{"message": "no such variant"}', {"content-type": "application/json"}),
            labels={"tenant": account, "region": region, "service": "sagemaker-runtime", "resource": name},
        )
        identity = f"{account}-{region}-{name}"
        clusters, targets = [], []
        for pool, (backends, weight) in pools.items():
            cluster = f"{identity}-{pool}-{revision}"
            clusters.append(Cluster(cluster, tuple(each.endpoint for each in backends), "/ping"))
            targets.append(Target(pool, cluster, weight, {"x-amzn-invoked-production-variant": pool}))
        return Publication(identity, replace(route, **changes), tuple(clusters), tuple(targets))

    return make


class Load:
    """Clients that call an endpoint without pause and write down every answer."""

    def __init__(self, url, paths, headers, workers):
        self.statuses, self.errors, self.names = [], [], []
        self._stop = threading.Event()
        self._arguments = url, paths, headers, workers
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)

    async def _run(self):
        url, paths, headers, workers = self._arguments
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            await asyncio.gather(*(self._work(client, paths[i % len(paths)], headers) for i in range(workers)))

    async def _work(self, client, path, headers):
        while not self._stop.is_set():
            try:
                answer = await client.post(path, content=b"x" * 100, headers=headers)
                self.statuses.append(answer.status_code)
                self.names.append(answer.json().get("name"))
            except httpx.HTTPError as error:
                self.errors.append(error)
                await asyncio.sleep(0.02)


@pytest.fixture
def load(door):
    def make(*endpoints, workers=6, **headers):
        return Load(door.url, [f"/endpoints/{name}/invocations" for name in endpoints], _signed(**headers), workers)

    return make
