"""The `quiz` directive: the questions of a bank in a page, every option with its reason, folded until somebody looks.

    ```{quiz} start
    ```

reads `book/quizzes/start.yml`; a second word names one lab of the bank, such as `week1_aws/02_sagemaker_training`.
It needs no script: each option is a `<details>`; its summary is the option, its body says right or wrong, and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Final

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BANKS: Final = Path("book/quizzes")
KINDS: Final = ("single", "multiple", "numeric", "ordering")
_ASK: Final = {
    "single": "One answer is right.",
    "multiple": "Find all that are right.",
    "numeric": "Work it out, then open.",
    "ordering": "Put them in order, then open.",
}
_LETTERS: Final = "ABCDEFGH"


class QuizError(ValueError):
    """A bank or one of its items is malformed; the message says which and what it needs."""


def sections(bank: dict[str, Any]) -> list[dict[str, Any]]:
    """The labs of a bank, each with `lab`, `title` and `items`."""
    found: list[dict[str, Any]] = bank.get("sections", [bank])
    return found


def check(item: dict[str, Any]) -> None:
    """Raise QuizError for an item that cannot be asked."""
    name = item.get("id", "an item without id")
    if item.get("kind") not in KINDS or not item.get("question"):
        raise QuizError(f"{name}: needs a question and a kind, one of {', '.join(KINDS)}")
    if item["kind"] == "numeric":
        _check_numeric(name, item)
    elif item["kind"] == "ordering":
        if len(item.get("options", ())) < 3 or not item.get("reason"):
            raise QuizError(f"{name}: an ordering needs three or more options in the right order, and a reason")
    else:
        _check_options(name, item)


def _check_numeric(name: str, item: dict[str, Any]) -> None:
    if not {"answer", "tolerance", "reason"} <= set(item):
        raise QuizError(f"{name}: a numeric question needs answer, tolerance and reason")
    for wrong in item.get("wrong", ()):
        if not {"value", "tolerance", "reason"} <= set(wrong):
            raise QuizError(f"{name}: a typical wrong value needs value, tolerance and reason")


def _check_options(name: str, item: dict[str, Any]) -> None:
    options = item.get("options", [])
    if any(not option.get("text") or not option.get("reason") for option in options):
        raise QuizError(f"{name}: every option needs a text and a reason")
    right = sum(bool(option.get("right")) for option in options)
    if len(options) < 3 or right < 1 or right == len(options) or (item["kind"] == "single" and right != 1):
        raise QuizError(
            f"{name}: {right} of {len(options)} options are right, which does not fit a {item['kind']} choice"
        )


def shuffled(item: dict[str, Any]) -> list[str]:
    """The options of an ordering, mixed the same way at every build and never in the right order."""
    options: list[str] = item["options"]
    mixed = sorted(options, key=lambda text: hashlib.sha256(f"{item['id']}{text}".encode()).hexdigest())
    return mixed if mixed != options else mixed[::-1]


def html(number: int, item: dict[str, Any]) -> str:
    """One question as HTML."""
    body = {"numeric": _numeric, "ordering": _ordering}.get(item["kind"], _options)(item)
    question = f"<p><strong>{number}. {_text(item['question'])}</strong> <em>{_ASK[item['kind']]}</em></p>"
    start = f'<section class="quiz-item" style="margin-top: 2.5rem" id="{escape(item["id"])}">'
    return f"{start}{question}{''.join(body)}</section>"


def _options(item: dict[str, Any]) -> Iterator[str]:
    for letter, option in zip(_LETTERS, item["options"], strict=False):
        verdict = "✔ Right." if option.get("right") else "✘ Wrong."
        yield _details(f"{letter}. {_text(option['text'])}", f"<strong>{verdict}</strong> {_text(option['reason'])}")


def _numeric(item: dict[str, Any]) -> Iterator[str]:
    yield _details("Answer", f"<strong>{item['answer']:g}</strong>. {_text(item['reason'])}")
    if item.get("wrong"):
        lines = "".join(
            f"<li><strong>{each['value']:g}</strong>: {_text(each['reason'])}</li>" for each in item["wrong"]
        )
        yield _details("I got another number", f"<ul>{lines}</ul>")


def _ordering(item: dict[str, Any]) -> Iterator[str]:
    yield "<ul>" + "".join(f"<li>{_text(text)}</li>" for text in shuffled(item)) + "</ul>"
    steps = "".join(f"<li>{_text(text)}</li>" for text in item["options"])
    yield _details("Answer", f"<ol>{steps}</ol><p>{_text(item['reason'])}</p>")


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary><div>{body}</div></details>"


def _text(value: Any) -> str:
    return escape(str(value))


class Quiz(SphinxDirective):
    """Shows a bank, or one lab of it."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The questions; a malformed bank is an error that names it."""
        path = Path(self.env.srcdir) / BANKS / f"{self.arguments[0]}.yml"
        self.env.note_dependency(str(path))
        try:
            bank = yaml.safe_load(path.read_text("utf-8"))
            return [node for part in self._wanted(bank) for node in self._part(part)]
        except (OSError, yaml.YAMLError, QuizError, KeyError) as error:
            raise self.error(f"quiz {path.name}: {error}") from error

    def _wanted(self, bank: dict[str, Any]) -> list[dict[str, Any]]:
        found = [part for part in sections(bank) if len(self.arguments) < 2 or part["lab"] == self.arguments[1]]
        if not found:
            raise QuizError(f"no lab {self.arguments[1]!r}")
        return found

    def _part(self, part: dict[str, Any]) -> Iterator[nodes.Node]:
        for number, item in enumerate(part["items"], start=1):
            check(item)
            yield nodes.raw("", html(number, item), format="html")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("quiz", Quiz)
    return {"version": "1", "parallel_read_safe": True}
