"""Estimates of a month: figures worked out by hand, and what must hold for any traffic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labs.cost import DAYS_A_MONTH, MissingPriceError, default_book, estimate
from labs.cost.pricebook import PriceBook

Estimator = Callable[..., estimate.Estimate]
ESTIMATORS: dict[str, Estimator] = {
    "endpoint": partial(estimate.endpoint, instances=2, requests_a_second=25, peak=2, bytes_in=400, bytes_out=20),
    "serverless": partial(estimate.serverless_inference, seconds=0.0123, memory_gb=2, bytes_in=400),
    "function": partial(estimate.function, seconds=0.0123, memory_mb=1769, cold_share=0.05, init_seconds=1.2),
    "function, arm": partial(estimate.function, seconds=0.3, memory_mb=512, architecture="arm64"),
    "function, free tier": partial(estimate.function, seconds=0.05, memory_mb=2048, free_tier=True),
    "function, provisioned": partial(estimate.function, seconds=0.05, memory_mb=2048, provisioned=2),
    "HTTP API": partial(estimate.api_gateway, kind="HTTP", bytes_each=600_000),
    "REST API": partial(estimate.api_gateway, kind="REST"),
    "S3 reads": lambda requests: estimate.s3(gigabytes=10, reads_a_day=requests, writes_a_day=5),
    "S3 kept": lambda gigabytes: estimate.s3(gigabytes=np.minimum(gigabytes, 50_000)),
    "data out": lambda gigabytes: estimate.data_out(np.minimum(gigabytes, 150_000)),
}
ANY = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS.keys())
TRAFFIC = arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1e11, allow_nan=False))


@ANY
@given(requests=TRAFFIC)
def test_it_never_falls_with_traffic_and_is_never_negative(estimator: Estimator, requests: np.ndarray) -> None:
    usd = estimator(np.sort(requests)).usd
    assert usd.shape == requests.shape
    assert np.all(usd >= 0)
    assert np.all(np.diff(usd) >= -1e-9 * usd[-1])


@ANY
@given(requests=st.floats(0, 1e9))
def test_the_lines_add_up_to_the_cent(estimator: Estimator, requests: float) -> None:
    made = estimator(requests)
    assert round(sum(row["usd"] for row in made.rows()), 2) == pytest.approx(round(made.total_usd, 2), abs=0.011)
    assert sum(row["usd"] for row in made.rows()) == pytest.approx(made.total_usd, rel=1e-12)


@ANY
@given(requests=TRAFFIC)
def test_an_array_gives_what_each_number_gives(estimator: Estimator, requests: np.ndarray) -> None:
    one_by_one = [estimator(each).total_usd for each in requests]
    assert estimator(requests).usd == pytest.approx(one_by_one)


@ANY
def test_every_line_names_its_price_and_source(estimator: Estimator) -> None:
    made = estimator(1000)
    assert made.prices
    for row in made.rows():
        assert row["source"].startswith("https://")
        assert row["source_date"] >= "2020"
    assert f"${made.total_usd:,.2f}" in str(made)
    assert "Price of" in (made._repr_html_() or "")
    assert repr(made) == str(made)


@pytest.mark.parametrize(
    ("made", "usd"),
    [
        (estimate.endpoint(0), 0.115 * 730),
        (estimate.endpoint(1e9, instances=3), 3 * 0.115 * 730),
        # 86,400 a day are one a second; at a peak of 5 and 2 a second for each instance that is 3 instances.
        (estimate.endpoint(86_400, requests_a_second=2, peak=5), 3 * 0.115 * 730),
        (estimate.serverless_inference(1000, seconds=0.05, memory_gb=2), 1000 * 730 / 24 * 0.1 * 0.00002),
        (estimate.function(1000, seconds=0.05, memory_mb=1024), 730_000 / 24 * (0.05 * 0.0000166667 + 0.2e-6)),
        # 0.0501 s are billed as 51 ms
        (estimate.function(1000, seconds=0.0501, memory_mb=1024), 730_000 / 24 * (0.051 * 0.0000166667 + 0.2e-6)),
        # one call in ten is cold: 0.9 · 50 ms + 0.1 · 2,050 ms
        (
            estimate.function(1000, seconds=0.05, memory_mb=1024, cold_share=0.1, init_seconds=2),
            730_000 / 24 * (0.25 * 0.0000166667 + 0.2e-6),
        ),
        (estimate.function(1000, seconds=0.05, memory_mb=1024, free_tier=True), 0),
        # the first million calls and 400,000 GB-seconds are free
        (
            estimate.function(3e6 / DAYS_A_MONTH, seconds=1, memory_mb=1024, free_tier=True),
            2e6 * 0.2e-6 + 2.6e6 * 0.0000166667,
        ),
        # 10 billion GB-seconds: 6 at the first rate, 4 at the second
        (
            estimate.function(1e10 / DAYS_A_MONTH, seconds=1, memory_mb=1024),
            1e10 * 0.2e-6 + 6e9 * 0.0000166667 + 4e9 * 0.000015,
        ),
        (estimate.function(0, seconds=1, memory_mb=2048, provisioned=2), 2 * 2 * 2_628_000 * 0.0000041667),
        (estimate.api_gateway(1e6 / DAYS_A_MONTH), 1.0),
        (estimate.api_gateway(400e6 / DAYS_A_MONTH), 300 * 1.0 + 100 * 0.9),
        (estimate.api_gateway(1e6 / DAYS_A_MONTH, bytes_each=512 * 1024 + 1), 2.0),
        (estimate.api_gateway(1.5e9 / DAYS_A_MONTH, kind="REST"), 333 * 3.5 + 667 * 2.8 + 500 * 2.38),
        (estimate.s3(gigabytes=100), 2.3),
        (estimate.s3(gigabytes=0, writes_a_day=1000 / DAYS_A_MONTH, reads_a_day=1000 / DAYS_A_MONTH), 0.0054),
        (estimate.data_out(200), 18.0),
        (estimate.data_out(200, free_tier=True), 9.0),
        (estimate.data_out(11 * 1024), 10 * 1024 * 0.09 + 1024 * 0.085),
    ],
)
def test_by_hand(made: estimate.Estimate, usd: float) -> None:
    assert made.total_usd == pytest.approx(usd)


@pytest.mark.parametrize(
    ("seconds", "cold_share", "init_seconds", "billed"),
    [
        (0.007, 0, 0, 0.007),
        (0.0070001, 0, 0, 0.008),
        (0, 0, 0, 0),
        (0.0024, 1, 0.0999, 0.103),
        (0.001, 0.5, 0.1, 0.051),
    ],
)
def test_billed_seconds(seconds: float, cold_share: float, init_seconds: float, billed: float) -> None:
    assert estimate.billed_seconds(seconds, cold_share, init_seconds) == pytest.approx(billed)


def lambda_and_door(requests: np.ndarray) -> estimate.Estimate:
    return estimate.function(requests, seconds=0.05, memory_mb=2048) + estimate.api_gateway(requests)


def test_break_even_is_where_the_two_cost_the_same() -> None:
    found = estimate.break_even(estimate.endpoint, lambda_and_door)
    assert found == pytest.approx(83.95 / (730 / 24 * (0.1 * 0.0000166667 + 1.2e-6)), rel=1e-5)
    assert estimate.endpoint(found).total_usd == pytest.approx(lambda_and_door(np.asarray(found)).total_usd, rel=1e-4)


def test_what_never_crosses_has_no_break_even() -> None:
    assert estimate.break_even(lambda_and_door, lambda_and_door, between=(1, 10)) is None
    assert estimate.break_even(estimate.endpoint, partial(estimate.endpoint, instances=2)) is None


@pytest.mark.parametrize(
    "call",
    [
        partial(estimate.endpoint, -1),
        partial(estimate.endpoint, float("nan")),
        partial(estimate.endpoint, 1, instances=0),
        partial(estimate.endpoint, 1, requests_a_second=0),
        partial(estimate.endpoint, 1, peak=0.5),
        partial(estimate.serverless_inference, 1, seconds=1, memory_gb=8),
        partial(estimate.serverless_inference, 1, seconds=-1, memory_gb=1),
        partial(estimate.function, 1, seconds=1, memory_mb=64),
        partial(estimate.function, 1, seconds=1, memory_mb=128, cold_share=2),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[], estimate.Estimate]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        call()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (partial(estimate.endpoint, 1, instance="ml.x9.huge"), "SageMaker AI | ml.x9.huge Hosting | us-east-1"),
        (partial(estimate.function, 1, seconds=1, memory_mb=128, region="mars-1"), "Lambda | Requests | mars-1"),
        (partial(estimate.data_out, 200 * 1024), "Internet egress over 150 TB"),
        (partial(estimate.s3, gigabytes=60 * 1024), "Standard storage over 50 TB"),
        (partial(estimate.api_gateway, 1, book=PriceBook([])), "Known for API Gateway: nothing"),
    ],
)
def test_a_missing_price_is_named_and_never_zero(call: Callable[[], estimate.Estimate], named: str) -> None:
    with pytest.raises(MissingPriceError) as said:
        call()
    assert named in str(said.value)


def test_several_amounts_of_traffic_have_no_single_total() -> None:
    several = estimate.api_gateway([1, 2])
    assert (repr(several), several._repr_html_()) == ("Estimate of HTTP API for 2 amounts of traffic", None)
    with pytest.raises(ValueError, match="several amounts of traffic"):
        _ = several.total_usd
    with pytest.raises(ValueError, match="several amounts of traffic"):
        str(estimate.api_gateway([1, 2]))


def test_estimates_add_and_take_a_name() -> None:
    both = lambda_and_door(np.asarray(1000.0)).named("a function with a door")
    assert (both.name, len(both.items)) == ("a function with a door", 3)
    assert all(price in list(default_book()) for price in both.prices)
