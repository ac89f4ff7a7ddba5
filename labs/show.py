"""Showing things: HTML in a notebook, plain text in a terminal, the same words in both."""

from __future__ import annotations

import sys
import time
from html import escape
from types import TracebackType
from typing import Any, Final

_SYMBOLS: Final = {"right": "✔", "wrong": "✘", "not attempted": "○", "note": "i", "problem": "!"}
_COLOURS: Final = {
    "right": "#1a7f37", "wrong": "#b35900", "not attempted": "#57606a", "note": "#0a5fb4", "problem": "#b35900",
}  # fmt: skip
_REDRAW_SECONDS: Final = 0.2


def in_notebook() -> bool:
    """Whether output goes to a notebook (a kernel, not a terminal)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def symbol(state: str) -> str:
    """The sign of a state; always shown together with its word, so that colour carries nothing alone."""
    return _SYMBOLS[state]


def note(text: str, state: str = "note") -> None:
    """Print one friendly line."""
    show(f"{symbol(state)} {text}", callout(state, "", text))


def show(text: str, html: str) -> None:
    """Display now: `html` in a notebook (with `text` as its plain form), `text` elsewhere."""
    if not in_notebook():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        return
    _display({"text/plain": text, "text/html": html})


def callout(state: str, title: str, body: str) -> str:
    """An HTML box: symbol, word, message. It takes its text colour from the page, light or dark."""
    heading = f"<strong>{symbol(state)} {escape(title)}</strong> " if title else f"<strong>{symbol(state)}</strong> "
    return (
        f'<div role="status" style="border-left:4px solid {_COLOURS[state]};padding:.35em .8em;margin:.3em 0">'
        f"{heading}{escape(body)}</div>"
    )


def details(summary: str, body: str) -> str:
    """An HTML box that is closed until somebody opens it."""
    return f"<details><summary>{escape(summary)}</summary><p>{escape(body)}</p></details>"


def table(columns: list[str], rows: list[list[str]], caption: str = "") -> str:
    """A plain HTML table with header cells."""
    head = "".join(f'<th scope="col" style="text-align:left">{escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def text_table(columns: list[str], rows: list[list[str]]) -> str:
    """The same table as aligned text."""
    widths = [max(len(row[index]) for row in [columns, *rows]) for index in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [columns, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def _display(bundle: dict[str, str], handle: Any = None) -> Any:
    from IPython.display import display

    if handle is not None:
        handle.update(bundle, raw=True)
        return handle
    return display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]  # untyped in IPython


class Progress:
    """A progress bar with words: one line, redrawn in place; the last state stays.

    Use it as a context manager. `total` is in any unit; None means that the end is not known.
    """

    def __init__(self, label: str, total: float | None = None, *, quiet: bool = False) -> None:
        self._label = label
        self._total = total
        self._done = 0.0
        self._detail = ""
        self._started = time.monotonic()
        self._drawn = 0.0
        self._handle: Any = None
        self._live = not quiet and (in_notebook() or sys.stderr.isatty())

    def __enter__(self) -> Progress:
        self._draw("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw("stopped" if error else "done")
        if self._live and self._handle is None:
            sys.stderr.write("\n")

    def update(self, done: float | None = None, detail: str | None = None) -> None:
        """Say how far it is (in the unit of `total`) and what is going on. Cheap to call often."""
        self._done = self._done if done is None else done
        self._detail = self._detail if detail is None else detail
        if time.monotonic() - self._drawn >= _REDRAW_SECONDS:
            self._draw("running")

    def _draw(self, state: str) -> None:
        self._drawn = time.monotonic()
        if not self._live:
            return
        if in_notebook():
            self._handle = _display({"text/plain": self._text(state), "text/html": self._html(state)}, self._handle)
            return
        sys.stderr.write(f"\r\x1b[2K{self._text(state)}")
        sys.stderr.flush()

    def _text(self, state: str) -> str:
        seconds = time.monotonic() - self._started
        share = f" {min(1.0, self._done / self._total):4.0%}" if self._total else ""
        detail = f" · {self._detail}" if self._detail else ""
        return f"{self._label}:{share} {state}, {seconds:.0f} s{detail}"

    def _html(self, state: str) -> str:
        if state == "running" and self._total:
            bar = f'<progress max="{self._total:g}" value="{min(self._done, self._total):g}"></progress> '
        else:
            bar = ""
        return f'<div role="status">{bar}{escape(self._text(state))}</div>'
