"""`lab doctor`, `test`, `bench`, `clean`, `lock`: keeping house."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from labs import cloud_process, control, home

_UNWANTED_IN_LOCK: Final = re.compile(r"^(?!\s*#).*https?://|^--(extra-)?index-url|^-i ", re.MULTILINE)
_FRESH_SECONDS: Final = 60.0
"""An ended job is left alone for this long: the control plane may still be reading its folder."""


def doctor() -> int:
    """Look for what could be wrong; each line says what to do. 1 when there is a problem.

    Example:  lab doctor
    """
    from labs import doctor as examination

    findings = examination.examine()
    for finding in findings:
        typer.echo(str(finding))
    return 0 if all(finding.ok for finding in findings) else 1


def test(context: typer.Context) -> int:
    """Run all tests (static checks, units, contracts, notebooks, book) in one pytest session; arguments go to pytest.

    Example:  lab test tests/labs -k spend -x
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # Two files at a time, each file with clouds of its own; a part of the tests is quicker without workers.
    workers = [] if context.args else ["-n", "2", "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", *workers, *context.args]
    return subprocess.run(command, cwd=home.repository(), env=env, check=False).returncode


def bench(
    full: Annotated[bool, typer.Option("--full", help="Also time a warm `lab run` (minutes).")] = False,
    only: Annotated[list[str] | None, typer.Option("--only", help="start, job, serving, functions, run.")] = None,
) -> int:
    """Measure the local cloud: ratios in one run, as a table and in _build/bench.json; 1 when a target is missed.

    Example:  lab bench
    """
    from labs import bench as measures

    code: int = measures.main(full=full, only=tuple(only or ()))
    return code


@dataclass(frozen=True)
class Rubbish:
    """Something that `clean` may remove."""

    label: str
    path: Path | None
    account: str = ""

    def remove(self) -> None:
        """Remove it; a tenant through the control API, which stops what it runs."""
        if self.account:
            control.connect().delete_tenant(self.account)
        elif self.path:
            shutil.rmtree(self.path)


def clean(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    jobs_only: Annotated[bool, typer.Option("--jobs", help="Only the folders of ended jobs.")] = False,
) -> int:
    """Remove generated reports, ended jobs' folders and all tenants. Usage, progress and notebooks stay.

    Example:  lab clean --jobs
    """
    found = list(_ended_jobs())
    if not jobs_only:
        found = [*_generated(), *found, *_tenants()]
    if not found:
        typer.echo("There is nothing to remove.")
        return 0
    for each in found:
        typer.echo(f"  {each.label}")
    if not yes and not typer.confirm(f"Remove these {len(found)}?"):
        typer.echo("Nothing was removed.")
        return 0
    for each in found:
        each.remove()
    typer.echo(f"Removed {len(found)}.")
    return 0


def lock(
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Take the newest versions allowed.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write here instead of requirements.txt.")] = None,
) -> int:
    """Compile requirements.in into requirements.txt: hashed, for Linux and macOS, Python 3.11 to 3.13.

    Example:  lab lock --upgrade
    """
    target = (output or home.repository() / "requirements.txt").resolve()
    draft = target.with_name(f".{target.name}.new")
    if target.exists():
        shutil.copy(target, draft)  # uv keeps the versions it finds there
    code = subprocess.run(lock_command(draft, upgrade), cwd=home.repository(), check=False).returncode
    if code == 0 and (problem := lock_problem(draft.read_text())):
        typer.echo(f"lab: the new lock is refused: {problem}. {target} is unchanged.", err=True)
        code = 1
    if code != 0:
        draft.unlink(missing_ok=True)
        return 1
    draft.replace(target)
    typer.echo(f"Wrote {target}. The next ./lab command installs it.")
    return 0


def lock_command(output: Path, upgrade: bool = False) -> list[str]:
    """The uv command that writes the lock; absolute paths only (uv reads `-p v5` as Python 5)."""
    root = home.repository()
    return [
        sys.executable, "-m", "uv", "pip", "compile", "--universal", "--generate-hashes", "--no-header", "--quiet",
        "--python-version", "3.11", "--no-emit-index-url", "--no-emit-find-links",
        "--excludes", str(root / "requirements-excluded.txt"), str(root / "requirements.in"), "-o", str(output),
        *(["--upgrade"] if upgrade else []),
    ]  # fmt: skip


def lock_problem(text: str) -> str:
    """What is wrong with a lock, or nothing: every package needs a hash, and no URL may be in it."""
    if match := _UNWANTED_IN_LOCK.search(text):
        return f"it names an address ({match.group().strip()[:80]})"
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    bare = [block.split()[0] for block in blocks if block.strip() and block[0].isalnum() and "--hash=" not in block]
    return f"no hash for {', '.join(bare[:3])}" if bare else ""


def _generated() -> Iterator[Rubbish]:
    if home.build_folder().exists():
        yield Rubbish(f"generated reports and pages: {home.build_folder()}", home.build_folder())


def _ended_jobs() -> Iterator[Rubbish]:
    for file in sorted((home.folder() / "jobs").rglob("status.json")):
        status = _read(file)
        if status.get("state") == "ended" and time.time() - (status.get("ended") or 0) > _FRESH_SECONDS:
            yield Rubbish(f"ended job: {file.parent}", file.parent)


def _tenants() -> Iterator[Rubbish]:
    try:
        found = control.connect().tenants()
    except cloud_process.CloudError:
        typer.echo("The local cloud is down, so tenants stay. Run lab up first to remove them too.", err=True)
        return
    for each in found:
        yield Rubbish(f"tenant {each.name} ({each.account}) with all it has", None, each.account)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
