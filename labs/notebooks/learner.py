"""Makes the learner's notebook: answers out, stubs in, nothing run.

Two markers only. A cell tagged `solution` is dropped. Lines between `# BEGIN SOLUTION` and `# END SOLUTION` become a
stub:

    # BEGIN SOLUTION: share of late flights, one number        # Your turn: share of late flights, one number
    late_share = float(flights.late.mean())              ->    late_share = ...  # what one call returns
    # END SOLUTION

Without a hint in the marker, the stub tells the shape of the answer: the names it must bind, the signature of its
functions, and about how many lines it takes.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Final

from labs.notebooks import document
from labs.notebooks.source import SOLUTION_TAG, Cell, Source, SourceError

_BEGIN: Final = re.compile(r"^(?P<indent>\s*)# BEGIN SOLUTION\b:?\s*(?P<hint>.*)$")
_END: Final = re.compile(r"^\s*# END SOLUTION\b")

_SHAPES: Final[dict[type[ast.expr], str]] = {
    ast.List: "a list",
    ast.ListComp: "a list",
    ast.Tuple: "a tuple",
    ast.Dict: "a dict",
    ast.DictComp: "a dict",
    ast.Set: "a set",
    ast.Lambda: "a function",
    ast.Compare: "True or False",
    ast.JoinedStr: "a string",
    ast.Call: "what one call returns",
}


def notebook(source: Source, name: str) -> document.Notebook:
    """The learner's notebook of `source`; `name` is the lab's name. Raises SourceError for unbalanced markers."""
    cells = [_cell(cell, source.path) for cell in source.cells if SOLUTION_TAG not in cell.tags]
    return document.make(cells, source=f"solutions/{name}.py", generated=document.fingerprint(cells))


def is_untouched(existing: document.Notebook) -> bool:
    """True when `existing` is a generated notebook that nobody has edited or run, so it may be replaced."""
    generated = existing.get("metadata", {}).get(document.LAB_KEY, {}).get("generated")
    return generated == document.fingerprint(existing["cells"]) and not document.has_outputs(existing)


def _cell(cell: Cell, path: Path) -> dict[str, object]:
    if not cell.is_code:
        return document.markdown(cell.text, cell.metadata)
    return document.code(without_answers(cell, path), cell.metadata)


def has_answer(cell: Cell) -> bool:
    """True when a learner does not see this cell as it is."""
    return SOLUTION_TAG in cell.tags or (cell.is_code and "# BEGIN SOLUTION" in cell.text)


def without_markers(text: str) -> str:
    """The code with its answers, and without the comments that mark them."""
    return "\n".join(line for line in text.splitlines() if not (_BEGIN.match(line) or _END.match(line))).strip("\n")


def without_answers(cell: Cell, path: Path) -> str:
    """The cell's code with each answer replaced by its stub. Raises SourceError for unbalanced markers."""
    out: list[str] = []
    answer: list[str] | None = None
    begin: re.Match[str] | None = None
    for number, line in enumerate(cell.text.splitlines(), start=1):
        if (found := _BEGIN.match(line)) is not None:
            if answer is not None:
                raise _unbalanced(cell, path, number, "a second BEGIN SOLUTION before the END of the first")
            begin, answer = found, []
        elif _END.match(line):
            if answer is None or begin is None:
                raise _unbalanced(cell, path, number, "END SOLUTION without a BEGIN")
            out += stub(answer, begin["indent"], begin["hint"].strip())
            answer = None
        else:
            (out if answer is None else answer).append(line)
    if answer is not None:
        raise _unbalanced(cell, path, len(cell.text.splitlines()), "BEGIN SOLUTION without an END")
    return "\n".join(out)


def _unbalanced(cell: Cell, path: Path, number: int, what: str) -> SourceError:
    return SourceError(
        f"{path}:{cell.line + number}: cell {cell.number}: {what}. "
        "Write `# BEGIN SOLUTION` and `# END SOLUTION` in pairs, each on a line of its own."
    )


def stub(answer: list[str], indent: str, hint: str) -> list[str]:
    """The lines that stand where `answer` stood, at the same indent."""
    count = sum(1 for line in answer if line.strip())
    head = f"# Your turn: {hint}" if hint else f"# Your turn (about {count} line{'s' if count != 1 else ''})"
    try:
        body = ast.parse(textwrap.dedent("\n".join(answer))).body
    except SyntaxError:
        body = []
    lines = [line for statement in body for line in _stub_of(statement)]
    return [indent + line if line else line for line in [head, *(lines or ["..."])]]


def _stub_of(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.Assign(targets=[target], value=value) if _binds_names(target):
            return [f"{_names(target)} = {_blanks(target)}{_shape(value)}"]
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
            return [f"{name}: {ast.unparse(annotation)} = ..."]
        case ast.FunctionDef():
            return _signature(statement)
        case ast.Return(value=value) if value is not None:
            return [f"return ...{_shape(value)}"]
        case _:
            return []


def _binds_names(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple):
        return all(isinstance(element, ast.Name) for element in target.elts)
    return isinstance(target, ast.Name)


def _names(target: ast.expr) -> str:
    return ast.unparse(target).strip("()")


def _blanks(target: ast.expr) -> str:
    return ", ".join(["..."] * len(target.elts)) if isinstance(target, ast.Tuple) else "..."


def _shape(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        kinds = {bool: "True or False", int: "a number", float: "a number", str: "a string"}
        return f"  # {kinds[type(value.value)]}" if type(value.value) in kinds else ""
    return f"  # {_SHAPES[type(value)]}" if type(value) in _SHAPES else ""


def _signature(function: ast.FunctionDef) -> list[str]:
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    lines = [f"def {function.name}({ast.unparse(function.args)}){returns}:"]
    if docstring := ast.get_docstring(function):
        lines += textwrap.indent(f'"""{docstring}"""', "    ").splitlines()
    gives_back = any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(function))
    return [*lines, "    return ..." if gives_back else "    ..."]
