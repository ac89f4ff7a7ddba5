"""Things that go wrong on purpose, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any

from labs import control, show


class Injected:
    """Faults in force. Leaving the `with` block, or `clear()`, ends them; doing it again does no harm."""

    def __init__(self, api: control.Control | None, ids: list[str]) -> None:
        self._api = api
        self.ids = ids

    def clear(self) -> None:
        """End the faults now."""
        if not self._api:
            return
        in_force = {each["id"] for each in self._api.faults()}  # a kill is over once it is done
        while self.ids:
            if (fault_id := self.ids.pop()) in in_force:
                self._api.clear_fault(fault_id)

    def __enter__(self) -> Injected:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


def fault(
    kind: str = "error",
    *,
    service: str | None = None,
    region: str | None = None,
    percent: float = 100.0,
    status: int = 503,
    delay_seconds: float = 0.0,
    seconds: float | None = None,
    target: str | None = None,
    everyone: bool = False,
) -> Injected:
    """Break something of this notebook's tenant on the local cloud.

    `kind` is `error` (answer `status` to `percent` of the requests), `latency` (delay them by `delay_seconds`),
    `outage` (all fail), `kill` (a job or a replica of the endpoint `target`) or `spot-reclaim`. `service` is the SigV4
    name, `sagemaker-runtime` for invocations; None means all. `seconds` ends it by itself. `everyone` breaks it for
    all tenants, not only for this one. On a real account nothing is broken and a line says so.
    """
    account = os.environ.get("AWS_ACCESS_KEY_ID", "")
    if not os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://127.0.0.1:"):
        show.note("Faults exist only on the local cloud: on a real account nothing is broken here.", "problem")
        return Injected(None, [])
    api = control.connect()
    now = time.time()
    wanted: dict[str, Any] = {
        "kind": kind, "service": service, "region": region, "tenant": None if everyone else account,
        "percent": percent, "status": status, "delay_seconds": delay_seconds, "target": target,
        "start": now, "end": None if seconds is None else now + seconds,
    }  # fmt: skip
    return Injected(api, [api.add_fault(wanted)["id"]])
