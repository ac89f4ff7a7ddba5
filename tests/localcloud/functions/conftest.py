"""Functions made from source text, and what tests ask of them."""

from __future__ import annotations

import base64
import io
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

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

    def create(self, source: str = ECHO, *, handler: str = "app.handler", code: bytes | None = None, **options: Any) -> str:
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


@pytest.fixture
def functions(aws: Callable[..., Any], tenant: Any) -> Functions:
    """Functions of a fresh tenant of the session's cloud."""
    return Functions(aws("lambda"), tenant.account)
