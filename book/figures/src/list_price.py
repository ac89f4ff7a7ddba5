"""List prices for charts, from the same price book as the text."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import prices  # noqa: E402  (the folder of the Sphinx extension is not a package)


def usd(service: str, sku: str, provider: str = "aws", region: str = "us-east-1") -> float:
    """US dollars per unit of the row; raises PriceError when the book has none."""
    books = [ROOT / name for name in prices.PRICE_BOOKS]
    return float(prices.find((provider, service, sku, region), books).usd)
