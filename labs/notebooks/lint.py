"""The anatomy of a lab, as rules: what every notebook must have, said with file, line, cell and what to do.

Each rule is a function from a `Source` to findings (the cell, or None for the whole lab, and the remedy).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labs.notebooks.learner import has_answer, without_answers
from labs.notebooks.source import PARAMETERS_TAG, SOLUTION_TAG, Cell, Source, SourceError

CELLS: Final = range(20, 36)
MAX_LINES: Final = 20
SECTIONS: Final = range(3, 6)
# Code cells in a row without a word between them; the set-up (parameters, import, preflight) needs three.
MAX_CODE_RUN: Final = 3

# A title says what the learner will do. Add a verb to the file when a good title needs it.
VERBS: Final = frozenset((Path(__file__).parent / "verbs.txt").read_text(encoding="utf-8").split())

# The parts of the card, and the words that show each.
_CARD: Final = {
    "objectives": r"objectives?|you will",
    "prerequisites": r"prerequisites?|before you start|you need",
    "minutes": r"\bminutes?\b|\bmin\b",
    "cost (local and real)": r"\bcosts?\b",
    "when it last ran on a real account, or never": r"\breal (account|run)\b|last ran",
}

# Headings that are not among the three to five sections.
_FRAME: Final = re.compile(
    r"set.?up|get ready|ready|before you start|exercises?\b|your turn|check yourself|spend|the bill"
    r"|what (it|this|you|that)\b.*(cost|spen[dt])|clean.?up|leave nothing|what you (have )?learn|next|further reading"
    r"|quiz|objectives|prerequisites",
    re.IGNORECASE,
)
_PLACEHOLDER: Final = re.compile(r"<your[-_ ]|\bYOUR_[A-Z]|\bTODO\b|\bFIXME\b|\bchange[-_]me\b", re.IGNORECASE)
_DOLLAR: Final = re.compile(r"(?<![\\$])\$(?!\$)")
_PLOTTING: Final = frozenset({"plots", "plt"})

Finding = tuple[Cell | None, str]
Rule = Callable[[Source], Iterator[Finding]]


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to mend: where it is and what to do. Line and cell are 0 when it concerns the whole lab."""

    path: Path
    line: int
    cell: int
    text: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}: cell {self.cell}" if self.cell else str(self.path)
        return f"{where}: {self.text}"


def check(source: Source) -> list[Problem]:
    """Every problem of a lab, in the order of its cells. Errors of syntax come alone: rules need code that parses."""
    broken = list(_syntax(source))
    findings = broken or [finding for rule in _RULES for finding in rule(source)]
    return sorted(_problem(source.path, cell, text) for cell, text in findings)


def _problem(path: Path, cell: Cell | None, text: str) -> Problem:
    return Problem(path, cell.line if cell else 0, cell.number if cell else 0, text)


def parameters(source: Source) -> Iterator[Finding]:
    """One cell tagged `parameters` sets `target = "local"`; without it papermill runs the default without a word."""
    tagged = [cell for cell in source.cells if PARAMETERS_TAG in cell.tags]
    advice = 'Write exactly one: `# %% tags=["parameters"]` with `target = "local"`, right after the card.'
    if not tagged:
        yield None, f"no cell is tagged `parameters`. {advice}"
    for cell in tagged[1:]:
        yield cell, f"a second cell tagged `parameters` (the first is on line {tagged[0].line}). {advice}"
    if tagged and not any(_sets_target(node) for node in _body(tagged[0])):
        yield tagged[0], 'the parameters cell does not set the target. Add `target = "local"`.'


def _sets_target(node: ast.stmt) -> bool:
    match node:
        case (
            ast.Assign(targets=[ast.Name(id="target")], value=ast.Constant(value="local"))
            | ast.AnnAssign(target=ast.Name(id="target"), value=ast.Constant(value="local"))
        ):
            return True
        case _:
            return False


def title(source: Source) -> Iterator[Finding]:
    """The first cell is Markdown with the one level-1 heading, which starts with a verb."""
    first = source.cells[0]
    titles = _headings(first, 1)
    if not titles:
        yield first, "the first cell is not a title. Begin with `# %% [markdown]` and `# # Verb what`."
    for cell in source.cells[1:]:
        if _headings(cell, 1):
            yield cell, "a second level-1 heading. Use `##` for sections."
    word = re.split(r"[\s,:.!?]+", titles[0])[0] if titles else ""
    if titles and word.lower() not in VERBS:
        verbs = "labs/notebooks/verbs.txt"
        yield first, f"the title begins with {word!r}. Begin with a verb: what will the learner do? (Verbs: {verbs})"


