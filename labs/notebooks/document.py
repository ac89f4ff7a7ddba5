"""The notebook format: makes, reads, writes and fingerprints .ipynb files (nbformat 4.5).

Format: https://nbformat.readthedocs.io/en/latest/format_description.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

Notebook = dict[str, Any]

# Generic on purpose: a Python version here would make the bytes depend on who generated the file.
_KERNEL: Final = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_LANGUAGE: Final = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}

# Our own entry in the notebook's metadata.
LAB_KEY: Final = "lab"


def make(cells: Sequence[dict[str, Any]], **lab: Any) -> Notebook:
    """A notebook of `cells` with the kernel and format this project fixes; `lab` is kept in its metadata."""
    metadata = {"kernelspec": _KERNEL, "language_info": _LANGUAGE, LAB_KEY: lab}
    return {
        "cells": _with_ids([dict(cell) for cell in cells]),
        "metadata": metadata,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def code(text: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """A code cell without outputs."""
    return {"cell_type": "code", "execution_count": None, "metadata": metadata, "outputs": [], "source": text}


def markdown(text: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """A Markdown cell."""
    return {"cell_type": "markdown", "metadata": metadata, "source": text}


def _with_ids(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ids come from content, so the same source makes the same bytes; a repeated cell is told apart by its count."""
    seen: dict[str, int] = {}
    for cell in cells:
        key = f"{cell['cell_type']}\0{cell['source']}"
        seen[key] = seen.get(key, 0) + 1
        cell["id"] = hashlib.sha256(f"{key}\0{seen[key]}".encode()).hexdigest()[:12]
    return cells


def dumps(notebook: Notebook) -> str:
    """The notebook as text, the same for the same content: sorted keys, one line of source per line."""
    on_disk = {**notebook, "cells": [{**cell, "source": _lines(cell["source"])} for cell in notebook["cells"]]}
    return json.dumps(on_disk, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read(path: Path) -> Notebook:
    """Read a notebook, with every cell's source joined to one string. Raises OSError or ValueError (not a notebook)."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError(f"{path} is not a notebook: it has no list of cells")  # noqa: TRY004  # callers catch ValueError
    for cell in notebook["cells"]:
        cell["source"] = joined(cell.get("source", ""))
    return notebook


def write(path: Path, text: str) -> None:
    """Write by rename, so that a reader (or Ctrl-C) never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def joined(text: str | list[str]) -> str:
    """Multi-line strings of the format as one string."""
    return text if isinstance(text, str) else "".join(text)


def fingerprint(cells: Iterable[dict[str, Any]]) -> str:
    """A hash of what the cells say: their kinds and sources, not their outputs or ids."""
    content = [[cell["cell_type"], joined(cell["source"])] for cell in cells]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def code_fingerprint(notebook: Notebook) -> str:
    """A hash of the code cells alone: when it changes, the outputs are stale."""
    return fingerprint(cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def has_outputs(notebook: Notebook) -> bool:
    """True when any cell has been run."""
    return any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
