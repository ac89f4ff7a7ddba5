"""Makes the executed notebook, which the book shows: the whole lab with its outputs, and its answers folded away.

`blank` is what `lab run` executes. `with_outputs` joins it with outputs of an earlier or fresh run, cell by cell, and
takes out what belongs to one machine. The committed copy remembers the code that its outputs came from, so `--check`
can tell a stale page from a fresh one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from labs.notebooks import document
from labs.notebooks.learner import has_answer, without_markers
from labs.notebooks.source import Cell, Source
from labs.notebooks.tree import LabFile

# The tag by which MyST-NB folds a cell; text is folded by HTML that Jupyter and the book both show.
_FOLDED: Final = "hide-cell"
_FOLDED_TEXT: Final = "<details>\n<summary>Answer</summary>\n\n{}\n\n</details>"
_WIDGET: Final = "application/vnd.jupyter.widget-view+json"


def blank(source: Source, lab: LabFile) -> document.Notebook:
    """The lab with its answers and without outputs."""
    return document.make([_cell(cell) for cell in source.cells], source=f"solutions/{lab.name}.py")


def _cell(cell: Cell) -> dict[str, Any]:
    if not has_answer(cell):
        make = document.code if cell.is_code else document.markdown
        return make(cell.text, dict(cell.metadata))
    if not cell.is_code:
        return document.markdown(_FOLDED_TEXT.format(cell.text), dict(cell.metadata))
    metadata = {**cell.metadata, "tags": [*cell.metadata.get("tags", []), _FOLDED]}
    return document.code(without_markers(cell.text), metadata)


def with_outputs(new: document.Notebook, ran: document.Notebook | None, root: Path) -> document.Notebook:
    """`new` with the outputs that `ran` holds for cells of the same content.

    `ran` is an executed notebook, fresh from papermill or the committed one; the code its outputs came from is
    remembered in `metadata.lab.ran`, so that stale outputs can be told.
    """
    if ran is None:
        return new
    runs = {cell.get("id"): cell.get("outputs", []) for cell in ran["cells"] if cell.get("execution_count")}
    again = [cell for cell in new["cells"] if cell["cell_type"] == "code" and cell["id"] in runs]
    for number, cell in enumerate(again, start=1):
        cell["execution_count"] = number
        cell["outputs"] = _portable(runs[cell["id"]], number, root)
    ran_code = ran["metadata"].get(document.LAB_KEY, {}).get("ran") or _fresh_code(ran)
    if ran_code:
        new["metadata"][document.LAB_KEY]["ran"] = ran_code
    if measured := _measured(ran):
        new["metadata"][document.LAB_KEY]["run"] = measured
    return new


def _measured(ran: document.Notebook) -> dict[str, Any] | None:
    """How long the run took and on which day, for the book: papermill's own record, or what was kept of it."""
    fresh = ran["metadata"].get("papermill", {})
    if not fresh.get("duration"):
        kept: dict[str, Any] | None = ran["metadata"].get(document.LAB_KEY, {}).get("run")
        return kept
    return {"seconds": round(fresh["duration"], 1), "day": fresh["end_time"][:10]}


def _fresh_code(ran: document.Notebook) -> str | None:
    return document.code_fingerprint(ran) if document.has_outputs(ran) else None


def is_stale(notebook: document.Notebook) -> bool:
    """True when the notebook's outputs do not come from the code it holds."""
    return bool(notebook["metadata"][document.LAB_KEY].get("ran") != document.code_fingerprint(notebook))


def _portable(outputs: list[dict[str, Any]], number: int, root: Path) -> list[dict[str, Any]]:
    """Outputs without paths of this machine, overwritten progress, and widgets (they need a CDN)."""
    kept: list[dict[str, Any]] = []
    for output in outputs:
        if output["output_type"] == "stream":
            _add_stream(kept, output, root)
        elif _WIDGET not in output.get("data", {}):
            kept.append(_portable_data(output, number, root))
    return kept


def _add_stream(kept: list[dict[str, Any]], output: dict[str, Any], root: Path) -> None:
    text = document.joined(output["text"])
    if kept and kept[-1].get("name") == output["name"]:
        text = document.joined(kept.pop()["text"]) + text
    lines = _last_of_overwritten(_without_paths(text, root)).splitlines(keepends=True)
    kept.append({"output_type": "stream", "name": output["name"], "text": lines})


def _last_of_overwritten(text: str) -> str:
    return re.sub(r"^[^\n]*\r(?=[^\n])", "", text.replace("\r\n", "\n"), flags=re.MULTILINE)


def _portable_data(output: dict[str, Any], number: int, root: Path) -> dict[str, Any]:
    output = {key: value for key, value in output.items() if key != "transient"}
    if "execution_count" in output:
        output["execution_count"] = number
    data = output.get("data", {})
    for kind in [kind for kind in data if kind.startswith("text/")]:
        data[kind] = _without_paths(document.joined(data[kind]), root).splitlines(keepends=True)
    return output


def _without_paths(text: str, root: Path) -> str:
    return text.replace(str(root), ".").replace(str(Path.home()) + "/", "~/")
