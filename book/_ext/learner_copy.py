"""Puts links to the learner's notebook, without answers and outputs, below the title of every lab's page.

One downloads it; one opens it in the JupyterLab that `lab start` runs on its default port.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

_LABS: Final = "solutions/"
_DOWNLOAD: Final = "Download the notebook"
_LAUNCH: Final = "open it in JupyterLab"
_JUPYTER: Final = "http://127.0.0.1:8888/lab/tree/"
"""Of `lab start`, whose root is the folder of notebooks."""
# Before Sphinx collects the files to download (it does so at the same event, at the usual 500).
_EARLY: Final = 100
_log: Final = logging.getLogger(__name__)


def add_link(app: Sphinx, doctree: nodes.document) -> None:
    """Add the link to a lab's page; a lab without its learner's notebook is a warning."""
    name = app.env.docname
    title = next(iter(doctree.findall(nodes.title)), None)
    if not name.startswith(_LABS) or title is None:
        return
    notebook = f"notebooks/{name.removeprefix(_LABS)}.ipynb"
    if not (Path(app.srcdir) / notebook).is_file():
        _log.warning("%s is missing. Run: lab notebooks build", notebook, location=name)
        return
    paragraph = nodes.paragraph("", "", *_links(name, notebook), classes=["learner-copy"])
    title.parent.insert(title.parent.index(title) + 1, paragraph)


def _links(page: str, notebook: str) -> list[nodes.Node]:
    address = _JUPYTER + notebook.removeprefix("notebooks/")
    return [
        addnodes.download_reference("", "", nodes.Text(_DOWNLOAD), refdoc=page, reftarget=f"/{notebook}"),
        nodes.Text(", or "),
        nodes.reference("", "", nodes.Text(_LAUNCH), refuri=address),
        nodes.Text(" while "),
        nodes.literal("", "lab start"),
        nodes.Text(" runs, and answer it yourself. Here its answers are folded away."),
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("doctree-read", add_link, priority=_EARLY)
    return {"version": "1", "parallel_read_safe": True}
