"""The `lab` role: a link to a lab's page, or its plain words while the book does not contain that lab.

    {lab}`lab 4 <week1_aws/04_lambda_api>`

Lectures name labs; a book may be built with only some of them.
"""

from __future__ import annotations

from typing import Any, Final

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import ReferenceRole

_LABS: Final = "solutions/"


class LabRole(ReferenceRole):
    """Renders one link; the target is the lab's folder and file name without extension."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """A reference that Sphinx resolves, or emphasised words."""
        if _LABS + self.target not in self.env.found_docs:
            self.env.note_reread()  # the lab may be there in the next build
            return [nodes.emphasis("", self.title, classes=["lab-absent"])], []
        words = nodes.inline("", self.title, classes=["doc"])
        target = f"/{_LABS}{self.target}"
        link = addnodes.pending_xref(
            "", words, refdomain="std", reftype="doc", reftarget=target, refdoc=self.env.docname, refexplicit=True
        )
        self.set_source_info(link)
        return [link], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the role."""
    app.add_role("lab", LabRole())
    return {"version": "1", "parallel_read_safe": True}
