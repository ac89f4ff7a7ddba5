"""Envoy's routes, as JSON: matchers, answers given by the gateway itself, and the routes of a deployment.

Wire format: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.gateway.clusters import LABELS
from localcloud.gateway.spec import Publication, Reply, Route, Target

Json = dict[str, Any]

_INT64_MAX: Final = (1 << 63) - 1
_MILLION: Final = 1_000_000


def header_prefix(name: str, prefix: str, *, negate: bool = False) -> Json:
    """The header begins so (negate: it does not, or is absent)."""
    return _string_header(name, {"prefix": prefix}, negate=negate)


def header_contains(name: str, part: str, *, negate: bool = False) -> Json:
    """The header contains the text (negate: it does not, or is absent)."""
    return _string_header(name, {"contains": part}, negate=negate)


def header_is(name: str, value: str) -> Json:
    """The header is exactly this."""
    return _string_header(name, {"exact": value})


def header_present(name: str) -> Json:
    """The header is there."""
    return {"name": name, "present_match": True}


def percentage(percent: float) -> Json:
    """A FractionalPercent with a resolution of a ten-thousandth of a percent."""
    return {"numerator": round(percent / 100 * _MILLION), "denominator": "MILLION"}


def seconds(value: float) -> str:
    """A Duration as protobuf's JSON writes it."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def route(name: str, match: Json, action: Json, labels: Mapping[str, str] | None = None) -> Json:
    """One entry of a route table; `labels` go into the access log."""
    return {
        "name": name,
        "match": match,
        "metadata": {"filter_metadata": {LABELS: dict(labels or {})}},
    } | action


def answer(reply: Reply) -> Json:
    """The action of a route that needs no replica."""
    return {
        "direct_response": {"status": reply.status, "body": {"inline_string": reply.body}},
        "response_headers_to_add": set_headers(reply.headers),
    }


def set_headers(headers: Mapping[str, str]) -> list[Json]:
    """Headers that replace what is there, with their values taken literally."""
    return [
        {
            "header": {"key": name, "value": value.replace("%", "%%")},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
        for name, value in headers.items()
    ]


def retry_other_replica() -> Json:
    """Only what certainly has not reached a replica is sent again, and to another one."""
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 3,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 5,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.1s"},
    }


def retry_same_part() -> Json:
    """Ride out the restart of a part that has one address: about two seconds of attempts."""
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 10,
        "retry_back_off": {"base_interval": "0.1s", "max_interval": "0.4s"},
    }


def deployment_routes(publication: Publication) -> list[Json]:
    """All routes of one deployment, in the order in which they must be tried."""
    found = publication.route
    match = _match(found)
    routes = []
    if found.max_body_bytes is not None and found.too_large is not None:
        too_large = _with_headers(match, [_longer_than(found.max_body_bytes)])
        routes.append(route(f"{publication.id}/too-large", too_large, answer(found.too_large), found.labels))
    routes += _pinned_routes(publication, match)
    action = {"route": _forward(found) | {"weighted_clusters": _weighted(publication.targets)}}
    routes.append(route(publication.id, match, action, found.labels))
    return routes


def _pinned_routes(publication: Publication, match: Json) -> list[Json]:
    found = publication.route
    if found.pin_header is None:
        return []
    routes = []
    for target in publication.targets:
        pinned = _with_headers(match, [header_is(found.pin_header, target.pool)])
        action = {"route": _forward(found) | {"weighted_clusters": _weighted((_whole(target),))}}
        routes.append(route(f"{publication.id}/{target.pool}", pinned, action, found.labels))
    if found.unknown_pin is not None:
        unknown = _with_headers(match, [header_present(found.pin_header)])
        routes.append(route(f"{publication.id}/unknown-pin", unknown, answer(found.unknown_pin), found.labels))
    return routes


def _match(found: Route) -> Json:
    headers = [header_prefix(name, value) for name, value in found.header_prefixes.items()]
    headers += [header_contains(name, value) for name, value in found.header_contains.items()]
    return {"path": found.path, "headers": headers}


def _with_headers(match: Json, headers: list[Json]) -> Json:
    return match | {"headers": [*match["headers"], *headers]}


def _longer_than(limit: int) -> Json:
    return {"name": "content-length", "range_match": {"start": limit + 1, "end": _INT64_MAX}}


def _forward(found: Route) -> Json:
    action: Json = {"timeout": seconds(found.timeout_seconds), "retry_policy": retry_other_replica()}
    if found.rewrite_path is not None:
        # With an exact path the matched "prefix" is all of it; the query stays.
        action["prefix_rewrite"] = found.rewrite_path
    return action


def _weighted(targets: tuple[Target, ...]) -> Json:
    return {
        "clusters": [
            {
                "name": target.cluster,
                "weight": target.weight,
                "response_headers_to_add": set_headers(target.response_headers),
            }
            for target in targets
        ]
    }


def _whole(target: Target) -> Target:
    return Target(target.pool, target.cluster, 1, target.response_headers)


def _string_header(name: str, match: Json, *, negate: bool = False) -> Json:
    # Without the last field an absent header matches neither way.
    return {"name": name, "string_match": match, "invert_match": negate, "treat_missing_header_as_empty": negate}
