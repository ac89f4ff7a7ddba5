"""Spend so far: what a tenant used and what that costs at list price, as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from labs import cost, show

_COLUMNS: Final = ["Service", "What", "Quantity", "List price", "USD"]
_NOT_PRICED: Final = "not priced"
_BYTE_STEPS: Final = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Spend:
    """Usage, summed by SKU and priced. Shows itself as a table, in a notebook and in a terminal."""

    bill: cost.Bill
    title: str
    """What the table is about."""

    @property
    def total_usd(self) -> float:
        """US dollars at list price, without what is not priced."""
        return self.bill.total_usd

    @property
    def unpriced(self) -> tuple[str, ...]:
        """What the total leaves out, in words."""
        return tuple(f"{line.service} {line.sku}" for line in self.bill.unpriced)

    def seconds(self, sku: str) -> float:
        """Seconds used of a SKU, such as `ml.m5.large Training`."""
        return self.quantity(sku, "second")

    def quantity(self, sku: str, unit: str) -> float:
        """Quantity used of a SKU in a unit (`second`, `request`, `GB-second`, `byte` …), over all services."""
        return sum(line.quantity for line in self.bill.lines if (line.sku, line.unit) == (sku, unit))

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per SKU, ready for a data frame; `usd` is None when not priced."""
        return [
            {
                "service": line.service, "sku": line.sku, "region": line.region, "quantity": line.quantity,
                "unit": line.unit, "usd": line.usd,
            }
            for line in self.bill.lines
        ]  # fmt: skip

    def __str__(self) -> str:
        return "\n".join([self.title, show.text_table(_COLUMNS, self._cells()), *self._footer()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{line}</p>" for line in self._footer())
        return show.table(_COLUMNS, self._cells(), self.title) + notes

    def _cells(self) -> list[list[str]]:
        return [_cells(line) for line in self.bill.lines]

    def _footer(self) -> list[str]:
        lines = [f"Total at list price: {dollars(self.total_usd)}"]
        if self.unpriced:
            lines.append(f"Not priced, so not in the total: {', '.join(self.unpriced)}")
        lines += [
            f"Assumed (*): {price.service} {price.sku}: {price.note} ({price.source_date})"
            for price in self.bill.assumptions
        ]
        return lines


def of_usage(usage: Iterable[Mapping[str, Any]], title: str) -> Spend:
    """The spend of some usage rows."""
    return Spend(cost.bill(usage), title)


def dollars(usd: float) -> str:
    """US dollars with as many digits as small amounts need."""
    if 0 < usd < 0.000_001:
        return "< $0.000001"
    return f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.6f}"


def amount(quantity: float, unit: str) -> str:
    """A quantity in words: `12.4 s`, `1,200 requests`, `3.1 MB`."""
    match unit:
        case "second":
            return f"{quantity:,.1f} s"
        case "request":
            return f"{quantity:,.0f} requests"
        case "GB-second" | "vCPU-second":
            return f"{quantity:,.4g} {unit}s"
        case "byte":
            return _bytes(quantity)
        case "byte-second":
            return f"{_bytes(quantity / 3600)} for an hour"
        case _:
            return f"{quantity:g} {unit}"


def _bytes(quantity: float) -> str:
    if quantity < 1000:
        return f"{quantity:.0f} B"
    power = min(len(_BYTE_STEPS) - 1, int(math.log10(quantity) // 3))
    return f"{quantity / 1000**power:.1f} {_BYTE_STEPS[power]}"


def _cells(line: cost.Line) -> list[str]:
    quantity = amount(line.quantity, line.unit)
    if line.price is None or line.usd is None:
        return [line.service, line.sku, quantity, _NOT_PRICED, _NOT_PRICED]
    mark = " *" if line.price.assumption else ""
    return [line.service, line.sku, quantity, f"${line.price.usd:g} per {line.price.unit}{mark}", dollars(line.usd)]
