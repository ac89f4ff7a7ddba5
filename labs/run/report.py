"""What a run found: `report.json` for programs, renewed at every change, and `report.html` for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, Final, Literal

from labs.run.child import Failure

Status = Literal["waiting", "running", "passed", "failed", "interrupted", "not run"]


@dataclass(frozen=True)
class Entry:
    """One notebook of a run. `path` is that of its executed copy in the repository; `seconds` is wall-clock time."""

    path: str
    status: Status = "waiting"
    seconds: float | None = None
    tenant: str | None = None
    """Its account in the local cloud; None where there is none."""
    cost_usd: float | None = None
    """At list price; None when unknown."""
    error: str | None = None


@dataclass(frozen=True)
class Detail:
    """What only the page for people shows of a notebook."""

    title: str
    log: Path
    executed: Path
    source: str
    """The source file, with the line of the failing cell if there is one."""
    exclusive: bool = False
    failure: Failure | None = None


class Report:
    """The entries of a run, on disk at every moment."""

    def __init__(self, path: Path, entries: Sequence[Entry]) -> None:
        self._path = path
        self._entries = {entry.path: entry for entry in entries}
        self._write()

    @property
    def entries(self) -> list[Entry]:
        """All entries, in the order of the book."""
        return list(self._entries.values())

    def change(self, path: str, **fields: Any) -> Entry:
        """Change one entry and write the file."""
        self._entries[path] = replace(self._entries[path], **fields)
        self._write()
        return self._entries[path]

    def _write(self) -> None:
        _write(self._path, json.dumps({"notebooks": [asdict(entry) for entry in self.entries]}, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


SIGNS: Final[dict[Status, str]] = {
    "waiting": "…",
    "running": "▶",
    "passed": "✓",
    "failed": "✗",
    "interrupted": "■",
    "not run": "-",
}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5b6875; --line: #d8dee5; --paper: #fff;
        --good: #17723b; --bad: #b3261e; --tint: #f3f6f9 }
@media (prefers-color-scheme: dark) { :root { --ink: #e7edf3; --soft: #9fb0c0; --line: #34414e; --paper: #12181f;
        --good: #6fd495; --bad: #ff8f85; --tint: #1b242e } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 64rem; padding: 2rem 1rem; color: var(--ink); background: var(--paper);
       font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin-top: 2.5rem } p { color: var(--soft) }
.table { overflow-x: auto } table { border-collapse: collapse; width: 100% }
caption { text-align: left; color: var(--soft); padding: .5rem 0 }
th, td { text-align: left; padding: .55rem .75rem; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td.status { white-space: nowrap; font-weight: 600 }
.passed { color: var(--good) } .failed, .interrupted { color: var(--bad) }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem;
      overflow-x: auto; font: .85rem/1.45 ui-monospace, monospace }
a { color: inherit } code { overflow-wrap: anywhere }
"""


def html(entries: Sequence[Entry], details: dict[str, Detail], seconds: float, book: Path | None, folder: Path) -> str:
    """The page for people: a table of all notebooks and, for each failure, its cell, its error and where to look.

    Links are relative to `folder`, where the page will lie.
    """
    heading = escape(summary(entries, seconds))
    rows = "\n".join(_row(entry, details[entry.path], folder) for entry in entries)
    failures = "\n".join(_failure(entry, details[entry.path], folder) for entry in entries if entry.error)
    shown_book = f'<p><a href="{_link(book, folder)}">The book with these results</a></p>' if book else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lab run: {heading}</title><style>{_STYLE}</style></head>
<body><main><h1>Lab run</h1><p>{heading}</p>{shown_book}
<div class="table" tabindex="0" role="region" aria-label="Notebooks"><table>
<caption>Seconds are wall-clock time; USD is what the same use costs at list price.</caption>
<thead><tr><th scope="col">Notebook</th><th scope="col">Status</th><th scope="col" class="number">Seconds</th>
<th scope="col" class="number">USD</th><th scope="col">Tenant</th><th scope="col">Look at</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>
{failures}
</main></body></html>
"""


def summary(entries: Sequence[Entry], seconds: float) -> str:
    """The run in one line: `3 passed in 71 s`."""
    order: tuple[Status, ...] = ("failed", "interrupted", "not run", "waiting", "running", "passed")
    counts = [(sum(entry.status == status for entry in entries), status) for status in order]
    return f"{', '.join(f'{n} {status}' for n, status in counts if n) or 'nothing ran'} in {seconds:.0f} s"


def _row(entry: Entry, detail: Detail, folder: Path) -> str:
    seconds = "" if entry.seconds is None else f"{entry.seconds:.1f}"
    cost = "unknown" if entry.cost_usd is None else f"{entry.cost_usd:.6f}"
    alone = " <small>(runs alone)</small>" if detail.exclusive else ""
    links = ", ".join(
        f'<a href="{_link(path, folder)}" aria-label="{name} of {escape(detail.title)}">{name}</a>'
        for name, path in (("notebook", detail.executed), ("log", detail.log))
        if path.exists()
    )
    name = f"{escape(detail.title)}{alone}<br><small><code>{escape(entry.path)}</code></small>"
    status = f'<td class="status {entry.status}">{SIGNS[entry.status]} {entry.status}</td>'
    numbers = f'<td class="number">{seconds}</td><td class="number">{cost}</td>'
    return f'<tr><th scope="row">{name}</th>{status}{numbers}<td>{entry.tenant or ""}</td><td>{links}</td></tr>'


def _failure(entry: Entry, detail: Detail, folder: Path) -> str:
    failure = detail.failure
    cell = f"<p>Cell {failure.cell}</p><pre>{escape(failure.source)}</pre>" if failure and failure.source else ""
    trace = f"<pre>{escape(failure.traceback)}</pre>" if failure and failure.traceback else ""
    log = f'<p>Log: <a href="{_link(detail.log, folder)}">{escape(str(detail.log))}</a></p>'
    head = f"<h2>{escape(detail.title)}</h2><p>{escape(detail.source)}</p>"
    return f"{head}{cell}<pre>{escape(entry.error or '')}</pre>{trace}{log}"


def _link(path: Path, folder: Path) -> str:
    import os.path
    from urllib.parse import quote

    return quote(Path(os.path.relpath(path, folder)).as_posix())


def write_html(path: Path, text: str) -> None:
    """Write the page by rename."""
    _write(path, text)
