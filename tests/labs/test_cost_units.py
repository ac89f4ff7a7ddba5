"""Units of prices and of usage: each conversion worked out by hand, and what a missing price says."""

from __future__ import annotations

from datetime import date

import pytest

from labs.cost import MissingPriceError, Price, PriceBook, bill, default_book
from labs.cost.pricebook import PER_UNIT

MONTH_SECONDS = 2_628_000
GB = 1_073_741_824

ONE_OF_EACH = [
    # unit of the price, unit of usage, how much of it makes one
    ("second", "second", 1),
    ("hour", "second", 3_600),
    ("node-hour", "second", 3_600),
    ("day", "second", 86_400),
    ("month", "second", MONTH_SECONDS),
    ("alarm-month", "second", MONTH_SECONDS),
    ("metric-month", "second", MONTH_SECONDS),
    ("GB-second", "GB-second", 1),
    ("GB-hour", "GB-second", 3_600),
    ("vCPU-second", "vCPU-second", 1),
    ("vCPU-hour", "vCPU-second", 3_600),
    ("request", "request", 1),
    ("1K requests", "request", 1_000),
    ("10K requests", "request", 10_000),
    ("1M requests", "request", 1_000_000),
    ("1M executions", "request", 1_000_000),
    ("GB", "byte", GB),
    ("GB-month", "byte-second", GB * MONTH_SECONDS),
    ("GiB-month", "byte-second", GB * MONTH_SECONDS),
    ("1K tokens", "token", 1_000),
]


def price(unit: str, usd: float = 2.0, sku: str = "thing", region: str = "us-east-1") -> Price:
    return Price("aws", "Service", sku, region, unit, usd, "https://prices.example", date(2026, 9, 28), False)


@pytest.mark.parametrize(("unit", "usage", "quantity"), ONE_OF_EACH)
def test_one_unit_costs_its_price(unit: str, usage: str, quantity: float) -> None:
    assert price(unit).of(quantity, usage) == pytest.approx(2.0)


def test_every_unit_is_worked_out() -> None:
    assert {unit for unit, _, _ in ONE_OF_EACH} == set(PER_UNIT)


def test_another_unit_of_usage_is_refused() -> None:
    with pytest.raises(ValueError, match="priced per hour; usage is in byte"):
        price("hour").of(1, "byte")


def test_a_missing_price_is_named_and_says_how_to_add_it() -> None:
    book = PriceBook([price("hour"), price("hour", sku="elsewhere", region="eu-west-1")])
    with pytest.raises(MissingPriceError) as said:
        book.price("aws", "Service", "other", "us-east-1")
    text = str(said.value)
    assert "aws | Service | other | us-east-1" in text
    assert "Known for Service: thing." in text
    assert "labs/cost/prices.csv" in text
    assert "source" in text


def test_a_price_for_all_regions_is_used_where_there_is_none_of_the_region() -> None:
    book = PriceBook([price("hour", 1.0, region="global"), price("hour", 3.0)])
    assert book.price("aws", "Service", "thing", "us-east-1").usd == 3.0
    assert book.price("aws", "Service", "thing", "eu-west-1").usd == 1.0


@pytest.mark.parametrize(
    ("service", "sku", "unit", "quantity", "usd"),
    [
        ("Lambda", "Requests", "request", 1e6, 0.20),
        ("Lambda", "Duration x86", "GB-second", 1e6, 16.6667),
        ("Lambda", "Duration arm64", "GB-second", 1e6, 13.3334),
        ("Lambda", "Duration x86 first 6B GB-s", "GB-second", 1e6, 16.6667),
        ("Lambda", "Provisioned concurrency x86", "GB-second", 1e6, 4.1667),
        ("Lambda", "Provisioned concurrency duration arm64", "GB-second", 1e6, 7.7778),
        ("Lambda", "requests", "request", 1e6, 0.0),
        ("API Gateway", "REST requests", "request", 1e6, 3.50),
        ("API Gateway", "HTTP API requests", "request", 1e6, 1.00),
        ("S3", "Standard GET/SELECT", "request", 1e6, 0.40),
        ("S3", "Standard PUT/COPY/POST/LIST", "request", 1e6, 5.00),
        ("S3", "Standard DELETE", "request", 1e6, 0.0),
        ("SageMaker AI", "data out", "byte", GB, 0.016),
        ("SQS", "requests", "request", 1e6, 0.40),
        ("STS", "requests", "request", 1e6, 0.0),
        ("Secrets Manager", "Secret", "second", MONTH_SECONDS, 0.40),
    ],
)
def test_what_the_ledger_writes_has_a_price(service: str, sku: str, unit: str, quantity: float, usd: float) -> None:
    row = {"provider": "aws", "region": "us-east-1", "service": service, "sku": sku, "unit": unit, "quantity": quantity}
    made = bill([row])
    assert made.unpriced == ()
    assert made.total_usd == pytest.approx(usd)


def test_zero_is_only_ever_written_down() -> None:
    free = [each for each in default_book() if each.usd == 0]
    assert all(each.note for each in free)
    assert {each.sku for each in free} == {"requests", "Standard DELETE", "Free tier control plane"}


def test_an_assumption_says_why() -> None:
    assert [each.sku for each in default_book() if each.assumption and not each.note] == []
