"""The `run-status` directive: what the last run found, lab by lab, and the versions of the main libraries.

    ```{run-status}
    boto3
    sagemaker
    ```

The content names libraries; their versions come from the lock. Results come from the report that `lab run` writes; a
lab that is not in it is shown with what its committed notebook remembers. Without a report the page says so.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

REPORT: Final = "_build/run/report.json"
LOCK: Final = "requirements.txt"
LABS: Final = "solutions/"
_SEEN: Final = "run-report"
"""Under this name a page remembers which report it was made from."""
_FINISHED: Final = ("passed", "failed", "interrupted")


class StatusError(ValueError):
    """The status page cannot be made; the message says what to mend."""


@dataclass(frozen=True)
class Result:
    """What is known of one lab's last run. `fresh` is False for what a committed notebook remembers."""

    status: str
    seconds: float | None = None
    cost_usd: float | None = None
    day: date | None = None
    error: str = ""
    fresh: bool = False


UNKNOWN: Final = Result("not recorded")


def result(root: Path, document: str) -> Result:
    """The last run of the lab whose page is `document`: from the report, else from its notebook, else UNKNOWN."""
    return report(root).get(document) or remembered(root / f"{document}.ipynb")


def report(root: Path) -> dict[str, Result]:
    """The report's results by document; empty when there was no run. Labs that have not ended are left out."""
    path = root / REPORT
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["notebooks"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise StatusError(f"{REPORT} cannot be read ({error!r}). Make it anew: lab run") from error
    day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    return {
        entry["path"].removesuffix(".ipynb"): Result(
            entry["status"], entry["seconds"], entry["cost_usd"], day, entry["error"] or "", fresh=True
        )
        for entry in entries
        if entry["status"] in _FINISHED
    }


def remembered(notebook: Path) -> Result:
    """What an executed notebook says of the run that made its outputs."""
    try:
        run = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]["lab"]["run"]
        return Result("passed", float(run["seconds"]), day=date.fromisoformat(run["day"]))
    except (OSError, ValueError, KeyError, TypeError):
        return UNKNOWN


def versions(lock: str, names: Sequence[str]) -> dict[str, str]:
    """The locked version of each library. Raises StatusError for one that the lock does not have."""
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, re.MULTILINE))
    missing = [name for name in names if name not in locked]
    if missing:
        raise StatusError(f"{LOCK} has no {', '.join(missing)}. Correct the name, or add it to requirements.in.")
    return {name: locked[name] for name in names}


def duration(seconds: float | None) -> str:
    """Seconds in words: `28 s`, `2.4 min`, or a dash."""
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def cost(usd: float | None) -> str:
    """US dollars with two digits that count, or a dash."""
    return "-" if usd is None else f"{usd:.2g} USD" if usd < 0.01 else f"{usd:.2f} USD"


class RunStatus(SphinxDirective):
    """Shows both tables."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The tables; a library that is not locked or a damaged report is an error."""
        remember(self.env, self.env.docname)
        self.env.note_dependency(LOCK)
        try:
            return self.parse_text_to_nodes("\n".join(self._lines()))
        except StatusError as error:
            raise self.error(str(error)) from error

    def _lines(self) -> Iterator[str]:
        root = Path(self.env.srcdir)
        fresh = report(root)
        labs = sorted(name for name in self.env.found_docs if name.startswith(LABS))
        yield from _summary(fresh, labs)
        yield from ("", "| Lab | Last run | Time | List price | On |", "| --- | --- | --- | --- | --- |")
        yield from (_row(name, result(root, name)) for name in labs)
        lock = (root / LOCK).read_text(encoding="utf-8")
        python = f"Python {platform.python_version()} on {platform.system()} ({platform.machine()})"
        yield from ("", f"This book was built with {python} and these libraries:", "")
        yield from ("| Library | Version |", "| --- | --- |")
        wanted = [name for line in self.content if (name := line.strip())]
        yield from (f"| {name} | {version} |" for name, version in versions(lock, wanted).items())


def _summary(fresh: dict[str, Result], labs: Sequence[str]) -> Iterator[str]:
    results = [fresh[name] for name in labs if name in fresh]
    if not results:
        yield "**No run came before this build.** The times below, where there are any, were kept with the notebooks "
        yield "that this book shows. `lab run` executes all labs on your machine and builds the book from that."
        return
    passed = sum(each.status == "passed" for each in results)
    total = duration(sum(each.seconds or 0 for each in results))
    yield f"**{passed} of {len(results)} labs passed** in the run of {results[0].day}, with {total} of work between "
    yield f"them. The book has {len(labs)}."


def _row(name: str, found: Result) -> str:
    state = found.status if found.fresh or found is UNKNOWN else f"{found.status} (kept with the notebook)"
    cells = (f"{{doc}}`/{name}`", state, duration(found.seconds), cost(found.cost_usd), str(found.day or "-"))
    return f"| {' | '.join(cells)} |"


def remember(env: BuildEnvironment, docname: str) -> None:
    """Note which report a page was made from, so that it is made again when there is another one, or none."""
    env.metadata[docname][_SEEN] = fingerprint(Path(env.srcdir))


def fingerprint(root: Path) -> str:
    """Changes with the report; `none` without one."""
    path = root / REPORT
    return f"{path.stat().st_mtime_ns}" if path.is_file() else "none"


def outdated(
    _app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]
) -> list[str]:
    """Pages that were made from another report."""
    now = fingerprint(Path(env.srcdir))
    return [name for name, notes in env.metadata.items() if notes.get(_SEEN, now) != now]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("run-status", RunStatus)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": True}
