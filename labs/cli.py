"""The `lab` command: which commands there are, and what happens when one fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import typer

from labs.cloud_process import CloudError
from labs.commands import cloud, cost, course, faults, house

app: Final = typer.Typer(
    help="Cloud & Scale Labs: multi-cloud machine learning that really runs, on this machine, without an account.\n\n"
    "Begin with: lab start",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=False,
)

_WORK: Final = "Work with the labs"
_CLOUD: Final = "The local cloud"
_HOUSE: Final = "Keeping house"

_COMMANDS: Final[tuple[tuple[str, Callable[..., int], str], ...]] = (
    ("start", course.start, _WORK),
    ("run", course.run, _WORK),
    ("progress", course.show_progress, _WORK),
    ("spend", cloud.spend, _WORK),
    ("cost", cost.cost, _WORK),
    ("up", cloud.up, _CLOUD),
    ("down", cloud.down, _CLOUD),
    ("status", cloud.status, _CLOUD),
    ("env", cloud.env, _CLOUD),
    ("logs", cloud.logs, _CLOUD),
    ("coverage", cloud.coverage, _CLOUD),
    ("doctor", house.doctor, _HOUSE),
    ("test", house.test, _HOUSE),
    ("check", course.check, _HOUSE),
    ("bench", house.bench, _HOUSE),
    ("clean", house.clean, _HOUSE),
    ("lock", house.lock, _HOUSE),
)


def _register() -> None:
    for name, function, panel in _COMMANDS:
        settings = {"ignore_unknown_options": True, "allow_extra_args": True} if name == "test" else None
        app.command(name, rich_help_panel=panel, context_settings=settings)(function)
    app.add_typer(faults.app, name="fault", rich_help_panel=_CLOUD)
    app.add_typer(course.notebooks_app(), name="notebooks", rich_help_panel=_HOUSE)


_register()


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code: 0 done, 1 failed (with the reason), 2 not understood, 130 interrupted."""
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        answer = app(args=arguments, prog_name="lab", standalone_mode=False)
    except typer.Exit as end:
        return end.exit_code
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("Stopped.\n")
        return 130
    except CloudError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    except Exception as error:
        return _usage_error(error)
    return answer if isinstance(answer, int) else 0


def _usage_error(error: Exception) -> int:
    """2 with the message and the next action for what was typed wrongly; anything else is a fault of ours."""
    show = getattr(error, "format_message", None)
    if show is None:
        raise error
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "lab"
    sys.stderr.write(f"lab: {show()}\nTry: {path} --help\n")
    return int(getattr(error, "exit_code", 2))


if __name__ == "__main__":
    main()
