"""The price book: list prices by provider, service, SKU and region, each with a source and its date.

A price without a source or a date is refused when the file is read, with the file and line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

COLUMNS: Final = (
    "provider", "service", "sku", "region", "unit", "price_usd", "source", "source_date", "assumption", "note",
)  # fmt: skip
FRACTION_OFF: Final = "fraction off"
_SPOT_SUFFIX: Final = " Spot"
_SPOT_DISCOUNT: Final = "Managed spot discount"
_GLOBAL: Final = "global"
HOURS_A_MONTH: Final = 730
"""As the AWS Pricing Calculator counts: 365 days of 24 hours, divided by 12. https://calculator.aws/"""
DAYS_A_MONTH: Final = HOURS_A_MONTH / 24
_HOUR: Final = 3600.0
_MONTH: Final = HOURS_A_MONTH * _HOUR
_GB: Final = 2.0**30  # AWS bills binary gigabytes: https://aws.amazon.com/s3/faqs/#Billing

PER_UNIT: Final[Mapping[str, tuple[str, float]]] = {
    "second": ("second", 1.0),
    "hour": ("second", _HOUR),
    "node-hour": ("second", _HOUR),
    "day": ("second", 24 * _HOUR),
    "month": ("second", _MONTH),
    "alarm-month": ("second", _MONTH),
    "metric-month": ("second", _MONTH),
    "GB-second": ("GB-second", 1.0),
    "GB-hour": ("GB-second", _HOUR),
    "vCPU-second": ("vCPU-second", 1.0),
    "vCPU-hour": ("vCPU-second", _HOUR),
    "request": ("request", 1.0),
    "1K requests": ("request", 1e3),
    "10K requests": ("request", 1e4),
    "1M requests": ("request", 1e6),
    "1M executions": ("request", 1e6),
    "GB": ("byte", _GB),
    "GB-month": ("byte-second", _GB * _MONTH),
    "GiB-month": ("byte-second", _GB * _MONTH),
    "1K tokens": ("token", 1e3),
}
"""Unit of a price: the unit of usage it applies to, and how many of those make one.

Seconds are those in which one thing exists: an instance, a key, an alarm. A GB-second is a gigabyte of memory held for
a second, a byte-second a byte stored for one.
"""


class MissingPriceError(LookupError):
    """The price book has no such row; the message names it and says how to add it."""

    def __init__(self, provider: str, service: str, sku: str, region: str, known: Iterable[str] = ()) -> None:
        said = ", ".join(known)
        super().__init__(
            f"There is no price for {provider} | {service} | {sku} | {region}."
            f" Known for {service}: {said or 'nothing'}."
            " Add a row to labs/cost/prices.csv with the vendor's price, its source (https://…) and the source's date;"
            " a figure without a source needs assumption=yes and a note."
        )


class PriceBookError(ValueError):
    """A line of the price book is unusable; the message names the file and the line."""


@dataclass(frozen=True)
class Price:
    """US dollars for one `unit` of a SKU, and where that is written."""

    provider: str
    service: str
    sku: str
    region: str
    unit: str
    usd: float
    source: str
    """URL."""
    source_date: date
    assumption: bool
    """Ours, not the vendor's: the note says why."""
    note: str = ""

    def of(self, quantity: float, unit: str) -> float:
        """US dollars for a quantity in usage units (second, request, byte, byte-second); ValueError for others."""
        usage_unit, size = PER_UNIT[self.unit]
        if unit != usage_unit:
            raise ValueError(f"{self.service} {self.sku} is priced per {self.unit}; usage is in {unit}")
        return quantity / size * self.usd


class PriceBook:
    """Prices by provider, service, SKU and region."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._prices = {(each.provider, each.service, each.sku, each.region): each for each in prices}

    def __iter__(self) -> Iterator[Price]:
        return iter(self._prices.values())

    def __len__(self) -> int:
        return len(self._prices)

    def find(self, provider: str, service: str, sku: str, region: str) -> Price | None:
        """The list price in a region (or the one for all regions), or None.

        A SKU that ends in ` Spot` is priced from its on-demand rate and the discount.
        """
        for place in (region, _GLOBAL):
            if found := self._prices.get((provider, service, sku, place)):
                return found
        return self._spot(provider, service, sku, region) if sku.endswith(_SPOT_SUFFIX) else None

    def price(self, provider: str, service: str, sku: str, region: str) -> Price:
        """The same, for whoever needs the price: raises MissingPriceError when there is none."""
        found = self.find(provider, service, sku, region)
        if found is None:
            raise MissingPriceError(provider, service, sku, region, self._skus(provider, service, region))
        return found

    def _skus(self, provider: str, service: str, region: str) -> list[str]:
        return [each.sku for each in self if (each.provider, each.service, each.region) == (provider, service, region)]

    def _spot(self, provider: str, service: str, sku: str, region: str) -> Price | None:
        regular = self.find(provider, service, sku.removesuffix(_SPOT_SUFFIX), region)
        discount = self._prices.get((provider, service, _SPOT_DISCOUNT, region))
        if regular is None or discount is None:
            return None
        return replace(discount, sku=sku, unit=regular.unit, usd=regular.usd * (1 - discount.usd), assumption=True)


@cache
def default_book() -> PriceBook:
    """The prices that come with the labs."""
    return load_book(Path(__file__).with_name("prices.csv"))


def load_book(path: Path) -> PriceBook:
    """Read a price book; raises PriceBookError for the first unusable line."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise PriceBookError(f"{path}:1: the columns must be {','.join(COLUMNS)}")
        return PriceBook(_unique(path, [(reader.line_num, _price(path, reader.line_num, row)) for row in reader]))


def _unique(path: Path, numbered: list[tuple[int, Price]]) -> list[Price]:
    seen: set[tuple[str, ...]] = set()
    for line, price in numbered:
        key = (price.provider, price.service, price.sku, price.region)
        if key in seen:
            raise PriceBookError(f"{path}:{line}: {price.service} {price.sku} in {price.region} is priced twice")
        seen.add(key)
    return [price for _, price in numbered]


def _price(path: Path, line: int, row: Mapping[str, str | None]) -> Price:
    where = f"{path}:{line}"
    missing = [column for column in COLUMNS[:-1] if not (row[column] or "").strip()]
    if missing:
        raise PriceBookError(f"{where}: {', '.join(missing)} missing. Every price needs a source (URL) and its date.")
    cells = {column: (row[column] or "").strip() for column in COLUMNS}
    if not cells["source"].startswith("https://"):
        raise PriceBookError(f"{where}: source must be a URL that begins with https://, not {cells['source']!r}")
    if cells["unit"] not in PER_UNIT and cells["unit"] != FRACTION_OFF:
        raise PriceBookError(f"{where}: unit {cells['unit']!r} is unknown; known: {', '.join(PER_UNIT)}")
    if cells["assumption"] not in ("yes", "no"):
        raise PriceBookError(f"{where}: assumption must be yes or no")
    return Price(
        cells["provider"], cells["service"], cells["sku"], cells["region"], cells["unit"],
        _amount(where, cells["price_usd"]), cells["source"], _date(where, cells["source_date"]),
        cells["assumption"] == "yes", cells["note"],
    )  # fmt: skip


def _amount(where: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        raise PriceBookError(f"{where}: price_usd {text!r} is not a number") from None
    if not 0 <= amount < float("inf"):
        raise PriceBookError(f"{where}: price_usd {text!r} must be zero or more")
    return amount


def _date(where: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise PriceBookError(f"{where}: source_date {text!r} is not a date such as 2026-09-28") from None
