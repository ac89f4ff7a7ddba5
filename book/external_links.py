"""The book's links to other sites, and what is known of each: `book/external_links.yml`.

    python book/external_links.py add      a verdict `unchecked-offline` for every new address; unused ones are dropped
    python book/external_links.py check    ask every address (needs the network); fails when one is gone

Tests work without a network, so they only ask whether every address has a verdict. The weekly workflow runs `check`.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
VERDICTS: Final = "book/external_links.yml"
ALLOWED: Final = ("unchecked-offline", "known-good (source of knowledge)", "checked")
PAGES: Final = ("*.md", "book/**/*.md", "book/quizzes/*.yml", "solutions/**/*.py")
PRICES: Final = "labs/cost/prices.csv"
"""Its rows carry the date of their source themselves, so they need no verdict; `check` asks them too."""

_URL: Final = re.compile(r"https?://[^\s\[\]<>\"'`)|,\\{}]+")
_OWN: Final = re.compile(r"https?://(127\.|localhost|\[?::1|[^/]*\bexample(\.|/|$)|www\.w3\.org/2000/svg)")
_HEADER: Final = """\
# What is known of every address outside of the book. Made by `python book/external_links.py add`, renewed by `check`.
# verdict: unchecked-offline                  written down where there was no network; the next check will tell
#          known-good (source of knowledge)   the publisher's long-standing address, as cited elsewhere; not asked
#          checked                            asked on that date; the reason says what it answered
"""
_TIMEOUT_SECONDS: Final = 20.0
_AT_A_TIME: Final = 8
_REFUSES_PROGRAMS: Final = (401, 403, 405, 406, 429)


@dataclass(frozen=True, order=True)
class Place:
    """Where an address stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Answer:
    """What an address said. `good` is False only when a reader would find nothing."""

    url: str
    good: bool
    reason: str


def found(root: Path) -> dict[str, list[Place]]:
    """Every outside address of the pages with its places, sorted by address."""
    places: dict[str, list[Place]] = {}
    for path in sorted({path for pattern in PAGES for path in root.glob(pattern)}):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for url in urls(line):
                places.setdefault(url, []).append(Place(path.relative_to(root).as_posix(), number))
    return dict(sorted(places.items()))


def urls(line: str) -> Iterator[str]:
    """Outside addresses in a line of text; examples, templates and this machine's own are none."""
    for match in _URL.finditer(line):
        url = match[0].rstrip(".,;:*_")
        is_template = line[match.end() : match.end() + 1] in ("{", "<")
        if "." in url and not is_template and not _OWN.match(url):
            yield url


def read(path: Path) -> dict[str, Any]:
    """The verdicts by address."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.is_file() else {}


def problems(places: Mapping[str, list[Place]], verdicts: Mapping[str, Any]) -> list[str]:
    """An address without a verdict, a verdict without an address, and verdicts that say too little."""
    advice = "run: python book/external_links.py add"
    missing = [
        f"{places[url][0]}: {url} has no verdict in {VERDICTS}; {advice}" for url in places if url not in verdicts
    ]
    unused = [f"{VERDICTS}: {url} is in no page any more; {advice}" for url in verdicts if url not in places]
    poor = [f"{VERDICTS}: {url}: {wrong}" for url, verdict in verdicts.items() for wrong in _wrong(verdict)]
    return missing + unused + poor


def _wrong(verdict: Any) -> Iterator[str]:
    verdict = verdict if isinstance(verdict, dict) else {}
    if verdict.get("verdict") not in ALLOWED:
        yield f"verdict {verdict.get('verdict')!r} must be one of: {', '.join(ALLOWED)}"
    if not isinstance(verdict.get("date"), date):
        yield "needs a date such as 2026-11-20"
    if not str(verdict.get("reason") or "").strip():
        yield "needs a reason"


class _Plain(yaml.SafeDumper):
    """Every date in full: no anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the base class's signature
        return True


def write(path: Path, verdicts: Mapping[str, Any]) -> None:
    """Write all verdicts, sorted by address."""
    path.write_text(_HEADER + yaml.dump(dict(sorted(verdicts.items())), Dumper=_Plain, width=120), encoding="utf-8")


def add(root: Path, today: date) -> list[str]:
    """Give every new address a verdict and drop the unused; returns the new ones."""
    places, verdicts = found(root), read(root / VERDICTS)
    new = [url for url in places if url not in verdicts]
    fresh = {"verdict": "unchecked-offline", "date": today, "reason": "added without asking it; the next check will"}
    write(root / VERDICTS, {url: verdicts.get(url, fresh) for url in places})
    return new


def check(root: Path, today: date) -> list[str]:
    """Ask every address, renew the verdicts of those that answer; returns a line for each that does not."""
    places, verdicts = found(root), read(root / VERDICTS)
    for url, place in _price_sources(root):
        places.setdefault(url, []).append(place)
    lines = []
    with (
        httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS) as client,
        ThreadPoolExecutor(_AT_A_TIME) as pool,
    ):
        for answer in pool.map(lambda url: ask(client, url), places):
            if not answer.good:
                lines.append(f"{places[answer.url][0]}: {answer.url}: {answer.reason}")
            elif answer.url in verdicts:
                verdicts[answer.url] = {"verdict": "checked", "date": today, "reason": answer.reason}
    write(root / VERDICTS, verdicts)
    return lines


def ask(client: httpx.Client, url: str) -> Answer:
    """Open one address without reading its page. A site that refuses programs is there all the same."""
    try:
        with client.stream("GET", url) as response:
            status, last = response.status_code, str(response.url)
    except httpx.HTTPError as error:
        return Answer(url, False, f"does not answer ({type(error).__name__}). Is it spelt right, or gone?")
    if status in _REFUSES_PROGRAMS:
        return Answer(url, True, f"answers {status}: refuses programs")
    moved = "" if last == url.partition("#")[0] else f", moved to {last}"
    return Answer(url, status < 400, f"answered {status}{moved}")


def _price_sources(root: Path) -> Iterator[tuple[str, Place]]:
    path = root / PRICES
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for row in reader:
                yield row["source"], Place(PRICES, reader.line_num)


def main(arguments: Iterable[str], root: Path = ROOT) -> int:
    """The command line; 0, or 1 when an address is gone."""
    parser = argparse.ArgumentParser(description="The book's links to other sites.")
    parser.add_argument("what", choices=["add", "check"])
    what = parser.parse_args(list(arguments)).what
    lines = (add if what == "add" else check)(root, datetime.now(UTC).date())
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if what == "check" and lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
