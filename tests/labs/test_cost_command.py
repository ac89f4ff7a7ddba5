"""`lab cost`: the bill of a tenant of the real local cloud, as text and as JSON, and its sum."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from labs import cli, connect, control, cost, spend
from labs.aws import Lab
from labs.commands.cost import as_object


@pytest.fixture
def tenant(cloud: Any, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> Lab:
    """A tenant that has stored and read something, and made a budget."""
    monkeypatch.setenv("LAB_HOME", str(cloud.home.root))
    monkeypatch.setenv("LAB_TENANT_NAME", f"week1_aws/cost-{time.time_ns()}")
    lab = connect("local", lab="aws-cost")
    s3 = lab.client("s3")
    s3.put_object(Bucket=lab.bucket, Key="a", Body=b"x")
    for _ in range(3):
        s3.get_object(Bucket=lab.bucket, Key="a")
    s3.delete_object(Bucket=lab.bucket, Key="a")
    return lab


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(["cost", *arguments])
    out, err = capfd.readouterr()
    return int(end.value.code or 0), out, err


def test_the_bill_of_a_tenant(tenant: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    code, by_name, _ = run(capfd, "--tenant", tenant.tenant)
    assert code == 0
    assert run(capfd, "--tenant", tenant.account)[1].splitlines()[0] == by_name.splitlines()[0]
    reads = next(line for line in by_name.splitlines() if "GET/SELECT" in line)
    assert "3 requests" in reads
    assert "2025-07-07" in reads
    assert "https://" in reads
    assert "Total at list price: $0.0000" in by_name


def test_as_json_the_lines_add_up(tenant: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    code, out, _ = run(capfd, "--tenant", tenant.tenant, "--json")
    found = json.loads(out)
    assert (code, found["account"], found["currency"]) == (0, tenant.account, "USD")
    assert found["total_usd"] == pytest.approx(sum(line["usd"] or 0 for line in found["lines"]))
    assert all((line["usd"] is None) == (line["price"] is None) for line in found["lines"])
    assert all(line["price"]["source"].startswith("https://") for line in found["lines"] if line["price"])
    skus = {line["sku"]: line["quantity"] for line in found["lines"] if line["service"] == "S3"}
    assert (skus["Standard GET/SELECT"], skus["Standard DELETE"]) == (3, 1)


def test_the_notebook_shows_the_same_sum(tenant: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    spent = tenant.spend()
    capfd.readouterr()
    found = json.loads(run(capfd, "--tenant", tenant.tenant, "--json")[1])
    assert found["total_usd"] == pytest.approx(spent.total_usd, abs=0.01)
    assert spent.total_usd == pytest.approx(sum(row["usd"] or 0 for row in spent.rows()))


@pytest.mark.parametrize("arguments", [[], ["--tenant", "nobody"]])
def test_a_tenant_is_needed(
    arguments: list[str], cloud: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_HOME", str(cloud.home.root))
    code, _, err = run(capfd, *arguments)
    assert code == 2
    assert "tenant" in err
    assert "Try: lab cost --help" in err


def usage(service: str, sku: str, unit: str, quantity: float) -> dict[str, Any]:
    return {
        "provider": "aws", "region": "us-east-1", "service": service, "sku": sku, "unit": unit, "quantity": quantity,
    }  # fmt: skip


MONTH_OF_A_SERVICE = [
    usage("SageMaker AI", "ml.m5.large Hosting", "second", 1460 * 3600),
    usage("SageMaker AI", "ml.m5.large Training", "second", 3600),
    usage("Lambda", "Requests", "request", 28_075),
    usage("Lambda", "Duration x86", "GB-second", 2_807.5),
    usage("API Gateway", "HTTP API requests", "request", 28_075),
    usage("API Gateway", "REST requests", "request", 28_075),
    usage("S3", "Standard PUT/COPY/POST/LIST", "request", 3_000),
    usage("S3", "Standard GET/SELECT", "request", 3_000),
    usage("Fictitious", "widgets", "request", 3),
]


def test_a_bill_with_every_kind_of_line_adds_up_to_the_cent() -> None:
    made = cost.bill(MONTH_OF_A_SERVICE)
    by_hand = 167.90 + 0.115 + 0.005615 + 0.0467918 + 0.028075 + 0.0982625 + 0.015 + 0.0012
    assert round(made.total_usd, 2) == round(by_hand, 2) == 168.21
    found = as_object(made, control.Tenant("123456789012", "us-east-1", "x", "x", 0.0))
    assert sum(line["usd"] or 0 for line in found["lines"]) == pytest.approx(made.total_usd)
    assert found["unpriced"] == ["Fictitious widgets"]
    assert "Fictitious" in str(spend.Spend(made, "x"))
