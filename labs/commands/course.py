"""`lab start`, `run`, `notebooks`, `check`, `progress`: working with the notebooks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from labs import home, progress, show, target

Names = Annotated[list[str] | None, typer.Argument(help="Labs: a week, a name or a path. All when left out.")]
_JUPYTER: Final = (
    "--ServerApp.ip=127.0.0.1",
    # Nothing asks the network: no news, no update check, no extension index.
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--Application.log_level=WARN",
    "--ServerApp.answer_yes=True",
)


def start(
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
    port: Annotated[int, typer.Option(min=1, max=65535, help="JupyterLab's port.")] = 8888,
) -> int:
    """Open JupyterLab on the notebooks, with the local cloud up. Ctrl-C ends it.

    Example:  lab start --no-browser
    """
    folder = home.repository() / "notebooks"
    notebooks = sorted(path.relative_to(folder) for path in folder.rglob("*.ipynb") if _is_ours(path))
    if not notebooks:
        typer.echo("There are no notebooks yet. Make them with: lab notebooks build", err=True)
        return 1
    target.ready_cloud()
    typer.echo("Open, in this order:")
    for notebook in notebooks:
        typer.echo(f"  {notebook}")
    sys.stdout.flush()
    command = [sys.executable, "-m", "jupyterlab", *_JUPYTER, f"--ServerApp.root_dir={folder}", f"--port={port}"]
    if os.geteuid() == 0:
        command.append("--allow-root")  # as in a container: it listens on loopback only and asks for a token
    env = {**os.environ, "LAB_HOME": str(home.folder())}
    process = subprocess.Popen([*command, *([] if browser else ["--no-browser"])], env=env)
    # Ctrl-C reaches JupyterLab too: it ends its kernels, and this waits for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return max(0, process.wait())


def run(
    names: Names = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="The same as an argument; may be repeated.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks at a time; exclusive ones run alone.")] = 2,
    to: Annotated[str, typer.Option("--target", help="local, or aws: a real account.")] = "local",
    budget: Annotated[float | None, typer.Option(min=0, help="US dollars a real account may cost.")] = None,
    confirm: Annotated[bool, typer.Option("--confirm", "--yes", help="Yes, use a real account.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Renew the executed notebooks that the book shows.")] = False,
    learner: Annotated[bool, typer.Option("--learner", help="Run the learner's notebooks, unsolved.")] = False,
    book: Annotated[bool, typer.Option(help="Build the book afterwards.")] = True,
    keep_going: Annotated[bool, typer.Option(help="Go on with the others after a failure.")] = True,
) -> int:
    """Execute the labs, two at a time, and build the book; 0 when all passed.

    Example:  lab run week1_aws/02_sagemaker_training

    On a real account:  lab run start --target aws --budget 5 --confirm
    """
    from labs.run import command

    return command.run(
        only=[*(names or []), *(only or [])], jobs=jobs, target=to, budget=budget, yes=confirm, save=save,
        learner=learner, book=book, keep_going=keep_going,
    )  # fmt: skip


def check(names: Names = None) -> int:
    """Check that notebooks match their sources and follow the common anatomy; changes nothing.

    Example:  lab check week1_aws
    """
    from labs.notebooks import command

    codes = [command.build(names, check=True), command.lint(names)]
    typer.echo("Notebooks are as they should be." if not any(codes) else "See above; then: lab notebooks build")
    return max(codes)


def show_progress(
    everything: Annotated[bool, typer.Option("--all", help="Also what `lab run` answered.")] = False,
) -> int:
    """Show which questions you have answered.

    Example:  lab progress
    """
    entries = [entry for entry in progress.read() if everything or not entry.automatic]
    rows = [
        [entry.tenant, entry.check, f"{show.symbol(entry.state)} {entry.state}", str(entry.attempts),
         entry.misconception]
        for entry in entries
    ]  # fmt: skip
    if not rows:
        typer.echo("No question is answered yet. Open a notebook with: lab start")
        return 0
    typer.echo(show.text_table(["notebook", "question", "state", "tries", "misconception"], rows))
    typer.echo(f"{sum(entry.state == 'right' for entry in entries)} of {len(entries)} right")
    return 0


def notebooks_app() -> typer.Typer:
    """`lab notebooks …`, made by the notebooks' own module."""
    from labs.notebooks import command

    return command.app


def _is_ours(path: Path) -> bool:
    return ".ipynb_checkpoints" not in path.parts
