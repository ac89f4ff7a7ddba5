"""Where a lab's three files lie: its source, the learner's notebook, and the executed one that the book shows.

    solutions/week1_aws/02_x.py      the source (py:percent), the only file that people edit
    solutions/week1_aws/02_x.ipynb   the same lab executed; committed, so a bare `jupyter-book build .` needs nothing
    notebooks/week1_aws/02_x.ipynb   the learner's notebook: no answers, no outputs

Outputs differ from run to run, so an ordinary `lab run` writes its executed notebooks to `_build/run/executed` and
builds the book from a staging folder; only `lab run --save` renews the committed copies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from labs import home

ROOT: Final = home.repository()


class LabNotFoundError(ValueError):
    """No lab matches the name that was given."""


@dataclass(frozen=True, order=True)
class LabFile:
    """One lab, named by its path below `solutions/` without suffix, such as `week1_aws/02_sagemaker_training`."""

    root: Path
    name: str

    @property
    def source(self) -> Path:
        """The py:percent file an author edits."""
        return self.root / "solutions" / f"{self.name}.py"

    @property
    def executed(self) -> Path:
        """The committed executed notebook that the book shows."""
        return self.root / "solutions" / f"{self.name}.ipynb"

    @property
    def learner(self) -> Path:
        """The notebook a learner opens."""
        return self.root / "notebooks" / f"{self.name}.ipynb"

    @property
    def slug(self) -> str:
        """The name as one word, for log files and tenants."""
        return self.name.replace("/", "-")

    def shown(self, path: Path) -> str:
        """`path` as it is written in messages: relative to the repository, with forward slashes."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def all_labs(root: Path = ROOT) -> list[LabFile]:
    """Every lab below `solutions/`, in reading order: start, week 1 to 4, capstone."""
    solutions = root / "solutions"
    names = (path.relative_to(solutions).with_suffix("").as_posix() for path in solutions.rglob("[0-9]*.py"))
    return [LabFile(root, name) for name in sorted(names, key=_reading_order) if ".ipynb_checkpoints" not in name]


def _reading_order(name: str) -> tuple[int, str]:
    first_parts: Final = ("start", "week", "capstone")
    rank = next((i for i, part in enumerate(first_parts) if name.startswith(part)), len(first_parts))
    return rank, name


def find_labs(wanted: Iterable[str], root: Path = ROOT) -> list[LabFile]:
    """The labs that `wanted` names (all for none): a week, a lab's name, a part of it, or a path to one of its files.

    Raises LabNotFoundError with the labs there are.
    """
    labs = all_labs(root)
    wanted = [word for word in wanted if word]
    if not wanted:
        return labs
    found: list[LabFile] = []
    for word in wanted:
        matches = [lab for lab in labs if _matches(lab, word)]
        if not matches:
            known = ", ".join(lab.name for lab in labs) or "none: solutions/ holds no lab"
            raise LabNotFoundError(f"No lab is called {word!r}. Labs: {known}")
        found += [lab for lab in matches if lab not in found]
    return sorted(found, key=labs.index)


def _matches(lab: LabFile, word: str) -> bool:
    path = Path(word)
    if path.suffix in (".py", ".ipynb"):
        candidates = (lab.source, lab.executed, lab.learner)
        return any(base.joinpath(path).resolve() in candidates for base in (Path.cwd(), lab.root))
    folder = word.removeprefix("solutions/").removeprefix("notebooks/").strip("/")
    return lab.name == folder or lab.name.startswith(folder + "/") or (f"/{lab.name}".find(f"/{folder}") >= 0)
