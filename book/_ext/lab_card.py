"""Puts below the title of every lab's page when it ran last, how long that took, and what the same use costs.

A lab's own card, a table in its first cells, says what its author knows: objectives, prerequisites, minutes for a
reader, cost on a real account. This line adds what only a run can know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import run_status
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

# After the link to the learner's notebook has been put below the title (at 100), so that this line comes above it.
_EARLY: Final = 110
_log: Final = logging.getLogger(__name__)


def words(found: run_status.Result) -> str:
    """The line's text."""
    if found is run_status.UNKNOWN:
        return "Not measured yet. A run of the labs fills in when this one ran last and how long it took."
    took = run_status.duration(found.seconds)
    if found.status != "passed":
        return f"The last run, on {found.day}, ended after {took}: {found.status}. The outputs below are older."
    if not found.fresh:
        return f"Last run: {found.day}, {took} (kept with the notebook)."
    bill = "" if found.cost_usd is None else f"; the same use at list price costs {run_status.cost(found.cost_usd)}"
    return f"Last run: {found.day}, {took} on the machine that built this book{bill}."


def add_line(app: Sphinx, doctree: nodes.document) -> None:
    """Add the line to a lab's page; a report that cannot be read is a warning."""
    name = app.env.docname
    title = next(iter(doctree.findall(nodes.title)), None)
    if not name.startswith(run_status.LABS) or title is None:
        return
    run_status.remember(app.env, name)
    try:
        found = run_status.result(Path(app.srcdir), name)
    except run_status.StatusError as error:
        _log.warning("%s", error, location=name)
        return
    line = nodes.paragraph("", "", nodes.Text(words(found)), classes=["lab-run"])
    title.parent.insert(title.parent.index(title) + 1, line)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.setup_extension("run_status")
    app.connect("doctree-read", add_line, priority=_EARLY)
    return {"version": "1", "parallel_read_safe": True}
