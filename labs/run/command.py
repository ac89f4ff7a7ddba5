"""`lab run`: execute the labs, report, and build the book."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from labs.notebooks.tree import ROOT, LabFile, LabNotFoundError, find_labs
from labs.run.options import Options

if TYPE_CHECKING:
    from rich.console import Console

    from labs.run.runner import Planned, Runner
    from labs.run.tenants import Tenants

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Only = Annotated[
    list[str] | None, typer.Option(help="A week, a lab's name or a path; may be repeated. All when left out.")
]
Jobs = Annotated[int, typer.Option(min=1, help="Notebooks at a time. Those that measure the machine run alone.")]
Target = Annotated[str, typer.Option(help="local, or aws for a real account.")]
Budget = Annotated[float | None, typer.Option(help="US dollars that a run on a real account may use.")]
Confirm = Annotated[bool, typer.Option("--confirm", "--yes", help="Confirm a run on a real account.")]
KeepGoing = Annotated[bool, typer.Option(help="Go on with the others after a failure.")]
Save = Annotated[bool, typer.Option("--save", help="Renew the committed executed notebooks that the book shows.")]
Book = Annotated[bool, typer.Option(help="Build the book afterwards.")]
Learner = Annotated[
    bool, typer.Option("--learner", help="Run the learner's notebooks instead, with no exercise solved.")
]


def run(
    only: Only = None,
    jobs: Jobs = 2,
    target: Target = "local",
    budget: Budget = None,
    yes: Confirm = False,
    keep_going: KeepGoing = True,
    save: Save = False,
    book: Book = True,
    learner: Learner = False,
) -> int:
    """Execute labs, each in its own process and tenant; returns 0, 1 when any failed, 130 when interrupted."""
    try:
        environment = _real_environment(target, budget, yes)
    except ValueError as error:
        typer.echo(str(error), err=True)
        return 1
    options = Options(ROOT / "_build" / "run", jobs, target, keep_going, environment)
    return run_in(ROOT, only or [], options, save=save, book=book, learner=learner)


def run_in(
    root: Path,
    only: Sequence[str],
    options: Options,
    *,
    save: bool = False,
    book: bool = True,
    learner: bool = False,
    tenants: Tenants | None = None,
) -> int:
    """Execute the labs below `root`; `options.folder` gets the report, the executed notebooks and the logs.

    With `learner`, run the learner's notebooks unsolved: wrong answers do not stop them, and nothing is saved or built.
    """
    from rich.console import Console

    began = time.monotonic()
    console = Console()
    try:
        planned = _plan(only, root, learner)
        tenants = tenants or _tenants(options.target, console)
    except (LabNotFoundError, ValueError, RuntimeError) as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    runner = _execute(planned, options, tenants, console)
    if save and not learner:
        _save(runner, planned, console)
    wants_book = book and not learner and not runner.interrupted
    with _raising_on_signals():
        page = _book(runner, planned, console) if wants_book else None
    _conclude(runner, console, time.monotonic() - began, page, options.folder)
    if runner.interrupted:
        return 130
    return 0 if _all_passed(runner) and (page is not None or not wants_book) else 1


def _plan(only: Sequence[str], root: Path, learner: bool) -> list[Planned]:
    from labs.notebooks.source import read
    from labs.run.runner import Planned

    planned = [Planned(lab, read(lab.source), learner) for lab in find_labs(only, root)]
    if not planned:
        raise LabNotFoundError(f"{root / 'solutions'} holds no lab. Start one: lab notebooks new week1_aws/01_name")
    return planned


def _real_environment(target: str, budget: float | None, yes: bool) -> dict[str, str]:
    """What tells labs that a real run is meant. Raises ValueError when budget or confirmation is missing."""
    from labs.real import BUDGET_VARIABLE, CONFIRM_VARIABLE

    if target == "local":
        return {}
    if budget is None or not yes:
        raise ValueError(
            f"--target {target} runs on a real account and costs money. Say how much it may use and that you mean it: "
            f"lab run --target {target} --budget 5 --confirm"
        )
    return {BUDGET_VARIABLE: str(budget), CONFIRM_VARIABLE: "yes"}


def _tenants(target: str, console: Console) -> Tenants:
    from labs.run.tenants import LocalTenants, NoTenants

    if target != "local":
        return NoTenants()
    with console.status("Starting the local cloud"):
        return LocalTenants()


def _execute(planned: list[Planned], options: Options, tenants: Tenants, console: Console) -> Runner:
    from labs.run.display import Display
    from labs.run.report import Entry
    from labs.run.runner import Runner

    with Display([Entry(each.path) for each in planned], console) as display:
        runner = Runner(planned, options, tenants, display.show)
        with _stopping(runner):
            runner.run(planned)
    return runner


@contextmanager
def _stopping(runner: Runner) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the run in order: kernels, children, tenants, report."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        runner.stop()

    with _handling(stop):
        yield


@contextmanager
def _raising_on_signals() -> Iterator[None]:
    """Outside of the runner, every signal to stop ends as Ctrl-C does, so that the build's own processes end too."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _passed(runner: Runner, planned: list[Planned]) -> list[Planned]:
    good = {entry.path for entry in runner.report.entries if entry.status == "passed"}
    return [each for each in planned if each.path in good]


def _all_passed(runner: Runner) -> bool:
    return all(entry.status == "passed" for entry in runner.report.entries)


def _save(runner: Runner, planned: list[Planned], console: Console) -> None:
    from labs.notebooks import generate

    for each in _passed(runner, planned):
        outcome = generate.save_executed(each.lab, runner.executed(each))
        console.print(f"{outcome.action} {each.lab.shown(outcome.path)}", highlight=False, soft_wrap=True)


def _book(runner: Runner, planned: list[Planned], console: Console) -> Path | None:
    from labs.run import book

    executed: dict[LabFile, Path] = {each.lab: runner.executed(each) for each in _passed(runner, planned)}
    root = planned[0].lab.root
    try:
        with console.status("Building the book"):
            return book.build(root, executed, root / "_build" / "run" / "logs" / "book.log")
    except book.BookError as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        return None


def _conclude(runner: Runner, console: Console, seconds: float, page: Path | None, folder: Path) -> None:
    from labs.run import display, report

    entries = runner.report.entries
    for entry in entries:
        if entry.status == "failed":
            console.print(display.failure(entry, runner.details[entry.path]))
    report.write_html(folder / "report.html", report.html(entries, runner.details, seconds, page, folder))
    console.print(report.summary(entries, seconds), style="green" if _all_passed(runner) else "red", highlight=False)
    console.print(f"Report: {_shown(folder / 'report.html')}", highlight=False, soft_wrap=True)
    if page:
        console.print(f"Book:   {_shown(page)}", highlight=False, soft_wrap=True)


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
