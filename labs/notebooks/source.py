"""Reads a lab's source: a Python file in jupytext's py:percent format, with line numbers kept for messages.

Format: https://jupytext.readthedocs.io/en/latest/formats-scripts.html#the-percent-format
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_MARKER: Final = re.compile(r"# %%(\s|$)")
_JUPYTEXT_KEYS: Final = frozenset({"lines_to_next_cell", "lines_to_end_of_cell_marker", "cell_marker"})

SOLUTION_TAG: Final = "solution"
PARAMETERS_TAG: Final = "parameters"
EXCLUSIVE_TAG: Final = "exclusive"


class SourceError(ValueError):
    """A lab's source cannot be read; the message names file, line and remedy."""


@dataclass(frozen=True)
class Cell:
    """One cell of a lab: its kind (`code` or `markdown`), text, metadata, and where it begins in the source file."""

    kind: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    line: int = 0

    @property
    def tags(self) -> frozenset[str]:
        """The cell's tags."""
        return frozenset(self.metadata.get("tags", ()))

    @property
    def is_code(self) -> bool:
        """True for a code cell."""
        return self.kind == "code"

    def tree(self) -> ast.Module | None:
        """The cell's syntax tree, or None for Markdown and for a cell magic such as `%%writefile`."""
        if not self.is_code or self.text.lstrip().startswith("%%"):
            return None
        return ast.parse(_without_magics(self.text))


@dataclass(frozen=True)
class Source:
    """A lab as its author wrote it."""

    path: Path
    cells: tuple[Cell, ...]

    @property
    def exclusive(self) -> bool:
        """True when the lab measures the machine and must run alone: any cell is tagged `exclusive`."""
        return any(EXCLUSIVE_TAG in cell.tags for cell in self.cells)

    @property
    def title(self) -> str:
        """The text of the first level-1 heading, or the file's name."""
        for cell in self.cells:
            if not cell.is_code and (found := re.search(r"^# (.+)$", cell.text, re.MULTILINE)):
                return found[1].strip()
        return self.path.stem


def read(path: Path) -> Source:
    """Parse the lab at `path`.

    Raises SourceError when the file is missing, is not valid Python, or holds text outside of its cells.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Source:
    """Parse a lab's text; `path` is used in messages only. Raises SourceError."""
    import jupytext

    lines = _marker_lines(text, path)
    try:
        nodes = jupytext.reads(text, fmt="py:percent").cells
    except Exception as error:  # jupytext and nbformat raise many kinds; all mean that the file is malformed
        raise SourceError(f"{path}: not a py:percent file: {error}") from error
    if len(nodes) != len(lines):
        raise SourceError(
            f"{path}: {len(lines)} cell markers but {len(nodes)} cells. Begin every cell, also the first, "
            "with `# %%` or `# %% [markdown]` at the start of a line."
        )
    cells = (_cell(node, number, line) for number, (node, line) in enumerate(zip(nodes, lines, strict=True), start=1))
    return Source(path, tuple(cells))


def _cell(node: Any, number: int, line: int) -> Cell:
    metadata = {key: value for key, value in node.metadata.items() if key not in _JUPYTEXT_KEYS}
    return Cell(node.cell_type, node.source, metadata, number, line)


def _marker_lines(text: str, path: Path) -> list[int]:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError) as error:
        raise SourceError(
            f"{path}: not valid Python: {error}. (Magics are written as comments: `# %matplotlib`.)"
        ) from error
    return [t.start[0] for t in tokens if t.type == tokenize.COMMENT and t.start[1] == 0 and _MARKER.match(t.string)]


def _without_magics(text: str) -> str:
    return "\n".join(re.sub(r"^(\s*)[%!].*$", r"\1pass", line) for line in text.splitlines())
