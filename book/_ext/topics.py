"""The `topics` directive: which topics of the course have their lecture, their lab and their quiz items.

    ```{topics}
    ```

reads `book/curriculum.yml` and looks at the book itself: a page or lab that is named there but is not part of the book
is planned, whatever anybody hoped. Quiz items are counted in `book/quizzes/*.yml`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

CURRICULUM: Final = "book/curriculum.yml"
BANKS: Final = "book/quizzes"
LABS: Final = "solutions/"
_KEYS: Final = {"topic", "lecture", "lab", "objectives"}
_SEEN: Final = "topics"

State = Literal["there", "in part", "planned"]


class CurriculumError(ValueError):
    """The curriculum file is malformed; the message names the topic and what it needs."""


@dataclass(frozen=True)
class Topic:
    """One row: documents of its lectures, its lab (`week/NN_name`) if it has one, and objectives for the quiz count."""

    name: str
    lectures: tuple[str, ...]
    lab: str = ""
    objectives: tuple[str, ...] = ()

    @property
    def documents(self) -> tuple[str, ...]:
        """Every page that the topic needs."""
        return (*self.lectures, *([LABS + self.lab] if self.lab else []))

    def state(self, found: Collection[str]) -> State:
        """`there` only when every page that it names is in the book."""
        there = [name in found for name in self.documents]
        return "there" if there and all(there) else "in part" if any(there) else "planned"


@dataclass(frozen=True)
class Item:
    """What matters here of a quiz item: what it is about."""

    lab: str
    lecture: str
    objective: str


def read(path: Path) -> list[tuple[str, list[Topic]]]:
    """The parts of the course with their topics. Raises CurriculumError."""
    try:
        parts = yaml.safe_load(path.read_text(encoding="utf-8"))["parts"]
        return [(part["title"], [_topic(raw) for raw in part["topics"]]) for part in parts]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise CurriculumError(f"{path.name} must hold `parts`, each with `title` and `topics`: {error!r}") from error


def _topic(raw: dict[str, Any]) -> Topic:
    name = raw.get("topic")
    unknown = sorted(set(raw) - _KEYS)
    if not name or not (raw.get("lecture") or raw.get("lab")) or unknown:
        wrong = f"unknown keys {', '.join(unknown)}" if unknown else "needs `topic`, and `lecture` or `lab` or both"
        raise CurriculumError(f"{name or raw}: {wrong}")
    lecture = raw.get("lecture") or []
    lectures = (lecture,) if isinstance(lecture, str) else tuple(lecture)
    return Topic(name, lectures, raw.get("lab") or "", tuple(raw.get("objectives") or ()))


def items(folder: Path) -> list[Item]:
    """All items of all banks."""
    return [item for path in sorted(folder.glob("*.yml")) for item in _bank(path)]


def _bank(path: Path) -> Iterator[Item]:
    bank = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section in bank.get("sections", [bank]):
        for raw in section["items"]:
            about = {**section, **raw}
            lecture = str(about.get("lecture") or "").partition("#")[0].strip("/").removesuffix(".md")
            lecture = lecture if not lecture or lecture.startswith("book/") else f"book/{lecture}"
            yield Item(str(about.get("lab") or ""), lecture, str(about.get("objective") or ""))


def count(topic: Topic, bank: Collection[Item]) -> int:
    """Items on the topic's lab and objectives; for a topic that names neither, those on its lectures."""
    if topic.lab or topic.objectives:
        return sum((item.lab != "" and item.lab == topic.lab) or item.objective in topic.objectives for item in bank)
    return sum(item.lecture in topic.lectures for item in bank)


class Topics(SphinxDirective):
    """Shows the table of every part."""

    def run(self) -> list[nodes.Node]:
        """The tables; a malformed curriculum is an error that names the topic."""
        root = Path(self.env.srcdir)
        self.env.metadata[self.env.docname][_SEEN] = _contents(self.env)
        for path in (root / CURRICULUM, *sorted((root / BANKS).glob("*.yml"))):
            self.env.note_dependency(str(path))
        try:
            parts = read(root / CURRICULUM)
        except CurriculumError as error:
            raise self.error(f"{CURRICULUM}: {error}") from error
        bank = items(root / BANKS)
        lines = [_summary(parts, self.env.found_docs)]
        for title, topics in parts:
            lines += [f"## {title}", _table(topics, self.env.found_docs, bank)]
        return self.parse_text_to_nodes("\n\n".join(lines), allow_section_headings=True)


def _summary(parts: list[tuple[str, list[Topic]]], found: Collection[str]) -> str:
    states = [topic.state(found) for _title, topics in parts for topic in topics]
    there, part, planned = (states.count(state) for state in ("there", "in part", "planned"))
    return f"**{there} of {len(states)} topics are there**, {part} in part, {planned} are planned."


def _table(topics: list[Topic], found: Collection[str], bank: Collection[Item]) -> str:
    rows = [_row(topic, found, bank) for topic in topics]
    return "\n".join(("| Topic | State | Lecture | Lab | Quiz |", "| --- | --- | --- | --- | ---: |", *rows))


def _row(topic: Topic, found: Collection[str], bank: Collection[Item]) -> str:
    lectures = ", ".join(_link(name, found) for name in topic.lectures) or "-"
    lab = _link(LABS + topic.lab, found) if topic.lab else "-"
    return f"| {topic.name} | {topic.state(found)} | {lectures} | {lab} | {count(topic, bank)} |"


def _link(document: str, found: Collection[str]) -> str:
    words = document.rpartition("/")[2].replace("_", " ")
    return f"{{doc}}`{words} </{document}>`" if document in found else f"{words} (planned)"


def _contents(env: BuildEnvironment) -> str:
    return " ".join(sorted(env.found_docs))


def outdated(
    _app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]
) -> list[str]:
    """Pages with this table, when another page has come or gone."""
    now = _contents(env)
    return [name for name, notes in env.metadata.items() if notes.get(_SEEN, now) != now]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("topics", Topics)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": True}