def card(source: Source) -> Iterator[Finding]:
    """Before the first code cell, a card: objectives, prerequisites, minutes, cost, last real run."""
    text = "\n".join(cell.text for cell in _before_first_code(source))
    missing = [part for part, words in _CARD.items() if not re.search(words, text, re.IGNORECASE)]
    if missing:
        yield source.cells[0], f"the card lacks: {', '.join(missing)}. Say it in Markdown before the first code cell."


def one_import_cell(source: Source) -> Iterator[Finding]:
    """Imports stand together in one cell (those in functions, answers and written files aside)."""
    cells = [cell for cell in source.cells if SOLUTION_TAG not in cell.tags]
    importing = [cell for cell in cells if any(isinstance(node, ast.Import | ast.ImportFrom) for node in _body(cell))]
    if not importing:
        yield None, "no cell imports anything. Add one import cell after the parameters cell."
    for cell in importing[1:]:
        yield cell, f"a second import cell. Move its imports to cell {importing[0].number} (line {importing[0].line})."


def one_preflight(source: Source) -> Iterator[Finding]:
    """One cell connects: `lab = labs.connect(target, …)` tells at once whether everything needed is there."""
    connecting = [cell for cell in source.cells if "connect" in _calls(cell)]
    if not connecting:
        yield None, "no preflight. Add one cell with `lab = labs.connect(target, lab=…)` after the imports."
    for cell in connecting[1:]:
        yield cell, f"a second connect. Use the `lab` of cell {connecting[0].number} (line {connecting[0].line})."


def size(source: Source) -> Iterator[Finding]:
    """20 to 35 cells, each code cell at most 20 lines."""
    if (count := len(source.cells)) not in CELLS:
        yield None, f"{count} cells; a lab has {CELLS.start} to {CELLS.stop - 1}. Split the lab, or merge small cells."
    for cell in source.cells:
        if cell.is_code and (lines := len(cell.text.splitlines())) > MAX_LINES:
            yield cell, f"{lines} lines; a code cell has at most {MAX_LINES}. Split it, or move a helper to `labs`."


def sections(source: Source) -> Iterator[Finding]:
    """Three to five level-2 sections beside the frame (set-up, exercises, spend, clean-up, what you learned)."""
    titles = [text for cell in source.cells for text in _headings(cell, 2) if not _FRAME.match(text)]
    if len(titles) not in SECTIONS:
        wanted = f"{SECTIONS.start} to {SECTIONS.stop - 1}"
        yield None, f"{len(titles)} sections ({', '.join(titles) or 'none'}); a lab has {wanted} `##` sections."


def text_before_code(source: Source) -> Iterator[Finding]:
    """Every code cell is led by text; at most three code cells follow each other."""
    run = MAX_CODE_RUN
    for cell in source.cells:
        run = run + 1 if cell.is_code else 0
        if run == MAX_CODE_RUN + 1:
            yield cell, f"no text before this code, or {run} code cells in a row. Say first what the code does and why."


def no_sleep(source: Source) -> Iterator[Finding]:
    """Labs wait on conditions, never on the clock."""
    for cell in source.cells:
        if "sleep" in _calls(cell):
            yield cell, "sleeps. Wait for the condition instead: `labs.wait_until(condition, …)` or the SDK's waiter."


def no_placeholders(source: Source) -> Iterator[Finding]:
    """Nothing for the learner to fill in before the notebook runs: names are derived."""
    for cell in source.cells:
        if found := _PLACEHOLDER.search(cell.text):
            yield cell, f"a placeholder to edit ({found[0]!r}). Derive the name (`lab.name(…)`), or drop it."


def dollars(source: Source) -> Iterator[Finding]:
    """Two dollar signs in one paragraph become a formula in Jupyter."""
    for cell in source.cells:
        if not cell.is_code and any(len(_DOLLAR.findall(block)) > 1 for block in _prose(cell.text)):
            yield cell, r"two `$` in a paragraph: Jupyter shows what is between them as a formula. Write `\$` or `USD`."


def _prose(text: str) -> list[str]:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL).split("\n\n")


