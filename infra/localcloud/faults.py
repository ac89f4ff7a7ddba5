"""Things that go wrong on purpose: kept in the store, in force between their start and their end."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from localcloud.gateway.errors import GatewayError
from localcloud.gateway.spec import Fault
from localcloud.store import Key, Store

KIND: Final = "fault"
AT_THE_GATEWAY: Final = ("error", "latency", "outage")
ONCE: Final = ("kill", "spot-reclaim")
"""Done to a job or an endpoint at the start, and then over."""
_FIELDS: Final = {each.name for each in fields(Fault)}


class FaultError(Exception):
    """The fault as described cannot be; the message says what to change."""


class Faults:
    """The register of faults. `publish` hands them to the gateway; `enact` does a kill or a reclaim."""

    def __init__(
        self, store: Store, publish: Callable[[list[Fault]], None], enact: Callable[[Fault], None] = lambda _: None
    ) -> None:
        self._store = store
        self._publish = publish
        self.enact = enact

    def add(self, description: Mapping[str, Any]) -> Fault:
        """Add a fault from its fields (see gateway.spec.Fault; `id` is given here); in force when this returns.

        Raises FaultError, and GatewayError when the gateway refuses it.
        """
        fault = _checked(description)
        self._store.insert(_key(fault.id), fault.as_json())
        try:
            self._publish(self.at_the_gateway())
        except GatewayError:
            self._store.delete(_key(fault.id))
            raise
        self.run_due()
        return fault

    def all(self) -> list[Fault]:
        """Those in force and those planned."""
        return [Fault(**each.body) for each in self._store.list(KIND)]

    def clear(self, id: str | None = None) -> int:
        """End one fault, or all; returns how many there were."""
        found = [each for each in self.all() if id in (None, each.id)]
        for each in found:
            self._store.delete(_key(each.id))
        self._publish(self.at_the_gateway())
        return len(found)

    def at_the_gateway(self) -> list[Fault]:
        """What the gateway should do, each between its start and end."""
        return [each for each in self.all() if each.kind in AT_THE_GATEWAY]

    def run_due(self) -> None:
        """Do what is to be done once, and forget what is over."""
        now = time.time()
        for fault in self.all():
            if fault.kind in ONCE and fault.start <= now:
                self._store.delete(_key(fault.id))  # first: it must not be done twice
                self.enact(fault)
            elif fault.end is not None and fault.end <= now:
                self._store.delete(_key(fault.id))


def _checked(description: Mapping[str, Any]) -> Fault:
    unknown = sorted(set(description) - _FIELDS)
    if unknown:
        raise FaultError(f"Unknown fields {unknown}. A fault has: {sorted(_FIELDS)}")
    given = {name: value for name, value in description.items() if value is not None and name != "id"}
    try:
        fault = Fault(id=f"fault-{secrets.token_hex(4)}", **given)
    except TypeError as error:
        raise FaultError(f"A fault needs at least a kind: {', '.join(AT_THE_GATEWAY + ONCE)} ({error})") from None
    _check_types(fault)
    _check_values(fault)
    return replace(fault, start=fault.start or time.time())


def _check_types(fault: Fault) -> None:
    for name in ("percent", "delay_seconds", "start", "end", "status"):
        value = getattr(fault, name)
        if value is not None and not _is_number(value):
            raise FaultError(f"{name} must be a finite number, not {value!r}")
    for name in ("kind", "service", "region", "tenant", "target"):
        value = getattr(fault, name)
        if value is not None and not isinstance(value, str):
            raise FaultError(f"{name} must be text, not {value!r}")


def _check_values(fault: Fault) -> None:
    if fault.kind not in AT_THE_GATEWAY + ONCE:
        raise FaultError(f"Unknown kind {fault.kind!r}. Known: {', '.join(AT_THE_GATEWAY + ONCE)}")
    if not 0 < fault.percent <= 100:
        raise FaultError(f"percent must be above 0 and at most 100, not {fault.percent}")
    if fault.status not in range(400, 600):
        raise FaultError(f"status must be an HTTP error, 400 to 599, not {fault.status}")
    if fault.kind == "latency" and not fault.delay_seconds > 0:
        raise FaultError("A latency fault needs delay_seconds above 0")
    if fault.kind in ONCE and not fault.target:
        raise FaultError(f"A {fault.kind} fault needs a target: the name of a job or an endpoint")
    if fault.end is not None and fault.end <= max(time.time(), fault.start):
        raise FaultError("end lies in the past or before start; both are in unix seconds")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _key(id: str) -> Key:
    return Key(KIND, "", "", id)
