"""Executes one notebook with papermill; a process of its own, started by the runner as `python -m labs.run.child JOB`.

JOB is a JSON file (see Job). While it runs, the process keeps a state file up to date, by rename. It ends with 0 when
the notebook ran through and 1 when it did not. It ends at once, with its kernel, on SIGTERM and when its standard input
closes: that is how it learns that the runner is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from labs.run import processes

_TRACEBACK_LINES: Final = 40


@dataclass(frozen=True)
class Job:
    """What to execute. `cell_seconds` is the longest that a single cell may take."""

    notebook: str
    output: str
    state: str
    folder: str
    parameters: dict[str, Any]
    cell_seconds: int


@dataclass(frozen=True)
class Failure:
    """Why a notebook stopped: the cell (from 1, 0 when none is to blame), its source, and the error."""

    cell: int
    source: str
    error: str
    traceback: str


@dataclass(frozen=True)
class State:
    """How far a notebook is: `cell` of `cells`, and why it failed if it did."""

    cell: int
    cells: int
    failure: Failure | None = None


def read_state(path: Path) -> State:
    """The state that a child wrote last; zeros before its first word."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return State(0, 0)
    failure = raw.pop("failure")
    return State(**raw, failure=Failure(**failure) if failure else None)


def _write_state(path: str, state: State) -> None:
    part = Path(f"{path}.part")
    part.write_text(json.dumps(asdict(state)), encoding="utf-8")
    part.replace(path)


def execute(job: Job) -> State:
    """Execute a notebook cell by cell; returns the last state, with the failure if there was one."""
    import papermill
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.exceptions import PapermillExecutionError

    last = State(0, 0)

    class Reporting(NBClientEngine):  # type: ignore[misc]  # papermill has no types
        """Papermill's own engine, which also says where it is."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            start_cell = nb_man.cell_start

            def cell_start(cell: Any, cell_index: int, **more: Any) -> Any:
                nonlocal last
                last = State(cell_index + 1, len(nb_man.nb.cells))
                _write_state(job.state, last)
                return start_cell(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_engines.register("reporting", Reporting)
    try:
        papermill.execute_notebook(
            job.notebook,
            job.output,
            parameters=job.parameters,
            engine_name="reporting",
            cwd=job.folder,
            progress_bar=False,
            log_output=True,
            execution_timeout=job.cell_seconds,
        )
    except PapermillExecutionError as error:
        return _failed(last, error.cell_index + 1, error.source, f"{error.ename}: {error.evalue}", str(error))
    except Exception as error:  # a dead kernel, a cell out of time, a full disk: all end this notebook, none the run
        source = _source_of(job.notebook, last.cell)
        return _failed(last, last.cell, source, f"{type(error).__name__}: {str(error).strip()}", "")
    return last


def _failed(last: State, cell: int, source: str, error: str, traceback: str) -> State:
    shown = "\n".join(traceback.strip().splitlines()[-_TRACEBACK_LINES:])
    return State(last.cell, last.cells, Failure(cell, source, error, shown))


def _source_of(notebook: str, cell: int) -> str:
    from labs.notebooks import document

    cells = document.read(Path(notebook))["cells"]
    return str(cells[cell - 1]["source"]) if 0 < cell <= len(cells) else ""


def _end_now(signum: int, _frame: FrameType | None) -> NoReturn:
    for process in processes.descendants(os.getpid()):
        process.kill()
    os._exit(128 + signum)


def _end_with_runner() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not the buffered reader: its lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main(path: str) -> int:
    """Execute the job in the file `path`."""
    signal.signal(signal.SIGTERM, _end_now)
    signal.signal(signal.SIGINT, _end_now)
    threading.Thread(target=_end_with_runner, daemon=True).start()
    job = Job(**json.loads(Path(path).read_text(encoding="utf-8")))
    state = execute(job)
    _write_state(job.state, state)
    return 1 if state.failure else 0


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(main(sys.argv[1]))
