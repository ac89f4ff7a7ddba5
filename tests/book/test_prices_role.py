"""The price role: what a page shows, and that a price without a row, source or date fails the build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = "provider,service,sku,region,unit,price_usd,source,source_date,assumption,note"
HOSTING = "aws,SageMaker AI,ml.m5.large Hosting,us-east-1,hour,0.115,https://example.com/list,2026-09-28,no,a note"
SPOT = "aws,SageMaker AI,Spot,us-east-1,fraction off,0.548,https://example.com/spot,2024-08-09,yes,one snapshot"
TINY = "aws,Lambda,Duration,us-east-1,GB-second,0.0000166667,https://example.com/lambda,2024-07-01,no,"
UNDATED = "aws,S3,Undated,us-east-1,GB-month,0.023,https://example.com/s3,,no,"
ROUND = (
    "aws,KMS,Key,us-east-1,month,1,https://example.com/kms,2026-01-01,no,",
    "aws,CloudWatch,Logs,us-east-1,GB,0.5,https://example.com/logs,2026-01-01,no,",
    "aws,AKS,Free,us-east-1,hour,0,https://example.com/aks,2026-01-01,no,",
)
UNSOURCED = "aws,S3,Unsourced,us-east-1,GB-month,0.023,somewhere,2026-01-01,no,"


@pytest.fixture
def build(tmp_path: Path):
    """Build one page of text with the role and return (process, HTML)."""

    def run(text: str, *options: str, rows: tuple[str, ...] = (HOSTING, SPOT, TINY, UNDATED, UNSOURCED, *ROUND)):
        (tmp_path / "prices.csv").write_text("\n".join((HEADER, *rows)) + "\n")
        (tmp_path / "index.md").write_text(f"# Page\n\n{text}\n")
        (tmp_path / "conf.py").write_text(
            f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
            "extensions = ['myst_parser', 'prices']\nprice_books = ['missing.csv', 'prices.csv']\n"
        )
        command = [sys.executable, "-m", "sphinx", "-q", *options, str(tmp_path), str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        page = tmp_path / "out" / "index.html"
        return done, page.read_text() if page.exists() else ""

    return run


@pytest.mark.parametrize(
    ("request_text", "shown"),
    [
        ("aws | SageMaker AI | ml.m5.large Hosting | us-east-1", "0.115 USD per hour ("),
        ("aws|SageMaker AI|ml.m5.large Hosting|us-east-1|730 per month", "83.95 USD per month ("),
        (
            "aws | SageMaker AI | ml.m5.large Hosting | us-east-1 | 1,000,000 per century",
            "115,000.00 USD per century (",
        ),
        ("aws | Lambda | Duration | us-east-1", "0.0000166667 USD per GB-second ("),
        ("aws | Lambda | Duration | us-east-1 | 0.5 per request", "0.00000833 USD per request ("),
        ("aws | SageMaker AI | Spot | us-east-1", "54.8% off ("),
        ("aws | KMS | Key | us-east-1", "1.00 USD per month ("),
        ("aws | CloudWatch | Logs | us-east-1", "0.50 USD per GB ("),
        ("aws | AKS | Free | us-east-1", "0 USD per hour ("),
    ],
)
def test_shows_amount_and_unit(build, request_text: str, shown: str) -> None:
    done, page = build(f"It costs {{price}}`{request_text}`.", "-W")
    assert done.returncode == 0, done.stderr
    assert shown in page


def test_links_the_source_by_its_date_and_marks_assumptions(build) -> None:
    _, page = build("{price}`aws | SageMaker AI | ml.m5.large Hosting | us-east-1`")
    assert '<a class="reference external" href="https://example.com/list"' in page
    assert ">2026-09-28</a>" in page
    _, page = build("{price}`aws | SageMaker AI | Spot | us-east-1`")
    assert ">assumed, 2024-08-09</a>" in page
    assert 'class="price-assumed' in page or "price-assumed" in page


@pytest.mark.parametrize(
    ("request_text", "said"),
    [
        ("aws | SageMaker AI | ml.m5.huge Hosting | us-east-1", "no price for aws | SageMaker AI | ml.m5.huge Hosting"),
        ("aws | S3 | Undated | us-east-1", "prices.csv:5: source_date '' is not a date"),
        ("aws | S3 | Unsourced | us-east-1", "prices.csv:6: source must be a URL"),
        ("aws | S3", "must have the form"),
        ("aws | SageMaker AI | ml.m5.large Hosting | us-east-1 | monthly", "must read like '730 per month'"),
    ],
)
@pytest.mark.parametrize("options", [(), ("-W", "--keep-going")])
def test_an_unusable_price_fails_and_names_file_and_line(build, options, request_text: str, said: str) -> None:
    done, _ = build(f"First.\n\nIt costs {{price}}`{request_text}`.", *options)
    assert done.returncode != 0
    assert said in done.stderr
    assert "index.md:5: " in done.stderr


def test_a_role_in_a_table_needs_escaped_bars(build) -> None:
    table = "| what | price |\n| --- | --- |\n| endpoint | {price}`%s` |"
    key = "aws | SageMaker AI | ml.m5.large Hosting | us-east-1"
    done, page = build(table % key.replace("|", r"\|"), "-W")
    assert done.returncode == 0, done.stderr
    assert "0.115 USD per hour" in page
    done, _ = build(table % key)
    assert done.returncode == 1
    assert "index.md:5: " in done.stderr
    assert r"write \| for |" in done.stderr


def test_an_error_is_repeated_by_the_next_build_of_an_unchanged_page(build) -> None:
    text = "{price}`aws | S3 | Nowhere | us-east-1`"
    assert build(text)[0].returncode == 1
    assert build(text)[0].returncode == 1
    done, page = build(text, rows=(HOSTING.replace("SageMaker AI,ml.m5.large Hosting", "S3,Nowhere"),))
    assert done.returncode == 0, done.stderr
    assert "0.115 USD per hour" in page
