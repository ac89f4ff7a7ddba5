"""The book's figures: what is committed is what their scripts draw, and it can be read in light and dark."""

from __future__ import annotations

import sys
from importlib import import_module
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "book" / "figures"
sys.path.insert(0, str(FIGURES / "src"))

import style  # noqa: E402  (the figures' folder is not a package)

MODULES = sorted(
    path.stem for path in (FIGURES / "src").glob("*.py") if "\ndef draw(" in path.read_text(encoding="utf-8")
)
PAGES = {"light": "#ffffff", "dark": "#14181e"}


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("name", MODULES)
def test_the_committed_figure_is_the_drawn_one(name: str) -> None:
    drawn = import_module(name).draw()
    path = FIGURES / f"{drawn.name}.svg"
    assert path.is_file(), f"missing: run python book/figures/src/{name}.py"
    assert path.read_text(encoding="utf-8") == drawn.svg(), f"stale: run python book/figures/src/{name}.py"


@pytest.mark.parametrize("name", MODULES)
def test_a_figure_says_what_it_shows(name: str) -> None:
    drawn = import_module(name).draw()
    root = ElementTree.fromstring(drawn.svg())
    title, about = (root.find(f"{{http://www.w3.org/2000/svg}}{tag}") for tag in ("title", "desc"))
    assert title is not None
    assert title.text
    assert about is not None
    assert len(about.text or "") > 80


@pytest.mark.parametrize("kind", style.FILLS)
def test_text_has_strong_contrast_on_its_own_fill(kind: str) -> None:
    assert contrast(*style.FILLS[kind]) >= 7


@pytest.mark.parametrize(("line", "page"), list(product((style.LINE,), PAGES)))
def test_lines_can_be_seen_on_both_pages(line: str, page: str) -> None:
    assert contrast(line, PAGES[page]) >= 3


def test_a_text_wider_than_its_box_is_refused() -> None:
    figure = style.Figure("sample", 100, 100, "title", "about")
    with pytest.raises(ValueError, match="wider than its box"):
        figure.box(0, 0, 60, 40, "much too long for it")
