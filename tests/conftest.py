"""Shared fixtures: a local cloud of its own, fresh tenants, and SDK clients aimed at the gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from localcloud import processes
from localcloud.home import Home, State, StateError, read_state


def poll(condition: Callable[[], Any], timeout: float = 30.0, what: str = "") -> Any:
    """Ask every 20 ms; returns the first true answer, fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout:.0f} s in vain for {what or condition}")
        time.sleep(0.02)
    return answer


@dataclass(frozen=True)
class Tenant:
    """An account made for one test."""

    account: str
    region: str
    name: str
    secret: str


@dataclass
class Cloud:
    """A running local cloud, as a client sees it."""

    home: Home
    _clients: dict[tuple[object, ...], Any] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return read_state(self.home)

    @property
    def url(self) -> str:
        """The gateway: what SDKs talk to."""
        return f"http://127.0.0.1:{self.state.ports['aws']}"

    def command(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `python -m localcloud … --home …`."""
        return run_localcloud(self.home, *arguments, timeout=timeout)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control API; raises ControlError for an answer of 400 or more."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.state.ports['control']}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.state.token}", "Content-Type": "application/json"},
        )
        try:
            with _OPENER.open(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise ControlError(error.code, json.loads(error.read() or b"{}")) from None
        return json.loads(text) if text else None

    def tenant(self, name: str, lab: str = "test") -> Tenant:
        """The tenant of that name, made when there is none."""
        made = self.control("POST", "/_lab/tenants", {"name": name, "lab": lab})
        return Tenant(made["account"], made["region"], made["name"], made["secret"])

    def client(self, service: str, tenant: Tenant, *, retries: int | None = 0, region: str | None = None) -> Any:
        """A boto3 client of the gateway; `retries` is how often the SDK tries again by itself (None: its default)."""
        key = (service, tenant.account, retries, region or tenant.region, self.url)
        if key not in self._clients:
            self._clients[key] = aws_client(
                service, self.url, tenant.account, tenant.secret, region or tenant.region, retries
            )
        return self._clients[key]

    def pid(self, part: str) -> int:
        """Of a running part; waits while it is being restarted."""
        return int(poll(lambda: self._pid(part), what=f"a pid of {part}"))

    def _pid(self, part: str) -> int | None:
        try:
            pid: int | None = self.state.parts[part]["pid"]
        except (StateError, KeyError):  # the state file was lost, and the supervisor has not written it anew
            return None
        return pid

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Until `status` says that every part is ready."""
        from localcloud.lifecycle import ready_state

        poll(lambda: ready_state(self.home), timeout, "all parts to be ready")


class ControlError(Exception):
    """The control API answered with an error."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def aws_client(service: str, url: str, account: str, secret: str, region: str, retries: int | None = 0) -> Any:
    """A boto3 client of any endpoint, path-style, s3v4 presigned URLs; `retries` None: the SDK's default."""
    config = Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4" if service == "s3" else None,
        proxies={},
        **({} if retries is None else {"retries": {"mode": "standard", "total_max_attempts": retries + 1}}),
    )
    return boto3.session.Session().client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=account,
        aws_secret_access_key=secret,
        config=config,
    )


def run_localcloud(home: Home, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command of the local cloud to its end."""
    return subprocess.run(
        [sys.executable, "-m", "localcloud", arguments[0], "--home", str(home.root), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "LAB_HOME": str(home.root)},
    )


def start_cloud(root: Path) -> Cloud:
    """Bring a cloud up on free ports; fails with its own message."""
    home = Home(root)
    done = run_localcloud(home, "up", "--aws-port", "0")
    if done.returncode:
        run_localcloud(home, "down")
        pytest.fail(done.stderr)
    return Cloud(home)


def stop_cloud(cloud: Cloud) -> None:
    """Take it down and check that none of its processes is left."""
    done = cloud.command("down")
    left = processes.of_home(cloud.home)
    assert done.returncode == 0, done.stderr
    assert not left, f"processes left after `down`: {left}"


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Any]:
    """`wait_until(condition, timeout=30, what="")` polls every 20 ms and returns the first true answer."""
    return poll


class CloudMaker:
    """Makes clouds for tests that break or stop them."""

    def __call__(self, root: Path) -> Cloud:
        return start_cloud(root)

    def existing(self, root: Path) -> Cloud:
        """The cloud of a home that may run or not."""
        return Cloud(Home(root))

    def stop(self, cloud: Cloud) -> None:
        stop_cloud(cloud)


@pytest.fixture(scope="session")
def make_client() -> Callable[..., Any]:
    """`make_client(service, url, account, secret, region, retries)`: a boto3 client of any endpoint."""
    return aws_client


@pytest.fixture(scope="session")
def make_cloud() -> CloudMaker:
    """`make_cloud(root)` starts a cloud, `.stop(cloud)` stops it and checks that nothing is left."""
    return CloudMaker()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own with 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One local cloud for the whole session, started as a user starts it."""
    running = start_cloud(tmp_path_factory.mktemp("cloud") / "home")
    yield running
    stop_cloud(running)


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[Cloud]:
    """A local cloud for one test that breaks it."""
    running = start_cloud(tmp_path / "home")
    yield running
    stop_cloud(running)


@pytest.fixture
def tenant(cloud: Cloud, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A fresh tenant of the session's cloud; deleted afterwards."""
    made = cloud.tenant(f"{request.node.name}-{time.time_ns()}")
    yield made
    cloud.control("DELETE", f"/_lab/tenants/{made.account}")


@pytest.fixture
def aws(cloud: Cloud, tenant: Tenant) -> Callable[..., Any]:
    """`aws("s3")`: a client of the gateway as the fresh tenant, SDK retries off unless `retries=` is given."""

    def make(service: str, **options: Any) -> Any:
        return cloud.client(service, tenant, **options)

    return make
