"""What a check is, and how an answer is graded. No output, no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

State = Literal["not attempted", "wrong", "right"]
Predicate = Callable[..., bool]
Message = str | Callable[..., str]


class CheckError(Exception):
    """A check is used in a way it cannot work; the message says how to use it."""


class NotAttempted(Exception):  # noqa: N818  # it is a state of an answer, not an error
    """Raised while grading when an answer turns out to be an unsolved stub."""


class _AttemptMe:
    """The placeholder in an unsolved exercise."""

    def __repr__(self) -> str:
        return "attempt_me"

    def __bool__(self) -> bool:
        return False


attempt_me: Final = _AttemptMe()


@dataclass(frozen=True)
class Misconception:
    """A wrong idea that a known wrong answer betrays.

    `when` gets the answers and the context of the check and says whether this is that answer.
    """

    name: str
    when: Predicate
    message: Message
    """Why that is not so, and what to look at; never the answer itself."""


@dataclass(frozen=True)
class Check:
    """One question, declared.

    `is_right` and every `when` are called with the learner's answers as positional arguments and the context (what
    the notebook measured) as keyword arguments: `labs.check("week1.03.errors", my_answer, result=load_result)`.
    """

    id: str
    """`<week>.<lab>.<question>`, such as `week1.03.traffic`; `<week>` is the module in labs/checks."""
    question: str
    is_right: Predicate
    right: Message
    """Said when right: why it is so, and what follows."""
    wrong: Message = "Not yet. Look again at what you measured, or open a hint."
    misconceptions: tuple[Misconception, ...] = ()
    """The first that applies is named."""
    hints: tuple[str, ...] = ()
    """From a nudge to the shape of the solution."""

    def grade(self, *answers: Any, **context: Any) -> Result:
        """The state of these answers. Never raises for what a learner wrote."""
        if not answers or any(is_unattempted(answer) for answer in answers):
            return self._not_attempted()
        try:
            return self._judge(answers, context)
        except (NotAttempted, NotImplementedError):
            return self._not_attempted()
        except Exception as error:  # a learner's code may raise anything
            return Result(self, "wrong", f"Your answer cannot be used: {type(error).__name__}: {error}")

    def _judge(self, answers: tuple[Any, ...], context: Mapping[str, Any]) -> Result:
        for idea in self.misconceptions:
            if _applies(idea.when, answers, context):
                return Result(self, "wrong", _say(idea.message, answers, context), idea.name)
        if self.is_right(*answers, **context):
            return Result(self, "right", _say(self.right, answers, context))
        return Result(self, "wrong", _say(self.wrong, answers, context))

    def _not_attempted(self) -> Result:
        return Result(self, "not attempted", self.question)


@dataclass(frozen=True)
class Result:
    """What became of an answer."""

    check: Check = field(repr=False)
    state: State
    message: str
    misconception: str = ""

    def _ipython_display_(self) -> None:
        """Nothing: it has been shown already, and a notebook would show it again."""


def is_unattempted(answer: Any) -> bool:
    """Whether an answer is still a placeholder: `...`, `labs.attempt_me` or None, alone or inside a collection."""
    if answer is None or answer is ... or isinstance(answer, _AttemptMe):
        return True
    if isinstance(answer, Mapping):
        return any(is_unattempted(part) for part in answer.values())
    if isinstance(answer, list | tuple | set):
        return any(is_unattempted(part) for part in answer)
    return False


def called(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a learner's function; raises NotAttempted when it is a stub (not callable, or returns a placeholder)."""
    result = function(*arguments, **named)
    if is_unattempted(result):
        raise NotAttempted
    return result


def _applies(when: Predicate, answers: tuple[Any, ...], context: Mapping[str, Any]) -> bool:
    try:
        return bool(when(*answers, **context))
    except NotAttempted:
        raise
    except Exception:  # an answer of another type is not this misconception
        return False


def _say(message: Message, answers: tuple[Any, ...], context: Mapping[str, Any]) -> str:
    return message if isinstance(message, str) else message(*answers, **context)
