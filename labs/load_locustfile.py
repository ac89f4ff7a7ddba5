"""What Locust runs in its own process: signed invocations, closed loop or open loop, one CSV row per request.

gevent patches the standard library, so a notebook's kernel never imports this; `labs.load` starts it. The file named
by LABS_LOAD_SPEC says what to send (see labs.load.Spec).
"""

# locust has no types
# mypy: disable-error-code="misc,untyped-decorator"

from __future__ import annotations

import base64
import csv
import itertools
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

import gevent
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from locust import FastHttpUser, constant_pacing, events, task

SPEC: Final = json.loads(Path(os.environ["LABS_LOAD_SPEC"]).read_text())
PAYLOADS: Final = [base64.b64decode(each) for each in SPEC["payloads"]]
VARIANT_HEADER: Final = "x-Amzn-Invoked-Production-Variant"
_PARENT_POLL: Final = 0.5
_CREDENTIALS: Final = Credentials(
    os.environ["LABS_LOAD_KEY"], os.environ["LABS_LOAD_SECRET"], os.environ.get("LABS_LOAD_TOKEN") or None
)


class Recorder:
    """Writes a row per request, at once."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("w", newline="", buffering=1)  # noqa: SIM115  # open for the process's life
        self._rows = csv.writer(self._file)
        self._rows.writerow(SPEC["columns"])

    def write(self, intended: float, sent: float, ended: float, response: Any) -> None:
        """Times are unix seconds; `intended` is when the request should have been sent."""
        status = response.status_code or 0
        error = "" if status == 200 else _error_of(response)
        variant = (response.headers or {}).get(VARIANT_HEADER, "")
        latency, service = (ended - intended) * 1000, (ended - sent) * 1000
        self._rows.writerow([f"{intended:.6f}", f"{latency:.3f}", f"{service:.3f}", status, variant, error])


class Signer:
    """Signs with Signature Version 4; requests of the same second and payload share a signature, as they may."""

    def __init__(self) -> None:
        self._auth = SigV4Auth(_CREDENTIALS, "sagemaker", SPEC["region"])
        self._second = 0
        self._signed: dict[int, dict[str, str]] = {}

    def headers(self, number: int) -> dict[str, str]:
        """Headers for the payload with this number, signed now."""
        if (now := int(time.time())) != self._second:
            self._second, self._signed = now, {}
        if number not in self._signed:
            request = AWSRequest("POST", SPEC["url"], data=PAYLOADS[number], headers=dict(SPEC["headers"]))
            self._auth.add_auth(request)
            self._signed[number] = dict(request.headers.items())
        return self._signed[number]


RECORDER: Final = Recorder(SPEC["csv"])
SIGNER: Final = Signer()
NUMBERS: Final = itertools.cycle(range(len(PAYLOADS)))
STOPPING: Final = gevent.event.Event()


def invoke(client: Any, intended: float | None = None) -> None:
    """Send one request, never twice, and record it."""
    number = next(NUMBERS)
    headers = SIGNER.headers(number)
    sent = time.time()
    response = client.post(SPEC["url"], data=PAYLOADS[number], headers=headers, name="invoke")
    RECORDER.write(sent if intended is None else intended, sent, time.time(), response)


class _Caller(FastHttpUser):
    """What both kinds of caller share: no retries, no redirects."""

    abstract = True
    host = SPEC["url"]
    max_retries = 0
    max_redirects = 0
    connection_timeout = SPEC["timeout"]
    network_timeout = SPEC["timeout"]


if SPEC["mode"] == "closed":

    class ClosedLoop(_Caller):
        """Sends, waits for the answer, sends again; with a rate, each user keeps its share of it if it can."""

        if SPEC["rate"]:
            wait_time = constant_pacing(SPEC["users"] / SPEC["rate"])

        @task
        def send(self) -> None:
            """One request."""
            invoke(self.client)

else:

    class OpenLoop(_Caller):
        """Requests arrive at a constant rate whether or not earlier ones are answered.

        Latency counts from the intended moment, also while a request waits for one of `users` connections: a slow
        answer does not hide how long others had to wait (no coordinated omission).
        """

        concurrency = SPEC["users"]

        @task
        def arrive(self) -> None:
            """All arrivals, until it is time to stop."""
            began, flying, connections = time.time(), Pool(), BoundedSemaphore(SPEC["users"])
            for number in itertools.count():
                intended = began + number / SPEC["rate"]
                if STOPPING.wait(max(0.0, intended - time.time())):
                    break
                flying.spawn(self.one, connections, intended)
            flying.join()

        def one(self, connections: BoundedSemaphore, intended: float) -> None:
            """One request, when a connection is free."""
            with connections:
                invoke(self.client, intended)


def _error_of(response: Any) -> str:
    if response.status_code:
        return " ".join((response.text or "").split())[:200] or f"HTTP {response.status_code}"
    return f"{type(response.error).__name__}: {response.error}"[:200]


@events.test_start.add_listener
def _limit(environment: Any, **_: Any) -> None:
    gevent.spawn_later(SPEC["seconds"], _stop, environment)
    gevent.spawn(_end_with_parent)


@events.test_stopping.add_listener
def _stopping(**_: Any) -> None:
    STOPPING.set()


def _stop(environment: Any) -> None:
    STOPPING.set()
    environment.runner.quit()


def _end_with_parent() -> None:
    # The parent's death must not leave a load running that nobody can stop.
    while os.getppid() == SPEC["parent"]:
        gevent.sleep(_PARENT_POLL)
    shutil.rmtree(Path(SPEC["csv"]).parent, ignore_errors=True)
    os._exit(1)
