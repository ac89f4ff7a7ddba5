"""Envoy's admin interface: metrics, per-host counts, log reopening.

Standard library only: the supervisor imports it.
https://www.envoyproxy.io/docs/envoy/latest/operations/admin
"""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from localcloud.gateway.errors import GatewayError

_SECONDS: Final = 2.0


class EnvoyDownError(GatewayError):
    """Nothing answers on Envoy's admin port."""


@dataclass(frozen=True)
class Host:
    """One endpoint as Envoy sees it."""

    active: int
    """Requests under way."""
    healthy: bool
    """Whether it gets requests."""


class Admin:
    """A client of the admin port. Every method raises EnvoyDownError when Envoy is not there."""

    def __init__(self, port: int) -> None:
        self._port = port

    def stats(self, pattern: str) -> dict[str, float | str]:
        """Metrics whose whole name matches a regular expression, by name; text metrics stay text."""
        answer = self._json(f"/stats?format=json&filter={quote(f'^(?:{pattern})$')}")
        return {row["name"]: row["value"] for row in answer["stats"] if "value" in row}

    def hosts(self, cluster: str) -> dict[tuple[str, int], Host]:
        """The endpoints of a cluster in use (none while it is still being prepared)."""
        answer = self._json(f"/clusters?format=json&filter={quote(f'^{re.escape(cluster)}$')}")
        found: dict[tuple[str, int], Host] = {}
        for status in answer.get("cluster_statuses", []):
            if status["name"] == cluster:
                found |= {_address(row): _host(row) for row in status.get("host_statuses", [])}
        return found

    def reopen_logs(self) -> None:
        """Open the access log again by its name, after it was renamed."""
        self._request("POST", "/reopen_logs")

    def is_ready(self) -> bool:
        """Whether all listeners listen."""
        try:
            return self._request("GET", "/ready").startswith(b"LIVE")
        except EnvoyDownError:
            return False

    def _json(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._request("GET", path))
        return answer

    def _request(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EnvoyDownError(
                f"Envoy does not answer on 127.0.0.1:{self._port} ({error!r}). Look with: lab status"
            ) from error
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise EnvoyDownError(f"Envoy's admin port answered {response.status} to {method} {path}: {body[:200]!r}")
        return body


def _address(host: dict[str, Any]) -> tuple[str, int]:
    address = host["address"]["socket_address"]
    return address["address"], address["port_value"]


def _host(row: dict[str, Any]) -> Host:
    active = sum(int(stat.get("value", 0)) for stat in row.get("stats", []) if stat["name"] == "rq_active")
    health = dict(row["health_status"])
    # Besides this entry there are only flags that say why an endpoint gets nothing.
    assigned = health.pop("eds_health_status", "HEALTHY")
    return Host(active, healthy=assigned == "HEALTHY" and not any(health.values()))