def images(source: Source) -> Iterator[Finding]:
    """A cell that plots carries its own alt text in its metadata."""
    plotting = [cell for cell in source.cells if _plots(cell)]
    counts = Counter(alt_text(cell.metadata) for cell in plotting)
    for cell in plotting:
        alt = alt_text(cell.metadata)
        if not alt:
            yield cell, 'no alt text. Write `# %% mystnb={"image": {"alt": "what a reader should see"}}`.'
        elif counts[alt] > 1:
            yield cell, "the same alt text as another plot. Say what is to be seen in this one."


def alt_text(metadata: dict[str, object]) -> str:
    """The alt text in a cell's metadata (`mystnb: {image: {alt: …}}`), or nothing."""
    settings = metadata.get("mystnb")
    image = settings.get("image") if isinstance(settings, dict) else None
    return str(image.get("alt", "")).strip() if isinstance(image, dict) else ""


def _plots(cell: Cell) -> bool:
    tree = cell.tree()
    return tree is not None and any(_is_plot_call(node) for node in ast.walk(tree))


def _is_plot_call(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=name)) | ast.Attribute(value=ast.Attribute(attr=name)):
            return name in _PLOTTING
        case _:
            return False


def spend(source: Source) -> Iterator[Finding]:
    """The learner sees what the lab has used."""
    if not any("spend" in _calls(cell) for cell in source.cells):
        yield None, "never shows the spend. Add a cell with `lab.spend()` before the clean-up."


def clean_up(source: Source) -> Iterator[Finding]:
    """A clean-up section whose code removes everything and asserts that nothing is left."""
    cells = [cell for cell in source.cells if "cleanup" in _calls(cell)]
    if not cells:
        yield None, "no clean-up. Add a section `## Clean up` with `lab.cleanup()` and `assert not lab.leftovers()`."
        return
    if not any(_asserts_nothing_left(cell) for cell in source.cells if cell.number >= cells[-1].number):
        yield cells[-1], "the clean-up does not prove itself. Add `assert not lab.leftovers()`."
    if any(has_answer(cell) for cell in cells):
        yield cells[-1], "the clean-up is part of an answer, so a learner's notebook would not clean up."


def _asserts_nothing_left(cell: Cell) -> bool:
    return "leftovers" in _calls(cell) and any(isinstance(node, ast.Assert) for node in _body(cell))


def ending(source: Source) -> Iterator[Finding]:
    """The lab ends with what was learned and where to read on."""
    text = "\n".join(cell.text for cell in source.cells if not cell.is_code)
    for words, heading in (
        (r"^## what you (have )?learn", "## What you learned"),
        (r"further reading", "Further reading"),
    ):
        if not re.search(words, text, re.IGNORECASE | re.MULTILINE):
            yield source.cells[-1], f"no part called `{heading}` at the end."


def _syntax(source: Source) -> Iterator[Finding]:
    if not source.cells:
        yield None, "no cells. Begin every cell with `# %%` or `# %% [markdown]`."
    for cell in source.cells:
        try:
            cell.tree()
            without_answers(cell, source.path)
        except SyntaxError as error:
            yield cell, f"not valid Python: {error.msg} (line {error.lineno} of the cell)."
        except SourceError as error:
            yield cell, str(error).split(": ", 2)[-1]


def _body(cell: Cell) -> list[ast.stmt]:
    tree = cell.tree()
    return tree.body if tree else []


def _calls(cell: Cell) -> set[str]:
    tree = cell.tree()
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    attributes = {func.attr for func in called if isinstance(func, ast.Attribute)}
    return attributes | {func.id for func in called if isinstance(func, ast.Name)}


def _headings(cell: Cell, level: int) -> list[str]:
    return [] if cell.is_code else re.findall(rf"^#{{{level}}} +(.+)$", cell.text, re.MULTILINE)


def _before_first_code(source: Source) -> list[Cell]:
    first_code = next((cell.number for cell in source.cells if cell.is_code), len(source.cells) + 1)
    return [cell for cell in source.cells if cell.number < first_code]


_RULES: Final[tuple[Rule, ...]] = (
    parameters,
    title,
    card,
    one_import_cell,
    one_preflight,
    size,
    sections,
    text_before_code,
    no_sleep,
    no_placeholders,
    dollars,
    images,
    spend,
    clean_up,
    ending,
)
