"""Writes the notebooks that come from a lab's source, and tells where the files on disk differ from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final, Literal

from labs.notebooks import document, executed, learner, source
from labs.notebooks.tree import LabFile

Action = Literal["unchanged", "written", "kept", "replaced"]

_COMPARED: Final = ("cell_type", "source", "metadata", "outputs", "execution_count", "id")


@dataclass(frozen=True)
class Outcome:
    """What happened to one file, and what its owner should know."""

    path: Path
    action: Action
    note: str = ""


def build(lab: LabFile, *, force: bool = False) -> list[Outcome]:
    """Bring a lab's learner notebook and committed executed notebook in line with its source.

    A learner's work is kept unless `force`, which moves it aside to `NAME.mine.ipynb` first. Raises SourceError.
    """
    parsed = source.read(lab.source)
    return [
        _build_learner(lab, document.dumps(learner.notebook(parsed, lab.name)), force),
        _write(lab.executed, document.dumps(_executed(parsed, lab))),
    ]


def differences(lab: LabFile) -> list[str]:
    """Every difference between a lab's notebooks and what its source makes, one line each. Raises SourceError."""
    parsed = source.read(lab.source)
    wanted = executed.blank(parsed, lab)
    found = _differences(lab, lab.learner, learner.notebook(parsed, lab.name))
    outputs = _read_if_there(lab.executed)
    found += _differences(lab, lab.executed, executed.with_outputs(wanted, outputs, lab.root))
    if outputs is not None and not found and executed.is_stale(outputs):
        shown = lab.shown(lab.executed)
        found.append(
            f"{shown}: its outputs come from other code than it holds. Run `lab run --only {lab.name} --save`."
        )
    return found


def save_executed(lab: LabFile, ran: Path) -> Outcome:
    """Renew the committed executed notebook from `ran`, one that papermill has just executed. Raises SourceError."""
    notebook = executed.with_outputs(executed.blank(source.read(lab.source), lab), document.read(ran), lab.root)
    return _write(lab.executed, document.dumps(notebook))


def stage_executed(lab: LabFile, ran: Path, target: Path) -> None:
    """Write the book's version of a freshly executed notebook to `target`, leaving the committed copy alone."""
    notebook = executed.with_outputs(executed.blank(source.read(lab.source), lab), document.read(ran), lab.root)
    document.write(target, document.dumps(notebook))


def _executed(parsed: source.Source, lab: LabFile) -> document.Notebook:
    return executed.with_outputs(executed.blank(parsed, lab), _read_if_there(lab.executed), lab.root)


def _read_if_there(path: Path) -> document.Notebook | None:
    """The executed notebook; None when it is missing or damaged, for it can be made again."""
    try:
        return document.read(path)
    except (FileNotFoundError, ValueError):
        return None


def _write(path: Path, text: str) -> Outcome:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return Outcome(path, "unchanged")
    document.write(path, text)
    return Outcome(path, "written")


def _build_learner(lab: LabFile, text: str, force: bool) -> Outcome:
    path = lab.learner
    if not path.exists() or path.read_text(encoding="utf-8") == text or _is_replaceable(path):
        return _write(path, text)
    if not force:
        return Outcome(
            path, "kept", "it holds somebody's work. `--force` moves that to a file beside it and writes a new one."
        )
    mine = _free_name(path)
    path.replace(mine)
    document.write(path, text)
    return Outcome(path, "replaced", f"the work in it is now {lab.shown(mine)}.")


def _is_replaceable(path: Path) -> bool:
    try:
        return learner.is_untouched(document.read(path))
    except ValueError:  # not a notebook (any more): perhaps the only copy of somebody's work
        return False


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}{f'.{n}' if n else ''}.mine.ipynb") for n in range(10_000))
    return next(name for name in names if not name.exists())


def _differences(lab: LabFile, path: Path, wanted: document.Notebook) -> list[str]:
    shown = lab.shown(path)
    if not path.exists():
        return [f"{shown}: is missing. Run `lab notebooks build`."]
    if path.read_text(encoding="utf-8") == document.dumps(wanted):
        return []
    try:
        found = document.read(path)
    except ValueError as error:
        return [f"{shown}: cannot be read ({error}). Move it away, then run `lab notebooks build`."]
    pairs = zip_longest(found["cells"], wanted["cells"])
    cells = [f"{shown}: cell {n}: {_how(a, b)}" for n, (a, b) in enumerate(pairs, start=1) if a != b]
    return cells or [f"{shown}: its metadata differ from the source's. Run `lab notebooks build`."]


def _how(found: document.Notebook | None, wanted: document.Notebook | None) -> str:
    if found is None:
        return "is missing. Run `lab notebooks build`."
    if wanted is None:
        return "is not in the source. Run `lab notebooks build`."
    parts = [part for part in _COMPARED if found.get(part) != wanted.get(part)]
    return f"{' and '.join(parts)} differ from the source. Edit the source (.py), then run `lab notebooks build`."
