"""Runs notebooks in processes of their own, some at a time, and lets none of their processes survive.

Notebooks tagged `exclusive` measure the machine (latency, cold start, scaling), so they run alone after the others.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import psutil

from labs.notebooks import document, executed, lint, source
from labs.notebooks.tree import LabFile
from labs.run import child, processes
from labs.run.options import Options
from labs.run.report import Detail, Entry, Report, Status
from labs.run.tenants import Opened, Tenants

_POLL_SECONDS: Final = 0.1
_SAMPLE_SECONDS: Final = 1.0
_GRACE_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Planned:
    """One notebook to run, parsed: the solution, or the learner's."""

    lab: LabFile
    source: source.Source
    learner: bool = False

    @property
    def path(self) -> str:
        """Its name in reports."""
        return self.lab.shown(self.lab.learner if self.learner else self.lab.executed)


@dataclass
class _Running:
    planned: Planned
    process: subprocess.Popen[bytes]
    opened: Opened
    began: float
    log: IO[bytes]
    seen: dict[int, psutil.Process] = field(default_factory=dict)
    sampled: float = 0.0
    cell: int = 0


def _nothing(_entry: Entry, _state: child.State) -> None:
    """Nobody looks."""


class Runner:
    """One run of some notebooks. `on_change` is called with every entry and state that changed."""

    def __init__(
        self,
        planned: Sequence[Planned],
        options: Options,
        tenants: Tenants,
        on_change: Callable[[Entry, child.State], None] = _nothing,
    ) -> None:
        self._options = options
        self._tenants = tenants
        self._on_change = on_change
        self._stop = threading.Event()
        self._running: list[_Running] = []
        self._stamp = time.strftime("%Y%m%d-%H%M%S")
        self._prepare(planned)
        self.report = Report(options.folder / "report.json", [Entry(each.path) for each in planned])
        self.details = {each.path: self._detail(each) for each in planned}

    def stop(self) -> None:
        """End the run; may be called from a signal handler. What has not ended is reported as interrupted."""
        self._stop.set()

    @property
    def interrupted(self) -> bool:
        """True once `stop` was called."""
        return self._stop.is_set()

    def run(self, planned: Sequence[Planned]) -> list[Entry]:
        """Run all of them; returns their entries. Never leaves a process behind, whatever happens."""
        shared = [each for each in planned if not each.source.exclusive]
        alone = [each for each in planned if each.source.exclusive]
        try:
            self._run_queue(shared, self._options.jobs)
            self._run_queue(alone, 1)
        finally:
            self._interrupt()
            for each in planned:
                if self._entry(each).status == "waiting":
                    self._change(each, child.State(0, 0), status="not run")
        return self.report.entries

    def executed(self, planned: Planned) -> Path:
        """Where the executed notebook lies during a run."""
        return self._options.folder / "executed" / f"{planned.lab.name}.ipynb"

    def _run_queue(self, planned: Sequence[Planned], jobs: int) -> None:
        waiting = list(planned)
        while (waiting and not self._is_over()) or self._running:
            while waiting and len(self._running) < jobs and not self._is_over():
                self._start(waiting.pop(0))
            self._stop.wait(_POLL_SECONDS)
            if self._stop.is_set():
                return
            for running in list(self._running):
                self._look_at(running)

    def _is_over(self) -> bool:
        failed = any(entry.status == "failed" for entry in self.report.entries)
        return self._stop.is_set() or (failed and not self._options.keep_going)

    def _start(self, planned: Planned) -> None:
        problems = [finding.text for finding in _must_have(planned.source)]
        if problems:
            self._change(planned, child.State(0, 0), status="failed", seconds=0.0, error="\n".join(problems))
            return
        name = f"run-{self._stamp}-{planned.lab.slug}"
        try:
            opened = self._tenants.open(name, planned.lab.name)
        except RuntimeError as error:  # the local cloud's message says what to do
            self._change(planned, child.State(0, 0), status="failed", seconds=0.0, error=str(error))
            return
        log = self.details[planned.path].log.open("wb")
        job = self._write_job(planned)
        process = subprocess.Popen(
            [sys.executable, "-m", "labs.run.child", str(job)],
            stdin=subprocess.PIPE,  # it closes with this process, and so tells the child
            stdout=log,
            stderr=subprocess.STDOUT,
            env=self._environment(opened, planned.learner),
            start_new_session=True,
        )
        self._running.append(_Running(planned, process, opened, time.monotonic(), log))
        self._change(planned, child.State(0, len(planned.source.cells)), status="running", tenant=opened.account)

    def _look_at(self, running: _Running) -> None:
        now = time.monotonic()
        if running.process.poll() is not None:
            self._finish(running)
            return
        if now - running.sampled > _SAMPLE_SECONDS:
            running.sampled = now
            running.seen |= {process.pid: process for process in processes.descendants(running.process.pid)}
        state = child.read_state(self._state_path(running.planned))
        if state.cell != running.cell:
            running.cell = state.cell
            self._change(running.planned, state, seconds=round(now - running.began, 1))

    def _finish(self, running: _Running) -> None:
        state = child.read_state(self._state_path(running.planned))
        if running.process.returncode == 0:
            self._close(running, state, "passed", None)
            return
        if state.failure is None:
            died = f"its process ended with {running.process.returncode}. Look at the log's last lines."
            state = child.State(state.cell, state.cells, child.Failure(state.cell, "", died, ""))
        self._close(running, state, "failed", state.failure)

    def _close(self, running: _Running, state: child.State, status: Status, failure: child.Failure | None) -> None:
        seconds = round(time.monotonic() - running.began, 1)
        self._running.remove(running)
        if running.process.stdin:
            running.process.stdin.close()
        running.log.close()
        processes.end([process for process in running.seen.values() if process.is_running()], _GRACE_SECONDS)
        error = _error(failure)
        cost = self._tenants.cost_usd(running.opened)
        try:
            self._tenants.close(running.opened)
        except RuntimeError as problem:
            status, error = "failed", f"{error or ''}\nIts tenant could not be removed: {problem}".strip()
        self._remember(running.planned, failure)
        self._change(running.planned, state, status=status, seconds=seconds, cost_usd=cost, error=error)

    def _interrupt(self) -> None:
        trees = [(running, processes.descendants(running.process.pid)) for running in self._running]
        for running, _below in trees:
            running.process.terminate()
        for running, below in trees:
            own = psutil.Process(running.process.pid) if running.process.poll() is None else None
            processes.end([*([own] if own else []), *below, *running.seen.values()], _GRACE_SECONDS)
            running.process.wait()
            state = child.read_state(self._state_path(running.planned))
            self._close(running, state, "interrupted", child.Failure(state.cell, "", "interrupted", ""))

    def _entry(self, planned: Planned) -> Entry:
        return next(entry for entry in self.report.entries if entry.path == planned.path)

    def _change(self, planned: Planned, state: child.State, **fields: Any) -> None:
        self._on_change(self.report.change(planned.path, **fields), state)

    def _remember(self, planned: Planned, failure: child.Failure | None) -> None:
        cells = planned.source.cells
        shown = planned.lab.shown(planned.lab.source)
        if failure and 0 < failure.cell <= len(cells) and not planned.learner:
            shown = f"{shown}:{cells[failure.cell - 1].line}"
        detail = self.details[planned.path]
        self.details[planned.path] = Detail(detail.title, detail.log, detail.executed, shown, detail.exclusive, failure)

    def _detail(self, planned: Planned) -> Detail:
        log = self._options.folder / "logs" / f"{planned.lab.slug}.log"
        shown = planned.lab.shown(planned.lab.source)
        return Detail(planned.source.title, log, self.executed(planned), shown, planned.source.exclusive)

    def _prepare(self, planned: Sequence[Planned]) -> None:
        for name in ("logs", "executed", "input", "state", "work"):
            shutil.rmtree(self._options.folder / name, ignore_errors=True)
        for each in planned:
            (self._options.folder / "work" / each.lab.slug).mkdir(parents=True)
        for name in ("logs", "input", "state"):
            (self._options.folder / name).mkdir()

    def _state_path(self, planned: Planned) -> Path:
        return self._options.folder / "state" / f"{planned.lab.slug}.json"

    def _write_job(self, planned: Planned) -> Path:
        folder = self._options.folder
        notebook = folder / "input" / f"{planned.lab.slug}.ipynb"
        if planned.learner:
            shutil.copyfile(planned.lab.learner, notebook)
        else:
            document.write(notebook, document.dumps(executed.blank(planned.source, planned.lab)))
        output = self.executed(planned)
        output.parent.mkdir(parents=True, exist_ok=True)
        # The default target is in the notebook already; injecting it again would add a cell to the book.
        parameters = {} if self._options.target == "local" else {"target": self._options.target}
        work = folder / "work" / planned.lab.slug
        state = self._state_path(planned)
        job = child.Job(str(notebook), str(output), str(state), str(work), parameters, self._options.cell_seconds)
        path = folder / "input" / f"{planned.lab.slug}.json"
        path.write_text(json.dumps(asdict(job)), encoding="utf-8")
        return path

    def _environment(self, opened: Opened, learner: bool) -> dict[str, str]:
        own = {
            "LAB_TENANT_NAME": opened.name,
            "LABS_STRICT": "0" if learner else "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            # Not the user's own IPython start-up files and history: they would change what a notebook shows.
            "IPYTHONDIR": str(self._options.folder / "ipython"),
        }
        return {**os.environ, **self._options.environment, **own}


def _must_have(parsed: source.Source) -> list[lint.Problem]:
    """What makes a run meaningless: without a parameters cell, papermill runs the default target without a word."""
    return [problem for problem in lint.check(parsed) if "`parameters`" in problem.text or "not valid" in problem.text]


def _error(failure: child.Failure | None) -> str | None:
    if failure is None:
        return None
    return f"Cell {failure.cell}: {failure.error}" if failure.cell else failure.error
