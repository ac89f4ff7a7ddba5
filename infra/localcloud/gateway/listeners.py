"""A listener of the gateway: its address, its filters, its access log, and how its own errors look.

Wire format: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from localcloud.gateway.clusters import file_source
from localcloud.gateway.routes import seconds, set_headers
from localcloud.gateway.spec import Fault, Publication

Json = dict[str, Any]

LATENCY_SLOTS: Final = 8
"""How many delays can be in force at a time: filters stand ready in the chain, switched off."""

FAILURE_FLAGS: Final = ("UH", "UF", "UC", "UR", "LR", "URX", "NC", "UO", "UT", "SI", "DT", "UMSDR")
"""Envoy's response flags of an answer that no backend gave.

https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#response-flags
"""
TIMEOUT_FLAGS: Final = ("UT", "SI", "DT", "UMSDR")

_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions."
_SCOPE_CHARACTERS: Final = 104
"""Of the Authorization header: the credential scope always, the signature never."""


@dataclass(frozen=True)
class View:
    """All that decides where requests go at one moment: only what is in force now."""

    publications: Sequence[Publication]
    accounts: Sequence[str]
    faults: Sequence[Fault]


@dataclass(frozen=True)
class Listener:
    """A cloud's door. Another cloud is another value of this class."""

    name: str
    """Also the name of its route table and the prefix of its metrics."""
    port: str
    """Name of its port in the state file."""
    virtual_host: Callable[[View], Json]
    """Builds routes (and delays) of the one virtual host."""
    error_mappers: Callable[[], list[Json]]
    """Gives Envoy's own errors the vendor's shape."""
    signed_prefix: str
    """How an Authorization header begins that carries a credential scope."""


def route_table(listener: Listener, view: View) -> Json:
    """The RouteConfiguration of a listener."""
    host = {"name": listener.name, "domains": ["*"]} | listener.virtual_host(view)
    return {
        "name": listener.name,
        "virtual_hosts": [host],
        "response_headers_to_remove": ["x-envoy-upstream-service-time"],
        "max_direct_response_body_size_bytes": 1 << 20,
    }


def latency_slot(index: int) -> str:
    """The name of a filter that can delay requests."""
    return f"localcloud.latency.{index}"


def delay(matchers: list[Json], percent: Json, delay_seconds: float) -> Json:
    """What switches a latency slot on for the requests with these headers."""
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "config": {
            "@type": f"{_EXTENSIONS}filters.http.fault.v3.HTTPFault",
            "delay": {"fixed_delay": seconds(delay_seconds), "percentage": percent},
            "headers": matchers,
        },
    }


def listener_config(listener: Listener, port: int, routes_file: Path, access_log: Path) -> Json:
    """The Listener resource; it accepts connections from this machine only."""
    manager = _connection_manager(listener, routes_file, access_log)
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "name": listener.name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        # Two gateways on one port would share its connections without a word.
        "enable_reuse_port": False,
        "filter_chains": [{"filters": filters}],
    }


def mapper(conditions: list[Json], status: int, body: Json, headers: Mapping[str, str]) -> Json:
    """Replaces an error of Envoy's own when all conditions hold."""
    return {
        "filter": {"and_filter": {"filters": conditions}},
        "status_code": status,
        "body_format_override": body,
        "headers_to_add": set_headers(headers),
    }


def flagged(flags: Sequence[str]) -> Json:
    """The condition that the answer carries one of Envoy's response flags."""
    return {"response_flag_filter": {"flags": list(flags)}}


def when_header(matcher: Json) -> Json:
    """A condition on a header of the request."""
    return {"header_filter": {"header": matcher}}


def when_any(conditions: list[Json]) -> Json:
    """At least one condition holds (takes two or more)."""
    return {"or_filter": {"filters": conditions}}


def _connection_manager(listener: Listener, routes_file: Path, access_log: Path) -> Json:
    return {
        "@type": f"{_EXTENSIONS}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": listener.name,
        "rds": {"route_config_name": listener.name, "config_source": file_source(routes_file)},
        "http_filters": [*_latency_filters(), _router()],
        "access_log": _access_logs(listener, access_log),
        "local_reply_config": {"mappers": listener.error_mappers()},
        # Object keys are bytes: `//`, `..` and `%2F` must arrive as they were sent.
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "server_header_transformation": "PASS_THROUGH",
        "skip_xff_append": True,
        # Functions and long polls may be silent for minutes.
        "stream_idle_timeout": "0s",
        "max_request_headers_kb": 96,
        "common_http_protocol_options": {"max_headers_count": 200},
    }


def _latency_filters() -> list[Json]:
    return [
        {
            "name": latency_slot(index),
            "disabled": True,
            "typed_config": {"@type": f"{_EXTENSIONS}filters.http.fault.v3.HTTPFault"},
        }
        for index in range(LATENCY_SLOTS)
    ]


def _router() -> Json:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_EXTENSIONS}filters.http.router.v3.Router"},
    }


def _access_logs(listener: Listener, path: Path) -> list[Json]:
    """Two loggers to one file: only a header that is known to carry a scope is written, and only its scope."""
    signed = {"name": "authorization", "string_match": {"prefix": listener.signed_prefix}}
    unsigned = signed | {"invert_match": True, "treat_missing_header_as_empty": True}
    return [
        _access_log(listener, path, signed, f"%REQ(AUTHORIZATION):{_SCOPE_CHARACTERS}%"),
        _access_log(listener, path, unsigned, "%QUERY_PARAM(X-Amz-Credential)%"),
    ]


def _access_log(listener: Listener, path: Path, only: Json, scope: str) -> Json:
    return {
        "name": "envoy.access_loggers.file",
        "filter": when_header(only),
        "typed_config": {
            "@type": f"{_EXTENSIONS}access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": _access_log_fields(listener.name, scope)},
        },
    }


def _access_log_fields(listener: str, scope: str) -> dict[str, str]:
    """What is written per request; log_entry.Entry reads it. Queries can hold signatures: they are left out."""
    return {
        "time": "%START_TIME(%s.%6f)%",
        "listener": listener,
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH):512%",
        "operation": "%REQ(X-AMZ-TARGET):200%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "total_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
        "upstream_us": "%COMMON_DURATION(US_TX_BEG:US_RX_END:us)%",
        "route": "%ROUTE_NAME%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "labels": "%METADATA(ROUTE:labels)%",
        "pool": "%METADATA(CLUSTER:labels:pool)%",
        "scope": scope,
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
