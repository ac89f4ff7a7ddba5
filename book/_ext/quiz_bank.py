"""The quiz banks: reads `book/quizzes/*.yml`, one bank a week, and refuses what could not be asked.

A bank has a title and sections; a section belongs to one lab or one lecture and has items:

    title: Week 1, AWS
    sections:
    - title: Training jobs
      lab: week1_aws/02_sagemaker_training      # or: lecture: week1_aws/aws_for_ml
      items:
      - id: training-4                          # unique in all banks: progress is kept under it
        objective: explain why …                # a phrase of the lab's card, or the id of a lecture's objective
        kind: numeric                           # or single, multiple, ordering
        question: …                             # `words` between backticks are shown as code
        answer: 2.5
        tolerance: 0.02
        formula: 10 / (2 + 8 / 4)               # recomputed by every build; may use names given under `prices`

Every problem is reported with the bank's name and the line of the item. `book/_ext/quiz.py` shows the items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from prices import PRICE_BOOKS, Price, PriceError, find, parse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from quiz_formula import FormulaError, evaluate

BANKS: Final = Path("book/quizzes")
_LINE: Final = "__line__"
_ID: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$"


@dataclass(frozen=True)
class Problem:
    """Something in a bank that must be mended."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, str_min_length=1)


class Option(_Part):
    """One answer of a choice, with the reason why it is right or wrong."""

    text: str
    reason: str
    right: bool = False


class Wrong(_Part):
    """A number that people typically give, with the misconception behind it."""

    value: float
    tolerance: float = Field(ge=0)
    reason: str
    formula: str = ""


class Claim(_Part):
    """A number that an item's text quotes, and how it is computed."""

    formula: str
    value: float
    tolerance: float = Field(ge=0)


class _Item(_Part):
    id: str = Field(pattern=_ID)
    objective: str
    question: str
    prices: dict[str, str] = {}
    claims: tuple[Claim, ...] = ()
    tags: tuple[str, ...] = ()


class Choice(_Item):
    """A question with options; one is right, or any number but not all and not none."""

    kind: Literal["single", "multiple"]
    options: tuple[Option, ...] = Field(min_length=3, max_length=8)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        right = sum(option.right for option in self.options)
        if not 0 < right < len(self.options) or (self.kind == "single" and right != 1):
            raise ValueError(f"{right} of {len(self.options)} options are right, which does not fit {self.kind}")
        if len({option.text for option in self.options}) < len(self.options):
            raise ValueError("two options are the same")
        return self


class Numeric(_Item):
    """A question whose answer is a number, right within a tolerance."""

    kind: Literal["numeric"]
    answer: float
    tolerance: float = Field(ge=0)
    unit: str = ""
    formula: str
    reason: str
    wrong: tuple[Wrong, ...] = ()

    @model_validator(mode="after")
    def _wrong_is_not_right(self) -> Self:
        for wrong in self.wrong:
            if abs(wrong.value - self.answer) <= self.tolerance + wrong.tolerance:
                raise ValueError(f"the wrong value {wrong.value:g} lies within the right answer's tolerance")
        return self


class Ordering(_Item):
    """Steps to be put in order; they are written in the right one."""

    kind: Literal["ordering"]
    options: tuple[str, ...] = Field(min_length=3, max_length=8)
    reason: str

    @model_validator(mode="after")
    def _steps_differ(self) -> Self:
        if len(set(self.options)) < len(self.options):
            raise ValueError("two steps are the same")
        return self


Item = Annotated[Choice | Numeric | Ordering, Field(discriminator="kind")]
_ITEM: Final[TypeAdapter[Choice | Numeric | Ordering]] = TypeAdapter(Item)


@dataclass(frozen=True)
class Section:
    """The items on one lab or lecture; `page` is its document's name in the book."""

    title: str
    name: str
    page: str
    items: tuple[Choice | Numeric | Ordering, ...]


