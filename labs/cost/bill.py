"""A bill: usage rows, summed and priced. What has no price is named as such, never counted as zero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labs.cost.pricebook import PER_UNIT, Price, PriceBook, default_book


@dataclass(frozen=True)
class Line:
    """One SKU's quantity (in `unit`: second, request, byte, byte-second) and what it costs."""

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
    prices = book or default_book()
    return Bill(tuple(_line(key, quantity, prices) for key, quantity in sorted(sums.items())))


def _line(key: tuple[str, str, str, str, str], quantity: float, book: PriceBook) -> Line:
    provider, region, service, sku, unit = key
    price = book.find(provider, service, sku, region)
    fits = price is not None and PER_UNIT.get(price.unit, ("",))[0] == unit
    return Line(provider, region, service, sku, unit, quantity, price if fits else None)
