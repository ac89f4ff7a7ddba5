"""Takes out of every page what could load code from the net: thebe, which Jupyter Book adds even when it is off."""

from __future__ import annotations

from typing import Any, Final

from sphinx.application import Sphinx

_UNWANTED: Final = "thebe"
# After sphinx_thebe has added its scripts (at the usual 500).
_LATE: Final = 900


def _is_wanted(asset: Any) -> bool:
    attributes = getattr(asset, "attributes", {})
    words = (str(getattr(asset, "filename", asset)), str(attributes.get("body", "")), str(attributes.get("type", "")))
    return not any(_UNWANTED in word.lower() for word in words)


def drop_thebe(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Drop thebe's scripts and styles from a page's head."""
    for name in ("script_files", "css_files"):
        context[name] = [asset for asset in context.get(name, []) if _is_wanted(asset)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("html-page-context", drop_thebe, priority=_LATE)
    return {"version": "1", "parallel_read_safe": True}
