"""Where notebooks hand in answers: find the check, grade, show, remember."""

from __future__ import annotations

import os
from html import escape
from importlib import import_module
from typing import Any

from labs import progress, show
from labs.checks.grading import Check, CheckError, Result


class WrongAnswer(AssertionError):  # noqa: N818  # what a strict run reports
    """A wrong answer, when LABS_STRICT=1."""


def check(id: str, *answers: Any, **context: Any) -> Result:
    """Grade the answers to a question, show the result, and remember it for `lab progress`.

    Raises WrongAnswer for a wrong answer when LABS_STRICT=1 (how solutions are run), CheckError for an unknown id.
    """
    result = find(id).grade(*answers, **context)
    progress.record(id, result.state, result.misconception)
    show.show(_text(result), _html(result))
    if result.state == "wrong" and os.environ.get("LABS_STRICT") == "1":
        raise WrongAnswer(f"{id}: {result.message}")
    return result


def hint(id: str) -> None:
    """Show the hints of a question, closed until opened (in a terminal: all of them)."""
    hints = find(id).hints or ("There is no hint for this one. Read the text above the question again.",)
    labels = [f"Hint {number} of {len(hints)}" for number in range(1, len(hints) + 1)]
    pairs = list(zip(labels, hints, strict=True))
    show.show(
        "\n".join(f"{label}: {text}" for label, text in pairs),
        "".join(show.details(label, text) for label, text in pairs),
    )


def find(id: str) -> Check:
    """The check with this id; raises CheckError naming the ids there are."""
    known = checks_of(id.partition(".")[0])
    if id not in known:
        raise CheckError(f"There is no check {id!r}. Known here: {', '.join(sorted(known)) or 'none'}")
    return known[id]


def checks_of(week: str) -> dict[str, Check]:
    """The checks of a week by id; raises CheckError for an unknown week and for an id declared twice."""
    if not week.isidentifier():
        raise CheckError(f"A check's id begins with its week, such as week1.03.traffic; {week!r} is none.")
    try:
        declared: tuple[Check, ...] = import_module(f"labs.checks.{week}").CHECKS
    except ModuleNotFoundError:
        raise CheckError(f"There is no labs/checks/{week}.py. An id begins with the week: week1.03.traffic") from None
    by_id = {each.id: each for each in declared}
    if len(by_id) < len(declared) or any(not each.startswith(f"{week}.") for each in by_id):
        raise CheckError(f"labs/checks/{week}.py: ids must be unique and begin with '{week}.'")
    return by_id


def _text(result: Result) -> str:
    return f"{show.symbol(result.state)} {result.state.capitalize()}: {result.message}"


def _html(result: Result) -> str:
    box = show.callout(result.state, f"{result.state.capitalize()}:", result.message)
    if result.state == "right" or not result.check.hints:
        return box
    call = escape(f'labs.hint("{result.check.id}")')
    return f"{box}<small>Stuck? Run <code>{call}</code></small>"
