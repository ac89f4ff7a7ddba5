"""What a person sees while notebooks run: a live table in a terminal, a line per event anywhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from labs.run.child import State
from labs.run.report import SIGNS, Detail, Entry, Status

_COLOURS: Final[dict[Status, str]] = {
    "waiting": "dim",
    "running": "cyan",
    "passed": "green",
    "failed": "bold red",
    "interrupted": "yellow",
    "not run": "dim",
}
_BAR_CELLS: Final = 20
_ERROR_LINES: Final = 12


class Display:
    """Shows entries as they change. Use as a context manager."""

    def __init__(self, entries: Sequence[Entry], console: Console) -> None:
        self._console = console
        self._rows = {entry.path: (entry, State(0, 0), time.monotonic()) for entry in entries}
        # Live redraws from its own thread, so seconds go on while nothing happens.
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=False)

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, entry: Entry, state: State) -> None:
        """Take in a change."""
        before, _state, began = self._rows[entry.path]
        changed = before.status != entry.status
        self._rows[entry.path] = (entry, state, time.monotonic() if changed else began)
        if changed and not self._console.is_terminal:
            seconds = "" if entry.seconds is None or entry.status == "running" else f" in {entry.seconds:.1f} s"
            self._console.print(f"{SIGNS[entry.status]} {entry.path}: {entry.status}{seconds}", soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for entry, state, began in self._rows.values():
            running = entry.status == "running"
            seconds = time.monotonic() - began if running else entry.seconds
            table.add_row(
                Text(SIGNS[entry.status], style=_COLOURS[entry.status]),
                entry.path,
                Text(_progress(state) if running else entry.status, style=_COLOURS[entry.status]),
                "" if seconds is None else f"{seconds:.0f} s",
            )
        return table


def _progress(state: State) -> str:
    if not state.cells or not state.cell:
        return "starting its kernel"
    done = round(_BAR_CELLS * (state.cell - 1) / state.cells)
    return f"{'━' * done}{'╌' * (_BAR_CELLS - done)} cell {state.cell} of {state.cells}"


def failure(entry: Entry, detail: Detail) -> Panel:
    """A failing notebook: where, the cell's source, the error, and the log."""
    parts: list[Text | Syntax] = [Text(detail.source, style="bold")]
    if detail.failure and detail.failure.source:
        parts.append(Syntax(detail.failure.source, "python", theme="ansi_dark", word_wrap=True))
    parts.append(Text(_shortened(entry.error or ""), style="red"))
    parts.append(Text(f"Log: {os.path.relpath(detail.log)}"))
    return Panel(Group(*parts), title=Text(entry.path), title_align="left", border_style="red")


def _shortened(error: str) -> str:
    lines = error.splitlines()
    return "\n".join(lines[:_ERROR_LINES]) + ("\n…" if len(lines) > _ERROR_LINES else "")
