"""Functions made from source text, and what tests ask of them."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from localcloud.aws.functions import packages, runtimes
from localcloud.home import Home
from localcloud.parts import HOME_VARIABLE, PORTS_VARIABLE
from localcloud.ports import free_port

RUNTIME = f"python3.{sys.version_info.minor}"
ROLE = "arn:aws:iam::{account}:role/function"
ECHO = "def handler(event, context):\n    return event\n"


def zipped(**files: str) -> bytes:
    """A zip of modules: `zipped(app="…")` holds app.py."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    return target.getvalue()


@dataclass(frozen=True)
class Invoked:
    """An answer of Invoke."""

    payload: Any
    error: str | None
    log: str
    status: int
    version: str | None = None

    @property
    def report(self) -> dict[str, str]:
        """The fields of the REPORT line."""
        line = next(line for line in self.log.splitlines() if line.startswith("REPORT "))
        return dict(part.split(": ", 1) for part in line.removeprefix("REPORT ").split("\t"))

    def milliseconds(self, name: str) -> float:
        """Such as `Init Duration`."""
        return float(self.report[name].removesuffix(" ms"))


@dataclass
class Functions:
    """Makes and calls functions as one tenant."""

    client: Any
    account: str
    counter: list[str] = field(default_factory=list)

    def create(
        self, source: str = ECHO, *, handler: str = "app.handler", code: bytes | None = None, **options: Any
    ) -> str:
        """A new function from the text of app.py, active; returns its name."""
        name = options.pop("name", None) or f"function-{len(self.counter)}"
        self.counter.append(name)
        self.client.create_function(
            FunctionName=name,
            Runtime=options.pop("runtime", RUNTIME),
            Handler=handler,
            Role=ROLE.format(account=self.account),
            Code={"ZipFile": code or zipped(app=source)},
            **options,
        )
        self.client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
        )
        return name

    def invoke(self, name: str, event: Any = None, **options: Any) -> Invoked:
        """Call it and wait, with the end of its log."""
        payload = options.pop("payload", None) or json.dumps(event if event is not None else {}).encode()
        answer = self.client.invoke(FunctionName=name, Payload=payload, LogType="Tail", **options)
        log = base64.b64decode(answer.get("LogResult", "")).decode()
        text = answer["Payload"].read()
        version = answer.get("ExecutedVersion")
        return Invoked(
            json.loads(text) if text else None, answer.get("FunctionError"), log, answer["StatusCode"], version
        )


class MiniStack:
    """Our launcher in a process of its own, without the rest of the cloud."""

    def __init__(self, root: Path, wait_until: Callable[..., Any], client: str) -> None:
        self.home = Home(root).create()
        self.port, self.gateway_port = free_port(), free_port()
        self.log = root / "ministack.log"
        self._wait_until, self._client = wait_until, client
        self._session = boto3.Session()  # one, so that each service's model is loaded once
        self._process: subprocess.Popen[bytes] | None = None
        self._accounts = itertools.count(100_000_000_001)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        marks = {
            HOME_VARIABLE: str(self.home.root),
            PORTS_VARIABLE: f"aws={self.gateway_port},ministack={self.port}",
            runtimes.CLIENT_VARIABLE: self._client,
            "PATH": os.environ["PATH"],
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-P", "-m", "localcloud.aws.ministack"]
            self._process = subprocess.Popen(command, env=marks, cwd=self.home.root, stdout=log, stderr=log)
        self._wait_until(self._answers, what="MiniStack")

    def stop(self, number: int = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(20)

    def kill_and_start(self) -> None:
        self.stop()
        self.start()

    def client(self, service: str, account: str, retries: int = 0) -> Any:
        return self._session.client(
            service, region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=account, aws_secret_access_key="local",
            config=Config(
                retries={"mode": "standard", "total_max_attempts": retries + 1},
                s3={"addressing_style": "path"},
                proxies={},
            ),
        )  # fmt: skip

    def functions(self, retries: int = 0) -> Functions:
        """Functions of a fresh account."""
        account = str(next(self._accounts))
        return Functions(self.client("lambda", account, retries), account)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_ministack/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


CLIENTS = [
    pytest.param(
        packages.OFFICIAL_CLIENT,
        marks=pytest.mark.skipif(
            not packages.has_official_client(), reason="awslambdaric has no wheel for this platform"
        ),
    ),
    "python",
]


@pytest.fixture(scope="session", params=CLIENTS)
def both_runtimes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wait_until: Any
) -> Iterator[MiniStack]:
    """MiniStack with our Lambda, once with each Runtime API client."""
    running = MiniStack(tmp_path_factory.mktemp("functions"), wait_until, request.param)
    running.start()
    yield running
    running.stop(signal.SIGTERM)


@pytest.fixture
def functions(both_runtimes: MiniStack) -> Functions:
    """Functions of a fresh account; each test runs once with each Runtime API client."""
    return both_runtimes.functions()


@pytest.fixture
def tenant_functions(aws: Callable[..., Any], tenant: Any) -> Functions:
    """Functions of a fresh tenant of the session's whole cloud, through the gateway."""
    return Functions(aws("lambda"), tenant.account)


@pytest.fixture
def functions_of() -> type[Functions]:
    """`functions_of(client, account)`: functions of any cloud."""
    return Functions


@pytest.fixture
def own_ministack(tmp_path: Path, wait_until: Any) -> Iterator[MiniStack]:
    """A MiniStack that a test may kill."""
    running = MiniStack(tmp_path / "home", wait_until, "")
    running.start()
    yield running
    running.stop()
