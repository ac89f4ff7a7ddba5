"""Envoy's clusters and endpoints, as JSON.

Wire format: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from localcloud.gateway.errors import GatewayError
from localcloud.gateway.spec import Cluster

CONTROL_PLANE: Final = "control-plane"
MINISTACK: Final = "ministack"

LABELS: Final = "labels"
"""Metadata namespace of our own facts on routes and clusters."""

_HEALTH_INTERVAL: Final = "0.5s"
_HEALTH_TIMEOUT: Final = "5s"
"""A replica that computes on every core answers late without being ill."""
_IDLE_SECONDS: Final = "4s"
"""Below uvicorn's keep-alive of 5 s: the gateway must be the one that closes, or a request meets a closed socket."""
_NO_LIMIT: Final = 1 << 20
_ROUTING_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")

Endpoint = tuple[str, int]


def check_name(name: str) -> None:
    """Cluster names become file names and parts of metric names; raises GatewayError."""
    if not _ROUTING_NAME.fullmatch(name):
        raise GatewayError(f"{name!r} cannot name a cluster: use at most 201 letters, digits, '.', '_' and '-'.")


def deployment_cluster(cluster: Cluster, pool: str, endpoints_file: Path) -> dict[str, Any]:
    """A pool's replicas: health-checked, read from a file of endpoints."""
    return _cluster(cluster.name) | {
        "type": "EDS",
        "eds_cluster_config": {"service_name": cluster.name, "eds_config": file_source(endpoints_file)},
        # SageMaker's default; least-request would make tail latencies look better than they are there.
        "lb_policy": "RANDOM",
        # Workers learn of health changes at once, not in batches each second: a switch relies on what metrics say.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "health_checks": [_health_check(cluster.health_path)],
        "ignore_health_on_host_removal": True,
        "metadata": {"filter_metadata": {LABELS: {"pool": pool}}},
    }


def static_cluster(name: str, port: int) -> dict[str, Any]:
    """A part of the local cloud on this machine; it has one address for life and comes back by itself."""
    return _cluster(name) | {
        "type": "STATIC",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "load_assignment": load_assignment(name, [("127.0.0.1", port)]),
    }


def load_assignment(name: str, serving: Iterable[Endpoint], draining: Iterable[Endpoint] = ()) -> dict[str, Any]:
    """A ClusterLoadAssignment; draining endpoints finish what they have and get nothing new."""
    members = [_member(endpoint, "UNKNOWN") for endpoint in serving]
    members += [_member(endpoint, "DRAINING") for endpoint in draining]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": members}]}


def file_source(path: Path) -> dict[str, Any]:
    """A ConfigSource that is read from a file, and again whenever it is replaced by rename."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _cluster(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [_thresholds()]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": _IDLE_SECONDS},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _thresholds() -> dict[str, Any]:
    # The replica decides how much is too much: the proxy's own limits (1024) would answer in its place.
    return {
        "max_connections": _NO_LIMIT,
        "max_pending_requests": _NO_LIMIT,
        "max_requests": _NO_LIMIT,
        # Without a budget only 3 retries may be under way at a time.
        "retry_budget": {"budget_percent": {"value": 100}, "min_retry_concurrency": 100},
    }


def _health_check(path: str) -> dict[str, Any]:
    # Until a dead replica is noticed (a second) the retries of refused connections go round it. Ejecting on refusal
    # (outlier detection) is no gain: it also counts timeouts, so that one slow request would close an endpoint.
    return {
        "timeout": _HEALTH_TIMEOUT,
        "interval": _HEALTH_INTERVAL,
        # Otherwise a cluster without traffic is checked once a minute, and not again soon after a failure.
        "no_traffic_interval": _HEALTH_INTERVAL,
        "no_traffic_healthy_interval": _HEALTH_INTERVAL,
        "unhealthy_interval": "0.1s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 2,
        "http_health_check": {"path": path},
    }


def _member(endpoint: Endpoint, health: str) -> dict[str, Any]:
    host, port = endpoint
    address = {"socket_address": {"address": host, "port_value": port}}
    return {"endpoint": {"address": address}, "health_status": health}
