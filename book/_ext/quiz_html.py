"""Quiz items as HTML: readable without a script, with answers in a `<details>`; `quiz.js` makes them answerable."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from html import escape
from typing import Final

from prices import Price, Request, date_note, parse, phrase
from quiz_bank import Choice, Numeric, Ordering

LETTERS: Final = "ABCDEFGH"
_ASK: Final = {
    "single": "One answer is right.",
    "multiple": "Choose all that are right.",
    "numeric": "Enter a number.",
    "ordering": "Put them in order.",
}
_CODE: Final = re.compile(r"`([^`]+)`")


def block(items: list[Choice | Numeric | Ordering], prices: dict[str, Price]) -> str:
    """The items of one place in the book; `prices` holds what their `prices` name, by the row as written."""
    shown = "".join(_item(number, item, prices) for number, item in enumerate(items, start=1))
    return f'<div class="quiz">{shown}</div>'


def _item(number: int, item: Choice | Numeric | Ordering, prices: dict[str, Price]) -> str:
    legend = (
        f'<legend><span class="quiz-question"><span class="quiz-number">{number}.</span> {_text(item.question)}</span> '
        f'<span class="quiz-ask">{_ASK[item.kind]}</span></legend>'
    )
    body = "".join((*_body(item), *_dated(item, prices)))
    return (
        f'<form class="quiz-item" id="quiz-{item.id}" data-id="{item.id}" data-kind="{item.kind}" '
        f'data-version="{_version(item)}" novalidate><fieldset>{legend}{body}</fieldset></form>'
    )


def _version(item: Choice | Numeric | Ordering) -> str:
    """Changes with the question: an answer kept in a browser belongs to the question that was asked."""
    return hashlib.sha256(item.model_dump_json(include={"question", "options", "answer"}).encode()).hexdigest()[:8]


def _body(item: Choice | Numeric | Ordering) -> Iterator[str]:
    if isinstance(item, Choice):
        return _choice(item)
    return _numeric(item) if isinstance(item, Numeric) else _ordering(item)


def _choice(item: Choice) -> Iterator[str]:
    kind = "radio" if item.kind == "single" else "checkbox"
    for place, (letter, option) in enumerate(zip(LETTERS, item.options, strict=False)):
        yield (
            f'<div class="quiz-option"><label><input type="{kind}" name="quiz-{item.id}" value="{place}">'
            f'<span class="quiz-letter">{letter}</span><span>{_text(option.text)}</span></label></div>'
        )
    reasons = "".join(
        f'<li data-right="{str(option.right).lower()}"><strong>{letter} is {"right" if option.right else "wrong"}.'
        f"</strong> <span>{_text(option.reason)}</span></li>"
        for letter, option in zip(LETTERS, item.options, strict=False)
    )
    yield _answer("Answer and reasons", f"<ul>{reasons}</ul>")


def _numeric(item: Numeric) -> Iterator[str]:
    unit = f" {_text(item.unit)}" if item.unit else ""
    yield (
        f'<p class="quiz-number-field"><label>Your answer <input type="text" inputmode="decimal" autocomplete="off" '
        f'name="quiz-{item.id}" size="12">{unit}</label></p>'
    )
    others = "".join(
        f'<li data-value="{wrong.value!r}" data-tolerance="{wrong.tolerance!r}"><strong>{number(wrong.value)}{unit}'
        f"</strong>: <span>{_text(wrong.reason)}</span></li>"
        for wrong in item.wrong
    )
    wrong = f"<p>Other numbers, and what leads to them:</p><ul>{others}</ul>" if others else ""
    right = (
        f'<p data-answer="{item.answer!r}" data-tolerance="{item.tolerance!r}"><strong>{number(item.answer)}{unit}'
        f"</strong>. <span>{_text(item.reason)}</span></p>"
    )
    yield _answer("Answer and reason", right + wrong)


def _ordering(item: Ordering) -> Iterator[str]:
    steps = "".join(
        f'<li data-place="{item.options.index(text)}"><span>{_text(text)}</span></li>' for text in shuffled(item)
    )
    yield f'<ol class="quiz-steps">{steps}</ol>'
    right = "".join(f"<li>{_text(text)}</li>" for text in item.options)
    yield _answer("Answer and reason", f"<ol>{right}</ol><p><span>{_text(item.reason)}</span></p>")


def shuffled(item: Ordering) -> list[str]:
    """The steps of an ordering, mixed the same way by every build, and never in the right order."""
    steps = list(item.options)
    mixed = sorted(steps, key=lambda text: hashlib.sha256(f"{item.id}{text}".encode()).hexdigest())
    return mixed if mixed != steps else mixed[::-1]


def _answer(summary: str, body: str) -> str:
    return f'<details class="quiz-answer"><summary>{summary}</summary><div>{body}</div></details>'


def _dated(item: Choice | Numeric | Ordering, prices: dict[str, Price]) -> Iterator[str]:
    """The list prices that an item's numbers rest on, each with its date and source."""
    shown = [
        f"{escape(', '.join(parse(row).key[1:]))}: {escape(phrase(prices[row], Request(parse(row).key)))} "
        f'(<a href="{escape(prices[row].source)}">{escape(date_note(prices[row]))}</a>)'
        for row in item.prices.values()
        if row in prices
    ]
    if shown:
        yield f'<p class="quiz-prices">List prices. {"; ".join(shown)}</p>'


def number(value: float) -> str:
    """Digits with thousands separated: 250,000; 0.008."""
    return f"{value:,.10g}"


def _text(value: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(value))
