"""Load on an endpoint: Locust, headless, in a process of its own; every request a row of a table.

result = labs.load.run(lab, endpoint, rows, users=8, seconds=20)
with labs.load.run(lab, endpoint, rows, users=8, seconds=60, background=True) as load:
    …change something…
    result = load.stop()
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from labs import show
from labs.wait import WaitTimeoutError, wait_until

if TYPE_CHECKING:
    import pandas as pd

    from labs.aws import Lab

Mode = Literal["closed", "open"]
COLUMNS: Final = ("started", "latency_ms", "service_ms", "status", "variant", "error")
_LOCUSTFILE: Final = Path(__file__).with_name("load_locustfile.py")
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 15
_REQUEST_SECONDS: Final = 60.0


class LoadError(RuntimeError):
    """The load could not be run; the message gives cause and next action."""


@dataclass(frozen=True)
class LoadResult:
    """What became of each request."""

    frame: pd.DataFrame
    """One row per request: `started` (unix seconds; in an open loop the intended moment), `latency_ms` (from there),
    `service_ms` (from when it was really sent), `status` (0: no answer), `variant`, `error`, `elapsed` (seconds since
    the first)."""
    mode: Mode
    users: int

    @property
    def count(self) -> int:
        """How many requests were sent."""
        return len(self.frame)

    @property
    def failed(self) -> int:
        """How many were not answered with 200."""
        return int((self.frame["status"] != 200).sum())

    def percentiles(self, *ranks: float, column: str = "latency_ms") -> pd.Series[float]:
        """Latency in milliseconds at these ranks (default 50, 90, 95, 99), over the answered requests."""
        wanted = ranks or (50, 90, 95, 99)
        values = self.frame.loc[self.frame["status"] == 200, column]
        found = values.quantile([rank / 100 for rank in wanted])
        found.index = [f"p{rank:g}" for rank in wanted]
        return found

    def errors(self) -> pd.DataFrame:
        """How often each status and error came, most frequent first; empty when all went well."""
        bad = self.frame[self.frame["status"] != 200]
        counts = bad.groupby(["status", "error"]).size().rename("requests").reset_index()
        return counts.sort_values("requests", ascending=False, ignore_index=True)

    def throughput(self) -> float:
        """Answered requests per second, from the first send to the last answer."""
        if self.frame.empty:
            return 0.0
        ended = (self.frame["started"] + self.frame["latency_ms"] / 1000).max()
        span = float(ended - self.frame["started"].min())
        return (self.count - self.failed) / span if span > 0 else 0.0

    def __str__(self) -> str:
        lines = " · ".join(f"{name} {value:.1f} ms" for name, value in self.percentiles().items())
        return (
            f"{self.count:,} requests, {self.failed:,} failed · {self.throughput():.0f} per second · {lines}"
            f" ({self.mode} loop, {self.users} {'users' if self.mode == 'closed' else 'connections'})"
        )

    def __repr__(self) -> str:
        return str(self)


class Load:
    """A load that runs. Leaving the `with` block stops it; it never outlives this process."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, seconds: float, mode: Mode, users: int) -> None:
        self._process = process
        self._folder = folder
        self._seconds = seconds
        self._mode: Mode = mode
        self._users = users
        self._result: LoadResult | None = None

    @property
    def pid(self) -> int:
        """The process that sends."""
        return self._process.pid

    def so_far(self) -> LoadResult:
        """The requests answered until now."""
        return self._result or self._read()

    def wait(self) -> LoadResult:
        """Wait until all seconds are over, with a progress bar, and return the result; raises LoadError."""
        if self._result is None:
            self._wait()
        return self._finish()

    def stop(self) -> LoadResult:
        """Stop now (requests on the way are still answered) and return the result; raises LoadError."""
        if self._result is None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._finish()

    def close(self) -> None:
        """End the process and remove its files, whatever state it is in."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Load:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._result is None:
            self.stop()
        self.close()

    def __del__(self) -> None:
        if self._process.poll() is None:
            self.close()

    def has_begun(self) -> bool:
        """Whether a first request was answered, or the process has ended."""
        if self._process.poll() is not None:
            return True
        try:
            with (self._folder / "requests.csv").open() as file:
                return len(file.readlines(400)) > 1
        except FileNotFoundError:
            return False

    def _wait(self) -> None:
        began = time.monotonic()
        try:
            with show.Progress("Load", self._seconds) as progress:
                while self._process.poll() is None:
                    self._wait_a_moment()
                    progress.update(time.monotonic() - began, f"{self._lines():,} requests")
        except BaseException:
            self.close()
            raise

    def _wait_a_moment(self) -> None:
        try:
            self._process.wait(0.25)
        except subprocess.TimeoutExpired:
            return

    def _lines(self) -> int:
        with (self._folder / "requests.csv").open("rb") as file:
            return max(0, sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) - 1)

    def _finish(self) -> LoadResult:
        if self._result is not None:
            return self._result
        try:
            code = self._process.wait(_STOP_SECONDS + _REQUEST_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()
            raise LoadError("The load did not stop within its time and was ended. Its rows are lost.") from None
        log = self._log()
        if code != 0 or not (self._folder / "requests.csv").exists():
            self.close()
            raise LoadError(f"Locust ended with {code}: {log or 'it said nothing'}")
        self._result = self._read()
        self.close()
        return self._result

    def _log(self) -> str:
        path = self._folder / "locust.log"
        return path.read_text(errors="replace").strip()[-2000:] if path.exists() else ""

    def _read(self) -> LoadResult:
        import pandas as pd

        frame = pd.read_csv(
            self._folder / "requests.csv", dtype={"variant": "string", "error": "string"}, keep_default_na=False
        )
        frame = frame.sort_values("started", ignore_index=True)
        frame["elapsed"] = frame["started"] - (frame["started"].iloc[0] if len(frame) else 0.0)
        return LoadResult(frame, self._mode, self._users)


def run(
    lab: Lab,
    endpoint: str,
    payloads: Sequence[str | bytes],
    *,
    users: int = 8,
    rate: float | None = None,
    seconds: float = 20.0,
    mode: Mode = "closed",
    content_type: str = "text/csv",
    accept: str | None = None,
    variant: str | None = None,
    background: bool = False,
) -> Any:
    """Invoke an endpoint for some seconds, from the payloads in turn; returns a LoadResult, or a Load in background.

    `closed`: `users` callers, each sends when its last request was answered (at most `rate` requests per second in
    all, when given). `open`: `rate` arrivals per second on up to `users` connections, whether or not earlier ones were
    answered. No request is ever repeated. In background it returns after the first answer. Raises LoadError.
    """
    if not payloads:
        raise LoadError("There is nothing to send: give at least one payload.")
    if mode == "open" and not rate:
        raise LoadError("An open loop needs a rate: load.run(…, mode='open', rate=50)")
    spec = {
        "url": _url(lab, endpoint), "region": lab.region, "mode": mode, "users": users, "rate": rate,
        "seconds": seconds, "timeout": _REQUEST_SECONDS, "parent": os.getpid(), "columns": COLUMNS,
        "headers": _headers(content_type, accept, variant),
        "payloads": [base64.b64encode(p.encode() if isinstance(p, str) else p).decode() for p in payloads],
    }  # fmt: skip
    started = _start(spec, _credentials(lab))
    _wait_for_the_first(started)
    return started if background else started.wait()


def _url(lab: Lab, endpoint: str) -> str:
    return f"{lab.client('sagemaker-runtime').meta.endpoint_url}/endpoints/{endpoint}/invocations"


def _headers(content_type: str, accept: str | None, variant: str | None) -> dict[str, str]:
    # The names of InvokeEndpoint's parameters on the wire: botocore's service model of sagemaker-runtime.
    optional = {"Accept": accept, "X-Amzn-SageMaker-Target-Variant": variant}
    return {"Content-Type": content_type, **{name: value for name, value in optional.items() if value}}


def _credentials(lab: Lab) -> dict[str, str]:
    found = lab.session.get_credentials()
    if found is None:
        raise LoadError("There are no credentials to sign with. Run the cell with labs.connect again.")
    frozen = found.get_frozen_credentials()
    return {
        "LABS_LOAD_KEY": str(frozen.access_key),
        "LABS_LOAD_SECRET": str(frozen.secret_key),
        "LABS_LOAD_TOKEN": str(frozen.token or ""),
    }


def _start(spec: Mapping[str, Any], credentials: Mapping[str, str]) -> Load:
    folder = Path(tempfile.mkdtemp(prefix="labs-load-"))
    path = folder / "spec.json"
    path.write_text(json.dumps({**spec, "csv": str(folder / "requests.csv")}))
    users = spec["users"] if spec["mode"] == "closed" else 1
    command = [
        sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "--headless", "--users", str(users),
        "--spawn-rate", str(users), "--stop-timeout", str(_STOP_SECONDS), "--exit-code-on-error", "0",
        "--loglevel", "WARNING", "--only-summary",
    ]  # fmt: skip
    with (folder / "locust.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, cwd=folder,
            env={**os.environ, **credentials, "LABS_LOAD_SPEC": str(path)},
        )  # fmt: skip
    return Load(process, folder, spec["seconds"], spec["mode"], spec["users"])


def _wait_for_the_first(load: Load) -> None:
    try:
        wait_until(load.has_begun, _START_SECONDS, "Load: waiting for the first answer", every=0.05)
    except WaitTimeoutError:
        load.close()
        raise LoadError(f"No request was answered within {_START_SECONDS} s. Is the endpoint InService?") from None
    except BaseException:
        load.close()
        raise
