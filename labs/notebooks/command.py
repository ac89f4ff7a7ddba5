"""`lab notebooks build | lint | new`: from the source that authors edit to the notebooks that learners open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from labs.notebooks.tree import ROOT, LabFile, LabNotFoundError, all_labs, find_labs

app: Final = typer.Typer(help="Make the notebooks from their sources, and check them.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(help="Labs: a week, a name or a path. All when left out.")]
Check = Annotated[bool, typer.Option("--check", help="Write nothing; fail when a notebook differs from its source.")]
Force = Annotated[
    bool, typer.Option("--force", help="Replace edited notebooks too; the work in them is moved to NAME.mine.ipynb.")
]


def build(paths: Names = None, check: Check = False, force: Force = False) -> int:
    """Make learner and executed notebooks from their sources; returns 0, or 1 when something is wrong."""
    return build_in(ROOT, paths or [], check=check, force=force)


def build_in(root: Path, paths: list[str], *, check: bool = False, force: bool = False) -> int:
    """Do the same for the labs below `root`."""
    from labs.notebooks.source import SourceError

    try:
        labs = find_labs(paths, root)
        problems = [line for lab in labs for line in (_check(lab) if check else _build(lab, force))]
    except (LabNotFoundError, SourceError) as error:
        problems = [str(error)]
    if not paths:
        problems += _orphans(root)
    for line in problems:
        typer.echo(line, err=True)
    return 1 if problems else 0


def _check(lab: LabFile) -> list[str]:
    from labs.notebooks import generate

    return generate.differences(lab)


def _build(lab: LabFile, force: bool) -> list[str]:
    from labs.notebooks import generate

    for outcome in generate.build(lab, force=force):
        if outcome.action != "unchanged":
            typer.echo(f"{outcome.action} {lab.shown(outcome.path)}" + (f": {outcome.note}" if outcome.note else ""))
    return []


def _orphans(root: Path) -> list[str]:
    from labs.notebooks import document

    known = {lab.learner for lab in all_labs(root)}
    lines = []
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        generated = ".ipynb_checkpoints" not in path.parts and not path.name.endswith(".mine.ipynb")
        if generated and path not in known and document.LAB_KEY in document.read(path).get("metadata", {}):
            lines.append(
                f"{path.relative_to(root).as_posix()}: its source is gone. Delete it, or bring the source back."
            )
    return lines


def lint(paths: Names = None) -> int:
    """Check that labs follow the common anatomy; returns 0, or 1 with file, line, cell and remedy of each problem."""
    return lint_in(ROOT, paths or [])


def lint_in(root: Path, paths: list[str]) -> int:
    """Do the same for the labs below `root`."""
    from labs.notebooks import lint as rules
    from labs.notebooks.source import SourceError, read

    try:
        labs = find_labs(paths, root)
        problems = [str(problem) for lab in labs for problem in rules.check(read(lab.source))]
    except (LabNotFoundError, SourceError) as error:
        problems = [str(error)]
    for line in problems:
        typer.echo(line.replace(f"{root}/", ""), err=True)
    return 1 if problems else 0


def new(
    name: Annotated[str, typer.Argument(help="Such as week2_azure/01_data_lake")],
    title: Annotated[str, typer.Option(help="Starts with a verb")] = "Measure something",
) -> int:
    """Start a new lab from the template; returns 0, or 1 when there is one of that name."""
    return new_in(ROOT, name, title)


def new_in(root: Path, name: str, title: str) -> int:
    """Do the same below `root`."""
    from labs.notebooks.document import write

    lab = LabFile(root, name.removeprefix("solutions/").removesuffix(".py").strip("/"))
    if "/" not in lab.name or not lab.name.split("/")[-1][:2].isdigit():
        typer.echo(f"{name!r} is not a lab's name. Write week/NN_name, such as week2_azure/01_data_lake.", err=True)
        return 1
    if lab.source.exists():
        typer.echo(f"{lab.shown(lab.source)} is there already. Choose another number or name.", err=True)
        return 1
    template = (Path(__file__).parent / "template.py.txt").read_text(encoding="utf-8")
    write(lab.source, template.replace("{{title}}", title).replace("{{lab}}", lab.name))
    typer.echo(f"Wrote {lab.shown(lab.source)}. Edit it and add it to _toc.yml, then:")
    typer.echo(f"  lab notebooks lint {lab.name}\n  lab notebooks build\n  lab run --only {lab.name} --save")
    return 0


def _exiting(status: int) -> None:
    raise typer.Exit(status)


@app.command("build")
def _build_command(paths: Names = None, check: Check = False, force: Force = False) -> None:
    """Make learner and executed notebooks from their sources."""
    _exiting(build(paths, check, force))


@app.command("lint")
def _lint_command(paths: Names = None) -> None:
    """Check that labs follow the common anatomy."""
    _exiting(lint(paths))


@app.command("new")
def _new_command(name: str, title: str = "Measure something") -> None:
    """Start a new lab from the template."""
    _exiting(new(name, title))
