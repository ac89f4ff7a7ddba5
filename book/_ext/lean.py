"""Takes out of the built pages what they carry and do not use, so that they are small and paint at once.

The theme draws its dozen icons with a script of 1.5 MB, sends every rule of Bootstrap and of an icon font with every
page, and loads the search index where nobody searches. After a build, the icon font holds only what the styles name,
rules for classes that occur in no page and no script are gone, and only the search page loads the index.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import tinycss2
from fontTools.subset import Options, Subsetter, load_font, save_font
from sphinx.application import Sphinx

_ICON_FONT: Final = "vendor/fontawesome/webfonts/fa-solid-900.ttf"
_THEME_STYLE: Final = "styles/pydata-sphinx-theme.css"
_STYLES: Final = (_THEME_STYLE, "styles/sphinx-book-theme.css", "sphinx-design*.css", "mystnb*.css")
_MARK: Final = "/* Only what pages of this book need. */\n"
_ICONS: Final = "icons.woff"
_SCRIPT: Final = r"[ \t]*<script [^>]*src=\"[^\"]*({})\.js[^\"]*\"></script>\n?"
_ICON_SCRIPT_TAG: Final = re.compile(_SCRIPT.format("fontawesome"))
_UNUSED_SCRIPTS: Final = re.compile(_SCRIPT.format("fontawesome|searchtools|language_data|searchindex"))
_CLASSES: Final = re.compile(r"class=\"([^\"]*)\"")
_WORD: Final = re.compile(r"[A-Za-z_][\w-]+")
_GROUP: Final = re.compile(r"\([^()]*\)")
_CLASS: Final = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
_ICON: Final = re.compile("[\\ue000-\\uf8ff]")  # icon fonts live in Unicode's private area
_FONT_FILES: Final = re.compile(r"src:[^;}]+")
_DEAD_FILES: Final = ("**/*.map", "vendor/fontawesome/**/*.*", "scripts/fontawesome.js*")


def make_lean(app: Sphinx, exception: Exception | None) -> None:
    """Work on the finished pages."""
    if exception or app.builder.format != "html":
        return
    static, original = Path(app.outdir) / "_static", _theme_static(app)
    if original is None:
        return
    pages = [path for path in sorted(Path(app.outdir).rglob("*.html")) if static not in path.parents]
    used = set(_used_classes(pages))
    for page in pages:
        _drop_scripts(page)
    used.update(_words_of_scripts(static))
    for style in (path for pattern in _STYLES for path in static.glob(pattern)):
        whole = _whole_style(style, Path(app.doctreedir) / "lean" / style.name)
        style.write_text(_MARK + needed_styles(whole, used), encoding="utf-8")
    needed = (static / _THEME_STYLE).read_text(encoding="utf-8")
    _write_icons(original / _ICON_FONT, {ord(icon) for icon in _ICON.findall(needed)}, static / _ICONS)
    for pattern in _DEAD_FILES:
        for path in static.glob(pattern):
            path.unlink(missing_ok=True)


def _theme_static(app: Sphinx) -> Path | None:
    """Where the theme's own files lie; in the output the icons' script is gone after the first build."""
    theme = app.builder.theme  # type: ignore[attr-defined]  # only builders of HTML have one, and no other is used
    folders = [Path(folder) / "static" for folder in theme.get_theme_dirs()]
    return next((folder for folder in folders if (folder / _THEME_STYLE).is_file()), None)


def _whole_style(style: Path, copy: Path) -> str:
    """The style sheet as its package wrote it; `copy` keeps it for builds that find their own last result."""
    text = style.read_text(encoding="utf-8")
    if text.startswith(_MARK):
        return copy.read_text(encoding="utf-8") if copy.is_file() else text
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    return text


def _drop_scripts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    unused = _ICON_SCRIPT_TAG if page.name == "search.html" else _UNUSED_SCRIPTS
    lean = unused.sub("", text)
    if lean != text:
        page.write_text(lean, encoding="utf-8")


def _used_classes(pages: Iterable[Path]) -> Iterator[str]:
    for page in pages:
        for names in _CLASSES.findall(page.read_text(encoding="utf-8")):
            yield from names.split()


def _words_of_scripts(static: Path) -> Iterator[str]:
    """Every word of the scripts that are left: any may be a class that a script adds."""
    for path in static.rglob("*.js"):
        if path.name != "fontawesome.js" and "locales" not in path.parts:
            yield from _WORD.findall(path.read_text(encoding="utf-8"))


def _write_icons(font: Path, codes: Collection[int], target: Path) -> None:
    """The icons `codes` of the theme's font, and no others."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells each step, into the build's output
    options = Options(flavor="woff", layout_features=[], notdef_outline=True)
    whole = load_font(str(font), options)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=codes)
    subsetter.subset(whole)
    save_font(whole, str(target), options)


def needed_styles(style: str, used: Collection[str]) -> str:
    """`style` without rules for classes that nobody uses, and with the small icon font in place of the whole one."""
    rules = tinycss2.parse_stylesheet(style, skip_whitespace=True)
    return "".join(_needed(rules, used))


def _needed(rules: Iterable[Any], used: Collection[str]) -> Iterator[str]:
    for rule in rules:
        if rule.type == "comment" and rule.value.startswith("!"):  # a licence
            yield rule.serialize()
        elif rule.type == "qualified-rule":
            if selectors := _needed_selectors(tinycss2.serialize(rule.prelude), used):
                yield f"{selectors}{{{tinycss2.serialize(rule.content)}}}"
        elif rule.type == "at-rule" and rule.at_keyword in ("media", "supports", "layer") and rule.content is not None:
            inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            if body := "".join(_needed(inner, used)):
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{body}}}"
        elif rule.type == "at-rule":
            yield _font_face(rule.serialize()) if rule.at_keyword == "font-face" else rule.serialize()


def _font_face(rule: str) -> str:
    """The solid icons from our small font; outlined icons and brands nowhere."""
    if "fontawesome" not in rule:
        return rule
    return _FONT_FILES.sub(f'src:url(../{_ICONS}) format("woff")', rule) if "fa-solid" in rule else ""


def _needed_selectors(selectors: str, used: Collection[str]) -> str:
    return ",".join(one for one in _split(selectors) if _can_match(one, used))


def _split(selectors: str) -> list[str]:
    """At commas, except within brackets."""
    parts, depth = [""], 0
    for sign in selectors:
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _can_match(selector: str, used: Collection[str]) -> bool:
    """False when the selector demands a class that occurs nowhere; what stands in brackets is left in peace."""
    if "\\" in selector:
        return True  # an escaped name; rare
    bare = selector
    while (inner := _GROUP.sub("", bare)) != bare:
        bare = inner
    return all(name in used for name in _CLASS.findall(bare))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx, after everything that writes pages."""
    app.connect("build-finished", make_lean, priority=900)
    return {"version": "1", "parallel_read_safe": True}
