"""Estimates: what a way of serving costs a month, line by line, from list prices. Pure functions, no network.

Traffic is in requests a day, a number or a numpy array of them; every amount in an estimate then has that shape. A
month has 730 hours. No taxes, no discounts, and no free tier unless it is asked for. Every function takes `region` and
`book` and raises MissingPriceError when the book lacks a price that is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from labs import show
from labs.cost.pricebook import DAYS_A_MONTH, HOURS_A_MONTH, PER_UNIT, Price, PriceBook, default_book

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Amount = NDArray[np.float64]

AWS: Final = "aws"
REGION: Final = "us-east-1"
_HOUR: Final = 3600
_GB: Final = 2**30
_NO_END: Final = float("inf")

SERVERLESS_MEMORY_GB: Final = (1, 2, 3, 4, 5, 6)
"""https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html"""
FUNCTION_MEMORY_MB: Final = range(128, 10_241)
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
FREE_FUNCTION_REQUESTS: Final = 1e6
FREE_FUNCTION_GB_SECONDS: Final = 4e5
"""A month, for every account: https://aws.amazon.com/lambda/pricing/ (read 2026-09-20)"""
FREE_DATA_OUT_GB: Final = 100
"""A month, over all services: https://aws.amazon.com/ec2/pricing/on-demand/"""
_HTTP_API_UNIT_BYTES: Final = 512 * 1024
"""An HTTP API counts a request anew for each such piece of it: https://aws.amazon.com/api-gateway/pricing/"""

