"""Links: internal ones fail the build; external ones have a verdict, because tests have no network to ask them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book"))

import external_links  # noqa: E402  (the book's own tool is not a package)

TODAY = date(2026, 11, 20)
GOOD = {"verdict": "checked", "date": TODAY, "reason": "answered 200"}


def test_every_external_link_has_a_verdict() -> None:
    found = external_links.found(ROOT)
    assert len(found) > 50
    problems = external_links.problems(found, external_links.read(ROOT / external_links.VERDICTS))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("See [here](https://docs.vendor.com/a/b.html#part).", ["https://docs.vendor.com/a/b.html#part"]),
        ("[^1]: Author. <https://doi.org/10.1287/opre.9.3.383>.", ["https://doi.org/10.1287/opre.9.3.383"]),
        ("https://a.vendor.com/x, https://b.vendor.com/y; done", ["https://a.vendor.com/x", "https://b.vendor.com/y"]),
        ('url = "https://a.vendor.com/x"', ["https://a.vendor.com/x"]),
        ("| a | https://a.vendor.com/x|", ["https://a.vendor.com/x"]),
        ("http://127.0.0.1:4566 and http://localhost:8888/lab", []),
        ("https://example.com/a and https://api.example.org/b", []),
        ("f'https://{name}.vendor.com' and https://<id>.vendor.com and https://vendor.com/{id}", []),
        ('xmlns="http://www.w3.org/2000/svg"', []),
    ],
)
def test_finds_addresses_in_text(line: str, expected: list[str]) -> None:
    assert list(external_links.urls(line)) == expected


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A tree with one page, and no verdicts."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "page.md").write_text("# Page\n\nWords.\nA [link](https://docs.vendor.com/x).\n")
    return tmp_path


def test_a_new_link_is_named_with_file_and_line(site: Path) -> None:
    (problem,) = external_links.problems(external_links.found(site), {})
    assert problem.startswith("book/page.md:4: https://docs.vendor.com/x has no verdict in book/external_links.yml")
    assert "external_links.py add" in problem


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({**GOOD, "verdict": "fine"}, "verdict 'fine' must be one of"),
        ({**GOOD, "date": "today"}, "needs a date"),
        ({**GOOD, "reason": " "}, "needs a reason"),
        ("checked", "verdict None must be one of"),
    ],
)
def test_a_verdict_needs_date_and_reason(site: Path, verdict: object, said: str) -> None:
    problems = external_links.problems(external_links.found(site), {"https://docs.vendor.com/x": verdict})
    assert any(said in problem for problem in problems)


def test_adding_keeps_what_is_known_and_drops_what_is_unused(site: Path) -> None:
    path = site / external_links.VERDICTS
    external_links.write(path, {"https://gone.vendor.com/y": GOOD})
    assert external_links.problems(external_links.found(site), external_links.read(path)) != []
    assert external_links.add(site, TODAY) == ["https://docs.vendor.com/x"]
    assert external_links.problems(external_links.found(site), external_links.read(path)) == []
    before = path.read_bytes()
    assert external_links.add(site, date(2027, 1, 1)) == []
    assert path.read_bytes() == before


class _Pages(BaseHTTPRequestHandler):
    """Answers the status that is the path's last part."""

    def do_GET(self) -> None:
        status = int(self.path.rpartition("/")[2])
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[str]:
    """A real web server; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "good", "reason"),
    [
        (200, True, "answered 200"),
        (301, True, "moved to "),
        (403, True, "refuses programs"),
        (404, False, "answered 404"),
        (503, False, "answered 503"),
    ],
)
def test_asking_an_address(server: str, status: int, good: bool, reason: str) -> None:
    with external_links.httpx.Client(follow_redirects=True, trust_env=False) as client:
        answer = external_links.ask(client, f"{server}/{status}")
    assert answer.good is good
    assert reason in answer.reason


def test_an_address_where_nobody_is_does_not_answer() -> None:
    with external_links.httpx.Client(trust_env=False) as client:
        answer = external_links.ask(client, "http://127.0.0.1:1/")
    assert not answer.good
    assert "does not answer" in answer.reason


def test_checking_renews_what_answers_and_names_what_does_not(
    site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = external_links.re.compile(r"(?!x)x")  # the test's own server is on this machine, where links do not count
    monkeypatch.setattr(external_links, "_OWN", here)
    monkeypatch.setenv("NO_PROXY", "*")
    (site / "book" / "page.md").write_text(f"# Page\n\n[a]({server}/200)\n[b]({server}/404)\n")
    (site / "labs" / "cost").mkdir(parents=True)
    (site / external_links.PRICES).write_text(f"sku,source\na,{server}/p/200\nb,{server}/p/410\n")
    external_links.add(site, TODAY)
    lines = external_links.check(site, date(2026, 12, 1))
    assert [line.partition(": ")[0] for line in lines] == ["book/page.md:4", "labs/cost/prices.csv:3"]
    verdicts = external_links.read(site / external_links.VERDICTS)
    assert verdicts[f"{server}/200"] == {"verdict": "checked", "date": date(2026, 12, 1), "reason": "answered 200"}
    assert verdicts[f"{server}/404"]["verdict"] == "unchecked-offline"
    assert external_links.main(["check"], site) == 1


@pytest.mark.parametrize(
    "link", ["[a](nowhere.md)", "{doc}`nowhere`", "[a](#nowhere)", "![A picture of nothing](nowhere.svg)"]
)
def test_a_broken_internal_link_fails_the_build_and_names_file_and_line(tmp_path: Path, link: str) -> None:
    (tmp_path / "conf.py").write_text("extensions = ['myst_parser']\nmyst_heading_anchors = 3\n")
    (tmp_path / "index.md").write_text(f"# Page\n\nFirst.\n\nThen {link}.\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "index.md:5: " in done.stderr
    assert "nowhere" in done.stderr
