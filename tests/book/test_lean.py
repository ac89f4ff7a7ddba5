"""Lean pages: what is used stays, what is not goes, and a second build gives the same."""

import importlib
import re
import sys
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

sys.path.insert(0, str(Path(__file__).parents[2] / "book/_ext"))
lean = importlib.import_module("lean")


@pytest.mark.parametrize(
    ("style", "left"),
    [
        (".a{x:1}.b{x:2}", ".a{x:1}"),
        (".a,.b{x:1}", ".a{x:1}"),
        (".a .b{x:1}.a>p{x:2}", ".a>p{x:2}"),
        (".a:not(.b){x:1}", ".a:not(.b){x:1}"),
        (":is(.a,.b) p{x:1}", ":is(.a,.b) p{x:1}"),
        ("p,[data-x=y]{x:1}", "p,[data-x=y]{x:1}"),
        ("@media print{.b{x:1}}", ""),
        ("@media print{.a{x:1}.b{x:2}}", "@media print{.a{x:1}}"),
        ("@keyframes b{from{x:1}}", "@keyframes b{from{x:1}}"),
        ("/*! licence */.b{x:1}/* remark */", "/*! licence */"),
        ("@font-face{font-family:f;src:url(fontawesome/fa-brands.woff2)}", ""),
    ],
)
def test_rules_for_classes_that_nobody_uses_go(style, left):
    assert lean.needed_styles(style, {"a"}) == left


def test_built_styles_name_only_icons_that_are_there(html):
    static = html / "_static"
    style = (static / "styles/pydata-sphinx-theme.css").read_text(encoding="utf-8")
    classes = set(re.findall(r"\bfa-[a-z-]+", (html / "book/start/index.html").read_text())) - {"fa-solid", "fa-lg"}
    drawn = TTFont(static / "icons.woff").getBestCmap()
    for name in classes:
        (icon,) = re.findall(rf"\.{name}:before\{{content:\"(.)\"", style)
        assert ord(icon) in drawn


def test_what_is_not_used_is_not_in_the_book(html):
    static = html / "_static"
    assert not [*static.rglob("*.map"), *static.rglob("fontawesome*.js"), *static.rglob("*.ttf")]
    assert "searchindex.js" not in (html / "book/start/index.html").read_text()
    assert "searchindex.js" in (html / "search.html").read_text()
