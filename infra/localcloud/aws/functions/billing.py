"""From one thing used to rows of the price book: pure arithmetic.

SKUs and units are the price book's. Prices: https://aws.amazon.com/lambda/pricing/ and
https://aws.amazon.com/api-gateway/pricing/
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

LAMBDA: Final = "Lambda"
API_GATEWAY: Final = "API Gateway"
FREE_EPHEMERAL_MB: Final = 512
ROUNDED_SECONDS: Final = 300
"""Provisioned concurrency is billed in steps of five minutes."""
HTTP_API_UNIT_BYTES: Final = 512 << 10
"""An HTTP API's request is metered in steps of 512 KB."""
GB_SECOND: Final = "GB-second"
REQUEST: Final = "request"

Row = tuple[str, str, str, float]
"""Service, SKU, unit, quantity."""

_DURATION: Final = {"x86_64": "Duration x86 first 6B GB-s", "arm64": "Duration arm64 first 7.5B GB-s"}
_PROVISIONED_DURATION: Final = {
    "x86_64": "Provisioned concurrency duration x86", "arm64": "Provisioned concurrency duration arm64",
}  # fmt: skip
_PROVISIONED: Final = {"x86_64": "Provisioned concurrency x86", "arm64": "Provisioned concurrency arm64 (derived)"}


def of_line(line: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of one line of the usage log; none for lines that only say when something began or ended."""
    if line["kind"] == "invocation":
        yield LAMBDA, "Requests", REQUEST, 1.0
        yield from of_compute(line)
    elif line["kind"] == "init":
        yield from of_compute(line)
    elif line["kind"] == "api request":
        yield API_GATEWAY, _API_SKU[line["type"]], REQUEST, float(line["units"])


def of_compute(line: Mapping[str, Any]) -> Iterator[Row]:
    """Billed milliseconds times memory, and the ephemeral storage beyond what is free."""
    seconds = line["billed_ms"] / 1000
    skus = _PROVISIONED_DURATION if line["type"] == "provisioned-concurrency" else _DURATION
    yield LAMBDA, skus[line["architecture"]], GB_SECOND, seconds * line["memory_mb"] / 1024
    extra = line["ephemeral_mb"] - FREE_EPHEMERAL_MB
    if extra > 0:
        yield LAMBDA, "Ephemeral storage above 512 MB", GB_SECOND, seconds * extra / 1024


def of_provisioned(architecture: str, memory_mb: int, count: int, seconds: float) -> Row:
    """What holding environments ready for so long costs, used or not."""
    rounded = ROUNDED_SECONDS * max(1, math.ceil(seconds / ROUNDED_SECONDS))
    return LAMBDA, _PROVISIONED[architecture], GB_SECOND, rounded * count * memory_mb / 1024


def http_api_units(request_bytes: int) -> int:
    """Requests that one request to an HTTP API counts for."""
    return max(1, math.ceil(request_bytes / HTTP_API_UNIT_BYTES))


_API_SKU: Final = {"REST": "REST requests first 333M", "HTTP": "HTTP API requests first 300M"}
