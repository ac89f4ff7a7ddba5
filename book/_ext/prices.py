"""The `price` role: a list price in a page, rendered from the price book with its unit, date and source.

    {price}`aws | SageMaker AI | ml.m5.large Hosting | us-east-1`
    {price}`aws | SageMaker AI | ml.m5.large Hosting | us-east-1 | 730 per month`

The second form multiplies the price, so that a sum in a page follows the price book. In a table write `\\|` for `|`.
A row that is missing, a price without a source or a date, or a role that a table has cut into cells is an error that
names the page and its line; the build then exits with 1.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

PRICE_BOOKS: Final = ("labs/cost/prices.csv",)
"""Where prices are looked up by default, relative to the book's root; the first that has the row wins."""

_FORM: Final = "provider | service | sku | region [| factor per unit]"
_ROLE: Final = re.compile(r"\{price\}`[^`]*`")
_BARE_BAR: Final = re.compile(r"(?<!\\)\|")
_log: Final = logging.getLogger(__name__)

Key = tuple[str, str, str, str]


class PriceError(ValueError):
    """A price cannot be shown; the message says which one, why, and where to mend it."""


@dataclass(frozen=True)
class Price:
    """One row of the price book, in US dollars per `unit`."""

    usd: Decimal
    unit: str
    source: str
    source_date: date
    assumption: bool
    note: str


@dataclass(frozen=True)
class Request:
    """What a page asks for: a row, and optionally a factor with the unit of the product."""

    key: Key
    factor: Decimal | None = None
    unit: str = ""


def parse(text: str) -> Request:
    """Read the role's text; raises PriceError when it has another form."""
    parts = [part.strip() for part in text.split("|")]
    if len(parts) not in (4, 5) or not all(parts):
        raise PriceError(f"price {text!r} must have the form: {_FORM}")
    key = (parts[0], parts[1], parts[2], parts[3])
    if len(parts) == 4:
        return Request(key)
    factor, per, unit = parts[4].partition(" per ")
    if not per:
        raise PriceError(f"price {text!r}: {parts[4]!r} must read like '730 per month'")
    return Request(key, _number(factor.replace(",", ""), f"price {text!r}"), unit)


@cache
def read_book(path: Path) -> dict[Key, tuple[int, dict[str, str]]]:
    """Every row of one price book with its line number; cells are checked when a page asks for them."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        return {(row["provider"], row["service"], row["sku"], row["region"]): (reader.line_num, row) for row in reader}


def find(key: Key, books: list[Path]) -> Price:
    """The price of a row; raises PriceError when no book has it, or when its cells are not usable."""
    for book in books:
        found = read_book(book).get(key)
        if found:
            return _price(found[1], f"{book}:{found[0]}")
    where = " or ".join(str(book) for book in books)
    raise PriceError(f"no price for {' | '.join(key)}. Add the row to {where}, or correct the name.")


def _price(row: dict[str, str], where: str) -> Price:
    if not row["source"].startswith("https://"):
        raise PriceError(f"{where}: source must be a URL that begins with https://, not {row['source']!r}")
    try:
        source_date = date.fromisoformat(row["source_date"])
    except ValueError:
        raise PriceError(f"{where}: source_date {row['source_date']!r} is not a date such as 2026-09-28") from None
    usd = _number(row["price_usd"], where)
    return Price(usd, row["unit"], row["source"], source_date, row["assumption"] == "yes", row.get("note") or "")


def _number(text: str, where: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise PriceError(f"{where}: {text!r} is not a number") from None
    if not number.is_finite() or number < 0:
        raise PriceError(f"{where}: {text!r} must be zero or more")
    return number


def phrase(price: Price, request: Request) -> str:
    """Amount and unit in words: `0.115 USD per hour`; a fraction off becomes a percentage."""
    if price.unit.startswith("fraction off"):
        return f"{(price.usd * 100).normalize():f}% off"
    if request.factor is None:
        return f"{_plain(price.usd)} USD per {price.unit}"
    return f"{_rounded(price.usd * request.factor)} USD per {request.unit}"


def _rounded(amount: Decimal) -> str:
    """Cents from one dollar up, three significant digits below."""
    return f"{amount:,.2f}" if amount >= 1 else _plain(Decimal(f"{amount:.3g}"))


def _plain(amount: Decimal) -> str:
    """Every digit that counts, and at least cents: 0.0004, 0.10, 3.50."""
    text = f"{amount:f}"
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0'):0<2}" if amount else "0"


def date_note(price: Price) -> str:
    """The date of the source, marked when the figure is ours and not the vendor's."""
    return f"assumed, {price.source_date}" if price.assumption else str(price.source_date)


class PriceRole(SphinxRole):
    """Renders one price; see the module."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Nodes for the page, or an error logged with the page's name and line."""
        try:
            return [self._shown()], []
        except PriceError as problem:
            source, line = self.get_source_info()
            _log.error(str(problem), location=f"{source}:{line}")
            self.env.note_reread()  # or the next build, with the page unchanged, would not complain
            self.env.app.statuscode = 1  # a logged error alone fails only builds with -W
            return [nodes.problematic(self.rawtext, self.rawtext)], []

    def _shown(self) -> nodes.inline:
        root = Path(self.env.srcdir)
        books = [root / name for name in self.config.price_books]
        for book in books:
            self.env.note_dependency(str(book))
        request = parse(self.text)
        price = find(request.key, books)
        link = nodes.reference("", date_note(price), refuri=price.source, reftitle=_title(request, price))
        kind = "price price-assumed" if price.assumption else "price"
        return nodes.inline("", "", nodes.Text(f"{phrase(price, request)} ("), link, nodes.Text(")"), classes=[kind])


def _title(request: Request, price: Price) -> str:
    list_price = f"{_plain(price.usd)} USD per {price.unit}" if request.factor is not None else ""
    return ". ".join(part for part in (", ".join(request.key), list_price, price.note) if part)


def find_cut_roles(app: Sphinx, docname: str, source: list[str]) -> None:
    """Complain about roles that a table would cut at their bars, to be shown as they were typed."""
    for number, line in enumerate(source[0].splitlines(), start=1):
        if line.lstrip().startswith("|") and any(_BARE_BAR.search(role) for role in _ROLE.findall(line)):
            _log.error(r"a price in a table is cut at its bars: write \| for |", location=(docname, number))
            app.env.note_reread()
            app.statuscode = 1


def _forget_books(_app: Sphinx) -> None:
    """Read the files anew in every build of a long-lived process."""
    read_book.cache_clear()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the role and its one setting, `price_books`."""
    app.add_config_value("price_books", list(PRICE_BOOKS), "env", [list, tuple])
    app.add_role("price", PriceRole())
    app.connect("builder-inited", _forget_books)
    app.connect("source-read", find_cut_roles)
    return {"version": "1", "parallel_read_safe": True}