@dataclass
class Bank:
    """One week's questions, with what is wrong with them."""

    path: Path
    title: str = ""
    sections: list[Section] = field(default_factory=list)
    lines: list[tuple[str, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def items(self) -> list[Choice | Numeric | Ordering]:
        """All items in their order."""
        return [item for section in self.sections for item in section.items]


class _Loader(yaml.SafeLoader):
    """Keeps the line of every mapping, and refuses keys that are written twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]  # type: ignore[no-untyped-call]  # PyYAML's stubs
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.MarkedYAMLError(problem=f"{key!r} is written twice", problem_mark=node.start_mark)
    return {**loader.construct_mapping(node, deep=True), _LINE: node.start_mark.line + 1}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(root: Path, name: str) -> Bank:
    """The bank `name` of the book at `root`, with its problems; never raises for what is in the file."""
    path = root / BANKS / f"{name}.yml"
    bank = Bank(path)
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # a SafeLoader that adds lines
    except OSError as problem:
        bank.problems.append(Problem(path, 1, f"cannot be read: {problem.strerror}"))
        return bank
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        bank.problems.append(Problem(path, line, f"is not YAML: {problem.problem}"))
        return bank
    if not isinstance(raw, dict) or not raw.get("title") or not isinstance(raw.get("sections"), list):
        bank.problems.append(Problem(path, 1, "a bank needs a title and a list of sections"))
        return bank
    bank.title = str(raw["title"])
    bank.sections.extend(_section(root, bank, section) for section in raw["sections"])
    return bank


def _section(root: Path, bank: Bank, raw: dict[str, Any]) -> Section:
    line = raw.get(_LINE, 1)
    unknown = set(raw) - {_LINE, "title", "lab", "lecture", "items"}
    if unknown or not raw.get("title") or bool(raw.get("lab")) == bool(raw.get("lecture")):
        bank.problems.append(Problem(bank.path, line, "a section needs title, items and either lab or lecture"))
    name = str(raw.get("lab") or raw.get("lecture"))
    page = f"solutions/{name}" if raw.get("lab") else f"book/{name}"
    file = root / f"{page}{'.py' if raw.get('lab') else '.md'}"
    if not file.is_file():
        bank.problems.append(Problem(bank.path, line, f"there is no {file.relative_to(root)}"))
    known = objectives(file)
    items = (_item(root, bank, each, known) for each in raw.get("items") or ())
    return Section(str(raw.get("title")), name, page, tuple(item for item in items if item))


def _item(root: Path, bank: Bank, raw: dict[str, Any], known: dict[str, str]) -> Choice | Numeric | Ordering | None:
    line, name = raw.get(_LINE, 1), raw.get("id", "an item without id")
    try:
        item = _ITEM.validate_python(_without_lines(raw))
    except ValidationError as error:
        bank.problems.extend(Problem(bank.path, line, f"{name}: {_words(each)}") for each in error.errors())
        return None
    problems = [*_wrong_objective(item, known), *_wrong_numbers(root, item)]
    bank.problems.extend(Problem(bank.path, line, f"{name}: {text}") for text in problems)
    bank.lines.append((item.id, line))
    return item


def _without_lines(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_lines(each) for key, each in value.items() if key != _LINE}
    return [_without_lines(each) for each in value] if isinstance(value, list) else value


def _words(error: Any) -> str:
    where = ".".join(str(step) for step in error["loc"][1:])
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {text}" if where else text


def _wrong_objective(item: _Item, known: dict[str, str]) -> Iterator[str]:
    if item.objective not in known:
        yield f"unknown objective {item.objective!r}. The page has: {'; '.join(known) or 'none'}"


_LECTURE: Final = re.compile(r"^- \[(?P<text>.+)\]\{#(?P<id>[a-z0-9]+-[a-z0-9]+-\d+)\}\s*$", re.MULTILINE)
_CARD: Final = re.compile(r"^# \| \*\*Objectives\*\* \| You will (?P<text>.*?) \|\s*$", re.MULTILINE)


def objectives(file: Path) -> dict[str, str]:
    """What a page promises: the ids of a lecture's objectives with their text, or the phrases of a lab's card."""
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return {found["id"]: found["text"] for found in _LECTURE.finditer(text)}
    card = _CARD.search(text)
    phrases = re.split(r", (?:and )?| and (?=[a-z]+ [^,]*$)", card["text"]) if card else []
    return {phrase.strip(): phrase.strip() for phrase in phrases}


def price(root: Path, text: str) -> Price:
    """The row of the price book that an item names; raises PriceError."""
    return find(parse(text).key, [root / book for book in PRICE_BOOKS])


def _wrong_numbers(root: Path, item: Choice | Numeric | Ordering) -> Iterator[str]:
    """Numbers that differ from what the price book or the stated formula gives."""
    try:
        names = {name: float(price(root, row).usd) for name, row in item.prices.items()}
        for formula, value, tolerance in _stated(item):
            computed = evaluate(formula, names)
            if abs(computed - value) > tolerance:
                yield f"{formula} is {computed:g}, not {value:g}"
    except (PriceError, FormulaError) as problem:
        yield str(problem)


def _stated(item: Choice | Numeric | Ordering) -> Iterator[tuple[str, float, float]]:
    yield from ((claim.formula, claim.value, claim.tolerance) for claim in item.claims)
    if isinstance(item, Numeric):
        yield item.formula, item.answer, item.tolerance
        yield from ((wrong.formula, wrong.value, wrong.tolerance) for wrong in item.wrong if wrong.formula)


def read_all(root: Path) -> dict[str, Bank]:
    """Every bank of the book by name; an id used twice is a problem of the later one."""
    banks = {path.stem: read(root, path.stem) for path in sorted((root / BANKS).glob("*.yml"))}
    first: dict[str, str] = {}
    for bank in banks.values():
        for name, line in bank.lines:
            if name in first:
                bank.problems.append(Problem(bank.path, line, f"{name}: the id is taken by the item at {first[name]}"))
            first.setdefault(name, f"{bank.path.name}:{line}")
    return banks
