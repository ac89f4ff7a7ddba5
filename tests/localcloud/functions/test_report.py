"""Report lines, billing and error payloads: pure arithmetic and text."""

from __future__ import annotations

from typing import Any

import pytest
from localcloud.aws.functions import admission, api_gateway, billing, failures, logs, report, runtimes
from localcloud.aws.functions.metering import rows_of


@pytest.mark.parametrize(
    ("duration", "init", "billed"),
    [
        (0.34, None, 1), (1.0, None, 1), (1.01, None, 2), (250.06, 100.77, 351), (100.1, 99.9, 200), (0.01, None, 1),
        (3000.0, None, 3000), (0.5, 96.54, 98),
    ],
)  # fmt: skip
def test_billed_duration_is_the_sum_with_init_rounded_up(duration: float, init: float | None, billed: int) -> None:
    assert report.billed_ms(duration, init) == billed


def test_the_report_line_is_lambdas() -> None:
    line = report.Report("id", 250.06, 1024, 350, 100.77).line
    assert line == (
        "REPORT RequestId: id\tDuration: 250.06 ms\tBilled Duration: 351 ms\tMemory Size: 1024 MB"
        "\tMax Memory Used: 350 MB\tInit Duration: 100.77 ms"
    )
    failed = report.Report("id", 5.0, 128, 128, None, "error", "Runtime.OutOfMemory").line
    assert failed.endswith("Max Memory Used: 128 MB\tStatus: error\tError Type: Runtime.OutOfMemory")
    assert report.Report("id", 3000.0, 128, 20, None, "timeout", "Sandbox.Timedout").line.endswith("\tStatus: timeout")


def test_the_line_of_an_init_that_failed() -> None:
    line = report.init_report_line(12.3, "init", "Runtime.ImportModuleError")
    assert (
        line == "INIT_REPORT Init Duration: 12.30 ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError"
    )
    assert report.init_report_line(10_000, "init", "Sandbox.Timedout").endswith("Status: timeout")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "Runtime exited without providing a reason"),
        (3, "Runtime exited with error: exit status 3"),
        (137, "Runtime exited with error: signal: killed"),
        (139, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_how_a_process_ended(code: int, text: str) -> None:
    failure = failures.exited("id", code)
    assert failure.payload == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: id Error: {text}"}


def test_a_timeout_and_a_body_that_is_no_json() -> None:
    late = failures.timed_out("id", 3, now=0)
    assert late.payload["errorMessage"] == "RequestId: id Error: Task timed out after 3.00 seconds"
    assert late.log_line == "1970-01-01T00:00:00.000Z id Task timed out after 3.00 seconds\n"
    assert failures.reported(b"<html>").payload == {"errorMessage": "<html>", "errorType": "Runtime.Unknown"}


LINE: dict[str, Any] = {
    "kind": "invocation", "time": 65.0, "account": "1", "region": "r", "function": "f", "billed_ms": 1500,
    "memory_mb": 512, "ephemeral_mb": 512, "architecture": "x86_64", "type": "on-demand",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, {"Requests": 1, "Duration x86 first 6B GB-s": 0.75}),
        ({"architecture": "arm64"}, {"Requests": 1, "Duration arm64 first 7.5B GB-s": 0.75}),
        ({"type": "provisioned-concurrency"}, {"Requests": 1, "Provisioned concurrency duration x86": 0.75}),
        (
            {"ephemeral_mb": 1536},
            {"Requests": 1, "Duration x86 first 6B GB-s": 0.75, "Ephemeral storage above 512 MB": 1.5},
        ),
        ({"kind": "init", "type": "provisioned-concurrency"}, {"Provisioned concurrency duration x86": 0.75}),
        ({"kind": "api request", "type": "REST", "units": 1}, {"REST requests first 333M": 1}),
        ({"kind": "api request", "type": "HTTP", "units": 2}, {"HTTP API requests first 300M": 2}),
        ({"kind": "provisioned"}, {}),
    ],
)
def test_what_a_line_of_the_usage_log_costs(changes: dict[str, Any], rows: dict[str, float]) -> None:
    assert {sku: quantity for _, sku, _, quantity in billing.of_line(LINE | changes)} == rows


@pytest.mark.parametrize(("seconds", "steps"), [(0, 1), (299, 1), (300, 1), (300.1, 2), (3600, 12)])
def test_provisioned_concurrency_is_billed_in_steps_of_five_minutes(seconds: float, steps: int) -> None:
    assert billing.of_provisioned("x86_64", 1024, 2, seconds)[3] == steps * 300 * 2


@pytest.mark.parametrize(("size", "units"), [(0, 1), (512 << 10, 1), ((512 << 10) + 1, 2)])
def test_http_apis_meter_in_steps_of_512_kb(size: int, units: int) -> None:
    assert billing.http_api_units(size) == units


def test_usage_is_summed_by_function_and_minute() -> None:
    rows = rows_of([LINE, LINE, LINE | {"time": 125.0}])
    assert [(row.sku, row.started, row.quantity) for row in rows] == [
        ("Requests", 60.0, 2.0), ("Duration x86 first 6B GB-s", 60.0, 1.5),
        ("Requests", 120.0, 1.0), ("Duration x86 first 6B GB-s", 120.0, 0.75),
    ]  # fmt: skip
    assert len({row.id for row in rows}) == 4


def test_a_traceback_is_one_log_event() -> None:
    assert logs.messages_of("a\nb\rc\rd\n\n") == ["a\n", "b\nc\nd\n"]


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ({"body": {"statusCode": 200, "body": "x"}}, 200),
        ({"body": {"statusCode": "404"}}, "404"),
        ({"body": {"statusCode": 200, "body": {"not": "text"}}}, 502),
        ({"body": "text"}, 502),
        ({"body": None}, 502),
        ({"body": {"errorMessage": "x"}, "error": True}, 502),
        ({"throttle": True, "error": True, "body": {}}, 500),
    ],
)
def test_what_a_rest_api_makes_of_a_result(result: dict[str, Any], status: int) -> None:
    answer, error = api_gateway.rest_answer(result)
    assert error is None
    assert answer is not None
    assert answer["statusCode"] == status


def test_a_request_that_is_too_large_is_refused_before_it_is_read() -> None:
    refused = admission.refusal("POST", "/2015-03-31/functions", {}, bytes(admission.MOST_REQUEST_BYTES + 1))
    assert refused is not None
    assert refused[0] == 413
    assert b"Request must be smaller than 70167211 bytes for the CreateFunction operation" in refused[2]


def test_an_unknown_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtimes.CLIENT_VARIABLE, "node")
    with pytest.raises(KeyError, match="Use awslambdaric or python"):
        runtimes.uses_own_client()
