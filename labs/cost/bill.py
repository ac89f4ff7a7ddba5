"""A bill: usage rows, summed and priced. What has no price is named as such, never counted as zero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from labs.cost.pricebook import PER_UNIT, Price, PriceBook, default_book

_FIRST_TIERS: Final[Mapping[tuple[str, str, str], str]] = {
    ("aws", "Lambda", "Duration x86"): "Duration x86 first 6B GB-s",
    ("aws", "Lambda", "Duration arm64"): "Duration arm64 first 7.5B GB-s",
    ("aws", "API Gateway", "REST requests"): "REST requests first 333M",
    ("aws", "API Gateway", "HTTP API requests"): "HTTP API requests first 300M",
    ("aws", "SQS", "requests"): "Standard requests",
}
"""SKUs of the ledger that the price book splits into tiers. A lab never leaves the first one."""


@dataclass(frozen=True)
class Line:
    """One SKU's quantity (in usage units, see `PER_UNIT`) and what it costs."""

    provider: str
    region: str
    service: str
    sku: str
    unit: str
    quantity: float
    price: Price | None
    """None: not in the price book."""

    @property
    def usd(self) -> float | None:
        """US dollars at list price, or None when not priced."""
        return self.price.of(self.quantity, self.unit) if self.price else None


@dataclass(frozen=True)
class Bill:
    """What was used, with and without a price."""

    lines: tuple[Line, ...]

    @property
    def total_usd(self) -> float:
        """The sum of the priced lines, in US dollars; see `unpriced` for what is missing from it."""
        return sum(line.usd or 0.0 for line in self.lines)

    @property
    def unpriced(self) -> tuple[Line, ...]:
        """The lines that no price was found for."""
        return tuple(line for line in self.lines if line.price is None)

    @property
    def assumptions(self) -> tuple[Price, ...]:
        """The prices used that are an assumption of ours."""
        return tuple(line.price for line in self.lines if line.price and line.price.assumption)


def bill(usage: Iterable[Mapping[str, Any]], book: PriceBook | None = None) -> Bill:
    """Sum usage rows (the ledger's fields: provider, region, service, sku, unit, quantity) by SKU and price them."""
    sums: dict[tuple[str, str, str, str, str], float] = defaultdict(float)
    for row in usage:
        sums[row["provider"], row["region"], row["service"], row["sku"], row["unit"]] += row["quantity"]
    prices = default_book() if book is None else book
    return Bill(tuple(_line(key, quantity, prices) for key, quantity in sorted(sums.items())))


def _line(key: tuple[str, str, str, str, str], quantity: float, book: PriceBook) -> Line:
    provider, region, service, sku, unit = key
    price = book.find(provider, service, _FIRST_TIERS.get((provider, service, sku), sku), region)
    fits = price is not None and PER_UNIT.get(price.unit, ("",))[0] == unit
    return Line(provider, region, service, sku, unit, quantity, price if fits else None)
