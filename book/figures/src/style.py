"""The one style of the book's figures: an SVG sheet with boxes, groups, arrows, labels and simple charts.

The sheet is transparent. Every text stands on an opaque fill of its own, and lines have a middle tone, so that a
figure reads the same on a light and on a dark page. No colour carries a meaning alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Final

Point = tuple[float, float]

FILLS: Final = {
    "compute": ("#d6e6f7", "#173f66"),
    "data": ("#d9eedd", "#174d2a"),
    "network": ("#fbe9c6", "#5e3f00"),
    "model": ("#e8def6", "#432471"),
    "people": ("#e6e9ed", "#2b3540"),
    "bad": ("#f9dcd8", "#741a12"),
    "paper": ("#f4f6f8", "#2b3540"),
}
"""Kind of thing: fill and text colour (contrast 7:1 or more)."""

LINE: Final = "#7b8794"
"""Middle tone: at least 3:1 on white and on the dark theme's background."""

SERIES: Final = ("#1f6fb2", "#b35900", "#1a7f37", "#7d4bb3")
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LINE_HEIGHT: Final = 17
FOLDER: Final = Path(__file__).parents[1]


@dataclass
class Figure:
    """A sheet of `width` x `height` units; `about` is the long description for those who cannot see it."""

    name: str
    width: int
    height: int
    title: str
    about: str
    parts: list[str] = field(default_factory=list)

    def box(
        self, x: float, y: float, w: float, h: float, text: str, kind: str = "compute", *, bold: bool = True
    ) -> None:
        """A filled box with centred text, the first line bold unless told otherwise; ValueError when it overflows."""
        if _width(text, bold=bold) > w - 6:
            raise ValueError(f"{self.name}: {text!r} is wider than its box of {w:g}")
        fill, ink = FILLS[kind]
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" fill="{fill}" stroke="{ink}"/>'
        )
        self._text(x + w / 2, y + h / 2, text, ink, size=13, bold=bold)

    def group(self, x: float, y: float, w: float, h: float, label: str) -> None:
        """A dashed frame around things that belong together, with its name on the frame."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="10" fill="none" stroke="{LINE}" '
            'stroke-dasharray="6 4"/>'
        )
        self.label(x + 14 + 3.6 * len(label), y, label)

    def label(self, x: float, y: float, text: str, kind: str = "paper") -> None:
        """Small text on its own opaque pill, centred on a point."""
        fill, ink = FILLS[kind]
        lines = text.split("\n")
        w, h = 7.2 * max(map(len, lines)) + 12, LINE_HEIGHT * len(lines) + 4
        self.parts.append(
            f'<rect x="{x - w / 2:g}" y="{y - h / 2:g}" width="{w:g}" height="{h:g}" rx="4" fill="{fill}"/>'
        )
        self._text(x, y, text, ink, size=13)

    def arrow(self, *points: Point, text: str = "", dashed: bool = False, both: bool = False) -> None:
        """A line through the points with a head at its end, and its text in the middle of the longest leg."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        start = ' marker-start="url(#head)"' if both else ""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="2"{dash}{start} '
            'marker-end="url(#head)"/>'
        )
        if text:
            self.label(*_middle(points), text)

    def bar(self, x: float, y: float, w: float, h: float, series: int = 0) -> None:
        """A bar of a chart."""
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="2" fill="{SERIES[series]}"/>')

    def sheet(self, x: float, y: float, w: float, h: float) -> None:
        """An opaque panel for a chart whose texts stand on it."""
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="8" fill="{FILLS["paper"][0]}"/>')

    def curve(self, points: Sequence[Point], series: int, dash: str = "") -> None:
        """One series of a chart; `dash` tells it from others without colour."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{SERIES[series]}" stroke-width="3"{dashes}/>')

    def rule(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A thin line: an axis or a grid line."""
        self.parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{LINE}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "middle", *, bold: bool = False) -> None:
        """Text on a sheet; only for places that are opaque already."""
        self._text(x, y, text, FILLS["paper"][1], size=13, anchor=anchor, bold=bold)

    def _text(
        self, x: float, y: float, text: str, ink: str, *, size: int = 14, anchor: str = "middle", bold: bool = False
    ) -> None:
        lines = text.split("\n")
        top = y - (len(lines) - 1) * LINE_HEIGHT / 2 + size * 0.35
        for index, line in enumerate(lines):
            weight = ' font-weight="600"' if bold and index == 0 else ""
            self.parts.append(
                f'<text x="{x:g}" y="{top + index * LINE_HEIGHT:g}" fill="{ink}" font-size="{size}" '
                f'text-anchor="{anchor}"{weight}>{escape(line)}</text>'
            )

    def svg(self) -> str:
        """The figure as text, the same bytes each time."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" font-family="{FONT}">\n'
            f"<title>{escape(self.title)}</title>\n<desc>{escape(self.about)}</desc>\n"
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{LINE}"/></marker></defs>\n'
        )
        return head + "\n".join(self.parts) + "\n</svg>\n"

    def save(self) -> Path:
        """Write `book/figures/<name>.svg`."""
        path = FOLDER / f"{self.name}.svg"
        path.write_text(self.svg(), encoding="utf-8")
        return path


def _width(text: str, *, bold: bool) -> float:
    """An upper estimate for the widest usual font, in sheet units."""
    return max(len(line) * (8.0 if bold and not index else 7.0) for index, line in enumerate(text.split("\n")))


def _middle(points: Sequence[Point]) -> Point:
    legs = list(pairwise(points))
    (x1, y1), (x2, y2) = max(legs, key=lambda leg: abs(leg[0][0] - leg[1][0]) + abs(leg[0][1] - leg[1][1]))
    return (x1 + x2) / 2, (y1 + y2) / 2
