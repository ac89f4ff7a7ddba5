"""What things cost: the price book (CSV with source and date), bills made with it, and estimates of a month.

Pure code, no network. Estimates need numpy, so they load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from labs.cost.bill import Bill, Line, bill
from labs.cost.pricebook import (
    DAYS_A_MONTH,
    HOURS_A_MONTH,
    MissingPriceError,
    Price,
    PriceBook,
    PriceBookError,
    default_book,
    load_book,
)  # fmt: skip

if TYPE_CHECKING:
    from labs.cost import estimate

__all__ = [
    "DAYS_A_MONTH", "HOURS_A_MONTH", "Bill", "Line", "MissingPriceError", "Price", "PriceBook", "PriceBookError",
    "bill", "default_book", "estimate", "load_book",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "estimate":
        return import_module("labs.cost.estimate")
    raise AttributeError(f"module 'labs.cost' has no attribute {name!r}. It offers: {', '.join(__all__)}")
