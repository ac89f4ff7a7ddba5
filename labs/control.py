"""Client of the local cloud's control API: tenants, faults, usage, leftovers, processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from labs import cloud_process
from labs.cloud_process import CloudError, CloudState

_CONNECT_ATTEMPTS: Final = 6
"""With httpx's back-off (0, 0.5, 1, 2 … s) this rides out a restart of the control plane."""
_SECONDS: Final = 60.0


class ControlError(CloudError):
    """The control API refused or could not be reached; the message gives cause and next action."""


@dataclass(frozen=True)
class Tenant:
    """An account of the local cloud. `expires` is in unix seconds."""

    account: str
    region: str
    name: str
    lab: str
    expires: float
    secret: str = ""


@dataclass(frozen=True)
class Leftover:
    """Something that a tenant still has."""

    service: str
    kind: str
    name: str
    billable: bool


class Control:
    """The control API of one local cloud."""

    def __init__(self, state: CloudState) -> None:
        self.state = state
        self._http = httpx.Client(
            base_url=state.control_url,
            headers={"Authorization": f"Bearer {state.token}"},
            timeout=_SECONDS,
            # Not through a proxy: labs set one that goes nowhere, to catch calls that would leave the machine.
            transport=httpx.HTTPTransport(retries=_CONNECT_ATTEMPTS),
            trust_env=False,
        )

    def health(self, seconds: float = 2.0) -> dict[str, Any]:
        """Readiness of every part, asked once; raises ControlError when nobody answers within `seconds`."""
        try:
            answer = httpx.get(f"{self.state.control_url}/_lab/health", timeout=seconds, trust_env=False)
            found: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ControlError(f"The local cloud does not answer ({error}). Run: lab up") from error
        return found

    def tenant(self, name: str, lab: str, ttl_hours: float | None = None) -> Tenant:
        """The tenant of that name, made when there is none."""
        body: dict[str, Any] = {"name": name, "lab": lab}
        if ttl_hours is not None:
            body["ttl_hours"] = ttl_hours
        return _tenant(self._ask("POST", "/_lab/tenants", body))

    def tenants(self) -> list[Tenant]:
        """All tenants."""
        return [_tenant(each) for each in _items(self._ask("GET", "/_lab/tenants"))]

    def delete_tenant(self, account: str) -> None:
        """Stop and remove everything a tenant has; its usage is kept."""
        self._ask("DELETE", f"/_lab/tenants/{account}")

    def leftovers(self, account: str) -> list[Leftover]:
        """What a tenant still has."""
        found = _items(self._ask("GET", f"/_lab/tenants/{account}/leftovers"))
        return [Leftover(each["service"], each["kind"], each["name"], each["billable"]) for each in found]

    def usage(self, account: str) -> list[dict[str, Any]]:
        """The usage ledger of a tenant, up to now."""
        return _items(self._ask("GET", f"/_lab/tenants/{account}/usage"))

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force or planned."""
        return _items(self._ask("GET", "/_lab/faults"))

    def add_fault(self, fault: Mapping[str, Any]) -> dict[str, Any]:
        """Add a fault (fields as in the gateway's Fault); returns it with its id."""
        added: dict[str, Any] = self._ask("POST", "/_lab/faults", dict(fault))
        return added

    def clear_fault(self, id: str | None = None) -> None:
        """End a fault, or all."""
        self._ask("DELETE", "/_lab/faults" if id is None else f"/_lab/faults/{id}")

    def processes(self) -> list[dict[str, Any]]:
        """Every process that the local cloud owns."""
        return _items(self._ask("GET", "/_lab/processes"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ControlError(f"The local cloud does not answer ({error}). Run: lab up") from error
        if answer.is_error:
            raise ControlError(f"{method} {path}: {_reason(answer)}")
        return answer.json() if answer.content else None


def connect() -> Control:
    """The control API of the local cloud that runs in this home; raises CloudDownError when there is none."""
    return Control(cloud_process.read_state())


def is_ready(state: CloudState) -> bool:
    """Whether all parts of the cloud answer now."""
    try:
        return bool(Control(state).health().get("ready"))
    except ControlError:
        return False


def _reason(answer: httpx.Response) -> str:
    try:
        found = answer.json()
        return str(found.get("message") or found.get("error") or found)
    except (ValueError, AttributeError):
        return f"{answer.status_code} {answer.text[:500]}"


def _items(answer: Any) -> list[dict[str, Any]]:
    """The list in an answer, bare or under its one key."""
    if isinstance(answer, dict):
        lists = [value for value in answer.values() if isinstance(value, list)]
        return lists[0] if lists else []
    return list(answer or [])


def _tenant(raw: Mapping[str, Any]) -> Tenant:
    known = {name: raw[name] for name in Tenant.__dataclass_fields__ if name in raw}
    return Tenant(**known)
