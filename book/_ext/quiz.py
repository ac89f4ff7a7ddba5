"""The `quiz` directive: questions of a bank in the page, answerable in the browser, readable without a script.

    ```{quiz} week1_aws
    ```

shows the bank `book/quizzes/week1_aws.yml`, with a heading for each lab and lecture. A second word names one of them,
such as `week1_aws/02_sagemaker_training` or `week1_aws/aws_for_ml`, and `:tag: cost` chooses items by their tag.

Every bank is checked at every build; a problem is an error with the bank's name and line, and the build exits with 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from docutils import nodes
from docutils.parsers.rst import directives
from prices import PRICE_BOOKS, Price, PriceError
from quiz_bank import BANKS, Bank, Choice, Numeric, Ordering, Section, price, read_all
from quiz_html import block
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_log: Final = logging.getLogger(__name__)


class QuizError(ValueError):
    """A page asks for questions that no bank has; the message says which."""


@cache
def _banks(root: Path) -> dict[str, Bank]:
    return read_all(root)


def check_banks(app: Sphinx) -> None:
    """Read all banks anew and report what is wrong with them."""
    _banks.cache_clear()
    for bank in _banks(Path(app.srcdir)).values():
        for problem in bank.problems:
            _log.error(problem.text, location=f"{problem.path}:{problem.line}")
            app.statuscode = 1  # a logged error alone fails only builds with -W


class Quiz(SphinxDirective):
    """Shows a bank, or the part of it that belongs to one page or has one tag."""

    required_arguments = 1
    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"tag": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """The questions; asking for what is not there is an error with the page's name and line."""
        for file in (BANKS / f"{self.arguments[0]}.yml", *PRICE_BOOKS):
            self.env.note_dependency(str(Path(self.env.srcdir) / file))
        try:
            return list(self._shown())
        except QuizError as problem:
            source, line = self.get_source_info()
            _log.error(str(problem), location=f"{source}:{line}")
            self.env.note_reread()  # or the next build, with the page unchanged, would not complain
            self.env.app.statuscode = 1
            return []

    def _shown(self) -> Iterator[nodes.Node]:
        sections = self._wanted()
        for section in sections:
            items = [item for item in section.items if self.options.get("tag") in (None, *item.tags)]
            if len(self.arguments) > 1 or "tag" in self.options:
                yield from self._block(items)
            else:
                yield self._headed(section)

    def _wanted(self) -> list[Section]:
        name, *page = self.arguments
        bank = _banks(Path(self.env.srcdir)).get(name)
        if bank is None:
            raise QuizError(f"there is no quiz bank {BANKS / name}.yml")
        sections = [section for section in bank.sections if not page or section.name == page[0]]
        tag = self.options.get("tag")
        if not any(tag in (None, *item.tags) for section in sections for item in section.items):
            raise QuizError(
                f"the bank {bank.path.name} has no item for {' '.join(page) or 'this page'} {tag or ''}".rstrip()
            )
        return sections

    def _headed(self, section: Section) -> nodes.section:
        """A section of the page with a heading and a link to the lab or lecture."""
        shown = nodes.section("", nodes.title("", section.title), names=[nodes.fully_normalize_name(section.title)])
        self.state.document.note_implicit_target(shown, shown)
        if section.page in self.env.found_docs:
            words = nodes.inline("", "", classes=["doc"])
            link = addnodes.pending_xref(
                "", words, refdomain="std", reftype="doc", reftarget=f"/{section.page}", refexplicit=False
            )
            link["refdoc"] = self.env.docname
            shown += nodes.paragraph("", "", nodes.Text("On "), link, nodes.Text("."))
        else:
            self.env.note_reread()  # the page may be there in the next build
        shown.extend(self._block(list(section.items)))
        return shown

    def _block(self, items: list[Choice | Numeric | Ordering]) -> Iterator[nodes.raw]:
        if items:
            rows = {row for item in items for row in item.prices.values()}
            yield nodes.raw("", block(items, self._prices(rows)), format="html")

    def _prices(self, rows: set[str]) -> dict[str, Price]:
        """What can be found; the rest has been reported with the bank."""
        found = {}
        for row in rows:
            try:
                found[row] = price(Path(self.env.srcdir), row)
            except PriceError:
                continue
        return found


def add_script(app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Load the quiz's style and script on pages that ask something, and on no others."""
    if 'class="quiz"' in (context.get("body") or ""):
        app.add_css_file("quiz.css")
        app.add_js_file("quiz.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and the checks."""
    app.add_directive("quiz", Quiz)
    app.connect("builder-inited", check_banks)
    app.connect("html-page-context", add_script)
    return {"version": "2", "parallel_read_safe": True}