Tiers = tuple[tuple[str, float], ...]
"""SKUs, each with the quantity up to which it applies, in usage units a month."""
_DURATION: Final[dict[str, Tiers]] = {
    "x86": (
        ("Duration x86 first 6B GB-s", 6e9), ("Duration x86 next 9B GB-s", 15e9),
        ("Duration x86 over 15B GB-s", _NO_END),
    ),
    "arm64": (
        ("Duration arm64 first 7.5B GB-s", 7.5e9), ("Duration arm64 next 11.25B GB-s", 18.75e9),
        ("Duration arm64 over 18.75B GB-s", _NO_END),
    ),
}  # fmt: skip
_API: Final[dict[str, Tiers]] = {
    "REST": (
        ("REST requests first 333M", 333e6), ("REST requests next 667M", 1e9), ("REST requests next 19B", 20e9),
        ("REST requests over 20B", _NO_END),
    ),
    "HTTP": (("HTTP API requests first 300M", 300e6), ("HTTP API requests over 300M", _NO_END)),
}  # fmt: skip
_EGRESS: Final[Tiers] = (
    ("Internet egress first 10 TB", 10 * 1024 * _GB), ("Internet egress next 40 TB", 50 * 1024 * _GB),
    ("Internet egress next 100 TB", 150 * 1024 * _GB), ("Internet egress over 150 TB", _NO_END),
)  # fmt: skip
_STORAGE: Final[Tiers] = (
    ("Standard storage", 50 * 1024 * _GB * HOURS_A_MONTH * _HOUR), ("Standard storage over 50 TB", _NO_END),
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A line of an estimate: a month's quantity of one SKU, in usage units (`PER_UNIT`), and its price."""

    what: str
    quantity: Amount
    price: Price

    @property
    def unit(self) -> str:
        """The unit of the quantity."""
        return PER_UNIT[self.price.unit][0]

    @property
    def usd(self) -> Amount:
        """US dollars a month."""
        return self.quantity / PER_UNIT[self.price.unit][1] * self.price.usd


@dataclass(frozen=True)
class Estimate:
    """A month of one way of serving. Estimates add up: `function(…) + api_gateway(…)`."""

    name: str
    items: tuple[Item, ...]

    @property
    def usd(self) -> Amount:
        """US dollars a month: the sum of the lines."""
        total: Amount = np.sum(np.broadcast_arrays(*(each.usd for each in self.items)), axis=0)
        return total

    @property
    def total_usd(self) -> float:
        """The same as one number; ValueError when the estimate is for several amounts of traffic."""
        return _scalar(self.usd)

    @property
    def prices(self) -> tuple[Price, ...]:
        """The rows of the price book that were used."""
        return tuple(dict.fromkeys(each.price for each in self.items))

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(f"{self.name} + {other.name}", self.items + other.items)

    def named(self, name: str) -> Estimate:
        """The same under another name."""
        return Estimate(name, self.items)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per line, ready for a data frame: what, quantity, unit, list price, USD a month, source."""
        return [
            {
                "what": each.what, "quantity": _scalar(each.quantity), "unit": each.unit,
                "list price": f"{each.price.usd:g} per {each.price.unit}", "usd": _scalar(each.usd),
                "source": each.price.source, "source_date": each.price.source_date.isoformat(),
                "assumption": each.price.assumption,
            }
            for each in self.items
        ]  # fmt: skip

    def __str__(self) -> str:
        return "\n".join([self.name, show.text_table(_COLUMNS, self._cells()), self._footer()])

    def __repr__(self) -> str:
        return str(self) if self.usd.size == 1 else f"Estimate of {self.name} for {self.usd.size} amounts of traffic"

    def _repr_html_(self) -> str | None:
        if self.usd.size != 1:
            return None
        return show.table(_COLUMNS, self._cells(), self.name) + f"<p>{self._footer()}</p>"

    def _cells(self) -> list[list[str]]:
        return [
            [row["what"], f"{row['quantity']:,.6g} {row['unit']}s", f"${row['list price']}{'*' * row['assumption']}",
             row["source_date"], f"${row['usd']:,.4f}"]
            for row in self.rows()
        ]  # fmt: skip

    def _footer(self) -> str:
        assumed = " (*: assumed, see the price book)" if any(price.assumption for price in self.prices) else ""
        return f"Total a month at list price: ${self.total_usd:,.2f}{assumed}"


_COLUMNS: Final = ["What", "A month", "List price", "Price of", "USD"]


def endpoint(
    requests_a_day: ArrayLike,
    *,
    instance: str = "ml.m5.large",
    instances: int = 1,
    requests_a_second: float = _NO_END,
    peak: float = 1.0,
    bytes_in: float = 0,
    bytes_out: float = 0,
    region: str = REGION,
    book: PriceBook | None = None,
) -> Estimate:
    """A real-time endpoint: instances that are always on, and bytes if given (per request).

    `instances` is the least there are. When one instance takes `requests_a_second`, as many are counted as the busiest
    hour needs, `peak` times the average.
    """
    if instances < 1 or requests_a_second <= 0 or peak < 1:
        raise ValueError("an endpoint has at least one instance, takes requests, and its peak is not below its average")
    monthly = _monthly(requests_a_day)
    needed = np.ceil(monthly * peak / (HOURS_A_MONTH * _HOUR) / requests_a_second)
    hours = np.maximum(instances, needed) * HOURS_A_MONTH * _HOUR
    items = [_item("instances", hours, "SageMaker AI", f"{instance} Hosting", region, book)]
    return Estimate("endpoint", (*items, *_bytes(monthly, bytes_in, bytes_out, region, book)))


def serverless_inference(
    requests_a_day: ArrayLike,
    *,
    seconds: float,
    memory_gb: int,
    bytes_in: float = 0,
    bytes_out: float = 0,
    region: str = REGION,
    book: PriceBook | None = None,
) -> Estimate:
    """SageMaker serverless inference: memory times the milliseconds of each request, and bytes if given.

    Whether a cold start's own seconds are billed is not said in the price list; they are left out.
    """
    if memory_gb not in SERVERLESS_MEMORY_GB:
        raise ValueError(f"memory_gb is one of {SERVERLESS_MEMORY_GB}, not {memory_gb!r}")
    monthly = _monthly(requests_a_day)
    used = monthly * billed_seconds(seconds) * memory_gb
    items = [_item("compute", used, "SageMaker AI", "Serverless Inference compute", region, book)]
    return Estimate("serverless inference", (*items, *_bytes(monthly, bytes_in, bytes_out, region, book)))


def function(
    requests_a_day: ArrayLike,
    *,
    seconds: float,
    memory_mb: int,
    cold_share: float = 0.0,
    init_seconds: float = 0.0,
    provisioned: int = 0,
    architecture: Literal["x86", "arm64"] = "x86",
    free_tier: bool = False,
    region: str = REGION,
    book: PriceBook | None = None,
) -> Estimate:
    """A Lambda function: requests and GB-seconds, rounded up to the millisecond, with the init of cold calls.

    Init is billed since August 2025:
    https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/
    With `provisioned` environments, held all month, every call is assumed to meet one (x86 only): their duration has
    a rate of its own and no free tier.
    """
    _refuse_bad_memory(memory_mb)
    monthly, gigabytes = _monthly(requests_a_day), memory_mb / 1024
    calls = np.maximum(0, monthly - FREE_FUNCTION_REQUESTS * free_tier)
    items = [_item("requests", calls, "Lambda", "Requests", region, book)]
    if provisioned:
        return Estimate("Lambda", (*items, *_provisioned(monthly, seconds, gigabytes, provisioned, region, book)))
    used = monthly * billed_seconds(seconds, cold_share, init_seconds) * gigabytes
    used = np.maximum(0, used - FREE_FUNCTION_GB_SECONDS * free_tier)
    return Estimate("Lambda", (*items, *_tiered("duration", used, "Lambda", _DURATION[architecture], region, book)))


def api_gateway(
    requests_a_day: ArrayLike,
    *,
    kind: Literal["HTTP", "REST"] = "HTTP",
    bytes_each: float = 0,
    region: str = REGION,
    book: PriceBook | None = None,
) -> Estimate:
    """The front door: an HTTP API or a REST API. An HTTP API counts each 512 KB of a request's payload."""
    pieces = max(1, np.ceil(bytes_each / _HTTP_API_UNIT_BYTES)) if kind == "HTTP" else 1
    counted = _monthly(requests_a_day) * pieces
    return Estimate(f"{kind} API", tuple(_tiered(f"{kind} API", counted, "API Gateway", _API[kind], region, book)))


def s3(
    *,
    gigabytes: ArrayLike,
    writes_a_day: ArrayLike = 0,
    reads_a_day: ArrayLike = 0,
    region: str = REGION,
    book: PriceBook | None = None,
) -> Estimate:
    """S3 Standard: gigabytes kept all month (all versions count), writes and lists, reads."""
    kept = _amount(gigabytes) * _GB * HOURS_A_MONTH * _HOUR
    items = [
        *_tiered("storage", kept, "S3", _STORAGE, region, book),
        _item("writes and lists", _monthly(writes_a_day), "S3", "Standard PUT/COPY/POST/LIST", region, book),
        _item("reads", _monthly(reads_a_day), "S3", "Standard GET/SELECT", region, book),
    ]
    return Estimate("S3", tuple(items))


def data_out(
    gigabytes_a_month: ArrayLike, *, free_tier: bool = False, region: str = REGION, book: PriceBook | None = None
) -> Estimate:
    """Bytes to the internet. The first 100 GB of an account are free, over all services: only if `free_tier`."""
    sent = np.maximum(0, _amount(gigabytes_a_month) - FREE_DATA_OUT_GB * free_tier) * _GB
    return Estimate("data out", tuple(_tiered("data out", sent, "Data transfer", _EGRESS, region, book)))


def billed_seconds(seconds: float, cold_share: float = 0.0, init_seconds: float = 0.0) -> float:
    """Seconds billed for an average call: each call rounded up to 1 ms, a cold one together with its init."""
    if seconds < 0 or init_seconds < 0 or not 0 <= cold_share <= 1:
        raise ValueError("durations are not negative, and cold_share is between 0 and 1")
    warm, cold = _whole_milliseconds(seconds), _whole_milliseconds(seconds + init_seconds)
    return (1 - cold_share) * warm + cold_share * cold


def break_even(
    one: Callable[[Amount], Estimate],
    other: Callable[[Amount], Estimate],
    *,
    between: tuple[float, float] = (1, 1e9),
) -> float | None:
    """Requests a day at which two estimates first cost the same; None when they do not cross in that range.

    `one` and `other` are functions of requests a day (an array).
    """

    def difference(requests: Amount) -> Amount:
        return one(requests).usd - other(requests).usd

    grid = np.geomspace(*between, 1001)
    signs = np.sign(np.broadcast_to(difference(grid), grid.shape))
    changes = np.flatnonzero(signs[1:] != signs[:-1])
    if not len(changes):
        return None
    return _bisect(difference, grid[changes[0]], grid[changes[0] + 1])


def _bisect(difference: Callable[[Amount], Amount], low: float, high: float) -> float:
    below = np.sign(difference(np.asarray(low)))
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        same_side = np.sign(difference(np.asarray(middle))) == below
        low, high = (middle, high) if same_side else (low, middle)
    return float((low + high) / 2)


def _bytes(monthly: Amount, inwards: float, outwards: float, region: str, book: PriceBook | None) -> Iterator[Item]:
    for what, each in (("data in", inwards), ("data out", outwards)):
        if each:
            yield _item(what, monthly * each, "SageMaker AI", what, region, book)


def _provisioned(
    monthly: Amount, seconds: float, gigabytes: float, count: int, region: str, book: PriceBook | None
) -> Iterator[Item]:
    held = _amount(count * gigabytes * HOURS_A_MONTH * _HOUR)
    used = monthly * _whole_milliseconds(seconds) * gigabytes
    yield _item("kept warm", held, "Lambda", "Provisioned concurrency x86", region, book)
    yield _item("duration", used, "Lambda", "Provisioned concurrency duration x86", region, book)


def _tiered(
    what: str, quantity: Amount, service: str, tiers: Tiers, region: str, book: PriceBook | None
) -> Iterator[Item]:
    """A line per tier that is reached; a tier's price is asked for only then."""
    start = 0.0
    for sku, end in tiers:
        part = np.clip(quantity, start, end) - start
        if start == 0 or np.any(part > 0):
            yield _item(what, part, service, sku, region, book)
        start = end


def _item(what: str, quantity: Amount, service: str, sku: str, region: str, book: PriceBook | None) -> Item:
    prices = default_book() if book is None else book
    return Item(what, quantity, prices.price(AWS, service, sku, region))


def _monthly(requests_a_day: ArrayLike) -> Amount:
    return _amount(requests_a_day) * DAYS_A_MONTH


def _amount(value: ArrayLike) -> Amount:
    amount = np.asarray(value, dtype=np.float64)
    if np.any(amount < 0) or not np.all(np.isfinite(amount)):
        raise ValueError("quantities are finite and not negative")
    return amount


def _whole_milliseconds(seconds: float) -> float:
    # Without the rounding 0.007 s would be 8 ms: 0.007 * 1000 is 7.000000000000001.
    return float(np.ceil(round(seconds * 1000, 6))) / 1000


def _refuse_bad_memory(memory_mb: int) -> None:
    if memory_mb not in FUNCTION_MEMORY_MB:
        limits = f"{FUNCTION_MEMORY_MB.start} to {FUNCTION_MEMORY_MB.stop - 1}"
        raise ValueError(f"memory_mb is a whole number from {limits}, not {memory_mb!r}")


def _scalar(amount: Amount) -> float:
    if amount.size != 1:
        raise ValueError("this estimate is for several amounts of traffic; look at its .usd, or ask for one amount")
    return float(amount.reshape(()))
