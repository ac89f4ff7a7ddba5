"""The price book and bills: every price with a source, nothing unpriced counted as zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from labs import spend
from labs.cost import PriceBookError, bill, default_book, load_book

HEADER = "provider,service,sku,region,unit,price_usd,source,source_date,assumption,note\n"
GOOD = "aws,S3,Standard storage,us-east-1,GB-month,0.023,https://prices.example,2026-09-28,no,\n"


def row(service: str, sku: str, unit: str, quantity: float, region: str = "us-east-1") -> dict[str, object]:
    return {
        "provider": "aws", "region": region, "service": service, "sku": sku, "unit": unit, "quantity": quantity,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("service", "sku", "unit", "quantity", "usd"),
    [
        ("SageMaker AI", "ml.m5.large Training", "second", 3600, 0.115),
        ("SageMaker AI", "ml.m5.xlarge Hosting", "second", 1800, 0.115),
        ("SageMaker AI", "ml.m5.large Training Spot", "second", 3600, 0.115 * (1 - 0.548)),
        ("S3", "requests", "request", 1000, 0.005),
        ("S3", "Standard storage", "byte-second", 2**30 * 730 * 3600, 0.023),
    ],
)
def test_price(service: str, sku: str, unit: str, quantity: float, usd: float) -> None:
    (line,) = bill([row(service, sku, unit, quantity)]).lines
    assert line.usd == pytest.approx(usd)


@pytest.mark.parametrize(
    ("service", "sku", "unit", "region"),
    [
        ("CloudWatch", "requests", "request", "us-east-1"),
        ("SageMaker AI", "ml.m5.large Training", "second", "eu-west-1"),
        ("SageMaker AI", "ml.m5.large Training", "byte", "us-east-1"),
        ("SageMaker AI", "ml.x9.huge Training Spot", "second", "us-east-1"),
    ],
)
def test_what_has_no_price_is_named_and_not_zero(service: str, sku: str, unit: str, region: str) -> None:
    table = spend.of_usage([row(service, sku, unit, 5, region)], "Spend")
    assert table.unpriced == (f"{service} {sku}",)
    assert table.rows()[0]["usd"] is None
    assert "not priced" in str(table)
    assert "not priced" in table._repr_html_()


def test_rows_of_a_sku_are_summed() -> None:
    usage = [row("SageMaker AI", "ml.m5.large Hosting", "second", 1800)] * 2
    found = spend.of_usage(usage, "Spend")
    assert found.seconds("ml.m5.large Hosting") == 3600
    assert found.total_usd == pytest.approx(0.115)


def test_assumptions_are_said() -> None:
    text = str(spend.of_usage([row("S3", "requests", "request", 10)], "Spend"))
    assert "Assumed (*): S3 requests: An upper bound" in text


def test_every_price_that_comes_with_the_labs_has_a_source() -> None:
    book = default_book()
    assert len(book) >= 10
    assert all(price.source.startswith("https://") and price.source_date.year >= 2020 for price in book)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (GOOD.replace("https://prices.example", ""), r"prices\.csv:2: source missing"),
        (GOOD.replace("2026-09-28", ""), r"prices\.csv:2: source_date missing"),
        (GOOD.replace("https://prices.example", "a blog"), "must be a URL"),
        (GOOD.replace("2026-09-28", "last week"), "not a date"),
        (GOOD.replace("0.023", "cheap"), "not a number"),
        (GOOD.replace("0.023", "-1"), "zero or more"),
        (GOOD.replace("GB-month", "bushel"), "unit 'bushel' is unknown"),
        (GOOD.replace(",no,", ",maybe,"), "yes or no"),
        (GOOD + GOOD, r"prices\.csv:3: .* priced twice"),
    ],
)
def test_unusable_price_is_refused_with_file_and_line(tmp_path: Path, lines: str, words: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(HEADER + lines)
    with pytest.raises(PriceBookError, match=words):
        load_book(path)


def test_book_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("sku,price\nx,1\n")
    with pytest.raises(PriceBookError, match="the columns must be provider,service"):
        load_book(path)


@pytest.mark.parametrize(
    ("quantity", "unit", "words"),
    [
        (12.34, "second", "12.3 s"), (1200, "request", "1,200 requests"), (999, "byte", "999 B"),
        (3_140_000, "byte", "3.1 MB"), (7.2e6, "byte-second", "2.0 kB for an hour"), (2, "token", "2 token"),
    ],
)  # fmt: skip
def test_amounts_in_words(quantity: float, unit: str, words: str) -> None:
    assert spend.amount(quantity, unit) == words
