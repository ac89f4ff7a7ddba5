"""Cost a month by requests a day: an endpoint, serverless inference, and Lambda behind an HTTP API."""

from __future__ import annotations

from collections.abc import Callable
from math import log10

from list_price import usd
from style import Figure, Point

SECONDS, MEMORY_GB, HOURS = 0.05, 2.0, 730
DAYS = HOURS / 24
LEFT, RIGHT, TOP, BOTTOM = 84, 704, 34, 306
REQUESTS = tuple(10 ** (2 + 5 * step / 60) for step in range(61))


def endpoint(_requests_a_day: float) -> float:
    """One ml.m5.large instance, whatever the traffic."""
    return usd("SageMaker AI", "ml.m5.large Hosting") * HOURS


def serverless(requests_a_day: float) -> float:
    """SageMaker serverless inference: GB-seconds only."""
    return requests_a_day * DAYS * SECONDS * MEMORY_GB * usd("SageMaker AI", "Serverless Inference compute")


def function(requests_a_day: float) -> float:
    """Lambda (x86, no free tier) behind an HTTP API."""
    each = SECONDS * MEMORY_GB * usd("Lambda", "Duration x86 first 6B GB-s")
    calls = (usd("Lambda", "Requests") + usd("API Gateway", "HTTP API requests first 300M")) / 1e6
    return requests_a_day * DAYS * (each + calls)


def crossing(cost: Callable[[float], float]) -> float:
    """Requests a day at which `cost` reaches the endpoint's."""
    return endpoint(1) / cost(1)


def place(requests_a_day: float, cost: float) -> Point:
    """Logarithmic axes: 100 to 10 million requests a day, 0.01 to 1,000 USD a month."""
    x = LEFT + (RIGHT - LEFT) * (log10(requests_a_day) - 2) / 5
    y = BOTTOM - (BOTTOM - TOP) * (log10(cost) + 2) / 5
    return x, y


def draw() -> Figure:
    """The chart."""
    f = Figure(
        "break_even", 760, 392,
        "Where a request is cheapest: list price a month by requests a day",
        f"Logarithmic axes. The endpoint is a level line at {endpoint(1):.2f} USD. Serverless inference and Lambda "
        f"with an HTTP API rise in proportion to requests. Lambda crosses the endpoint at {crossing(function):,.0f} "
        f"requests a day, serverless inference at {crossing(serverless):,.0f}.",
    )  # fmt: skip
    f.sheet(4, 4, 752, 384)
    for power in range(2, 8):
        x, _ = place(10**power, 1)
        f.rule(x, TOP, x, BOTTOM)
        f.text(x, BOTTOM + 16, f"{10**power:,}")
    for power in range(-2, 4):
        _, y = place(100, 10.0**power)
        f.rule(LEFT, y, RIGHT, y)
        f.text(LEFT - 8, y, f"{10.0**power:g}", "end")
    f.text((LEFT + RIGHT) / 2, BOTTOM + 38, "requests a day (0.05 s each, 2 GB)")
    f.text(LEFT - 60, TOP - 14, "USD a month", "start", bold=True)
    series = (("endpoint, one ml.m5.large", endpoint, ""), ("serverless inference", serverless, "8 5"),
              ("Lambda + HTTP API", function, "2 5"))  # fmt: skip
    for index, (name, cost, dash) in enumerate(series):
        points = [place(each, cost(each)) for each in REQUESTS if 0.01 <= cost(each) <= 1000]
        f.curve(points, index, dash)
        left = 60 + 240 * index
        f.curve([(left, BOTTOM + 66), (left + 34, BOTTOM + 66)], index, dash)
        f.text(left + 42, BOTTOM + 66, name, "start")
    return f


if __name__ == "__main__":
    draw().save()
