"""Drives training jobs from creation to end. Each phase is repeatable, and the phase a job is in is in the store.

starting -> downloading -> training -> uploading -> ended. After a restart of the control plane, driving goes on where
it was: the job's processes have run on under their shims meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.aws.logs import LogPump, LogStream
from localcloud.aws.sagemaker import job_outputs, training_status
from localcloud.aws.sagemaker.errors import SageMakerError
from localcloud.aws.sagemaker.job_instances import Attempt, job_folder
from localcloud.aws.sagemaker.job_outputs import MetricReader
from localcloud.aws.sagemaker.naming import TRAINING_JOB, scope_of
from localcloud.aws.sagemaker.s3_transfer import FolderSync, TransferError
from localcloud.aws.sagemaker.setting import Setting
from localcloud.aws.sagemaker.training_status import move
from localcloud.meter import usage
from localcloud.runtime import job as runtime
from localcloud.runtime.archive import ArchiveError
from localcloud.runtime.process import kill_all
from localcloud.runtime.spec import JobStatus
from localcloud.store import Key, StoreFullError

LOG_GROUP: Final = "/aws/sagemaker/TrainingJobs"
METRICS: Final = "/aws/sagemaker/TrainingJobs"
_TICK_SECONDS: Final = 0.05
_PUMP_SECONDS: Final = 0.3
_CHECKPOINT_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0
_DEFAULT_RUNTIME: Final = 86_400
_MOST_METRICS: Final = 500
_log: Final = logging.getLogger(__name__)


class Drivers:
    """One thread for each job that has not ended."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._drivers: dict[Key, _Driver] = {}

    def drive(self, key: Key) -> None:
        """Drive a job, unless somebody does already."""
        with self._lock:
            if key not in self._drivers:
                self._drivers[key] = _Driver(self._setting, key, self._done)

    def adopt(self) -> None:
        """Go on with all jobs that had not ended when the control plane died."""
        for resource in self._setting.store.list(TRAINING_JOB.stored):
            running = str(resource.body["_attempt"]) if resource.body["_phase"] != "ended" else None
            for folder in job_folder(self._setting, scope_of(resource.key), resource.key.name).glob("*"):
                if folder.name != running:
                    job_outputs.clear(folder)
            if running:
                self.drive(resource.key)

    def wake(self, key: Key) -> None:
        """Tell a job's driver that something has changed in the store."""
        with self._lock:
            driver = self._drivers.get(key)
        if driver is not None:
            driver.wake()

    def forget(self, key: Key) -> None:
        """Forget a job: kill what it runs, bill it until now, and remove its folder."""
        resource = self._setting.store.get(key)
        if resource is None:
            return
        if resource.body["_phase"] != "ended":
            _record_usage(self._setting, key, resource.body)
        self._setting.store.delete(key)
        self.wake(key)
        _clear_away(self._setting, key)

    def sample_usage(self) -> None:
        """Bring the ledger up to date for the jobs that run now."""
        for resource in self._setting.store.list(TRAINING_JOB.stored):
            if resource.body["_phase"] != "ended":
                _record_usage(self._setting, resource.key, resource.body)

    def _done(self, key: Key) -> None:
        with self._lock:
            self._drivers.pop(key, None)
        resource = self._setting.store.get(key)
        if resource is not None and resource.body["_phase"] != "ended":  # deleted and made again meanwhile
            self.drive(key)


class _Driver:
    """Drives one job in its own thread."""

    def __init__(self, setting: Setting, key: Key, done: Callable[[Key], None]) -> None:
        self._setting = setting
        self._key = key
        self._scope = scope_of(key)
        self._done = done
        self._woken = threading.Event()
        self._phases: dict[str, Callable[[Attempt], None]] = {
            "starting": self._start,
            "downloading": self._download,
            "training": self._train,
            "uploading": self._upload,
        }
        threading.Thread(target=self._run, name=f"job-{key.name}", daemon=True).start()

    def wake(self) -> None:
        self._woken.set()

    def _run(self) -> None:
        try:
            patience = time.monotonic() + _PATIENCE_SECONDS
            phase = ""
            while (job := self._job()) is not None and job["_phase"] != "ended":
                if job["_phase"] != phase:
                    phase, patience = job["_phase"], time.monotonic() + _PATIENCE_SECONDS
                self._step(job, patience)
            if job is None:
                _clear_away(self._setting, self._key)
            self._done(self._key)
        except Exception:
            _log.exception("driving %s stopped; it goes on after a restart of the control plane", self._key)

    def _step(self, job: dict[str, Any], patience: float) -> None:
        """Do one phase; a part that is away for a moment is waited for, anything else fails the job."""
        try:
            self._phases[job["_phase"]](Attempt(self._setting, self._scope, job))
        except (TransferError, ArchiveError, SageMakerError) as error:
            doing = "Artifact upload" if job["_phase"] == "uploading" else "Data download"
            self._fail(f"ClientError: {doing} failed: {error}")
        except StoreFullError:
            _log.warning("the disk is full; %s waits for space", self._key)
            time.sleep(1.0)
        except (BotoCoreError, ClientError, OSError) as error:
            if time.monotonic() > patience:
                self._fail(f"InternalServerError: We encountered an internal error. {error}. Look at: lab status")
            time.sleep(0.1)
        except Exception as error:
            _log.exception("%s failed", self._key)
            self._fail(f"InternalServerError: We encountered an internal error. {type(error).__name__}: {error}")

    def _job(self) -> dict[str, Any] | None:
        resource = self._setting.store.get(self._key)
        return resource.body if resource else None

    def _change(self, update: Callable[[dict[str, Any]], None]) -> None:
        self._setting.store.change(self._key, update)

    def _start(self, attempt: Attempt) -> None:
        if attempt.job.get("_stop"):
            return self._finish("Stopped")
        streams = attempt.job.get("_streams") or _stream_names(attempt)
        for stream in streams.values():
            self._stream_pump(attempt, "algo-1", stream).open()
        now = time.time()

        def update(body: dict[str, Any]) -> None:
            body.setdefault("TrainingStartTime", now)
            body.update(_phase="downloading", _streams=streams)
            body["_attempts"].append({"started": now})
            move(body, "Downloading")

        return self._change(update)

    def _download(self, attempt: Attempt) -> None:
        for host in attempt.hosts:
            attempt.prepare(host)
            if (self._job() or {}).get("_stop"):
                return self._finish("Stopped")

        def update(body: dict[str, Any]) -> None:
            body["_phase"] = "training"
            if not body.get("_stop"):
                move(body, "Training")

        return self._change(update)

    def _train(self, attempt: Attempt) -> None:
        """Start the instances (once) and look after them until all have ended."""
        for host in attempt.hosts:
            runtime.start(attempt.spec(host, _wall_seconds(attempt.job)))
        metrics = MetricReader(attempt.job)
        pumps = self._pumps(attempt, metrics)
        syncs = list(attempt.checkpoint_syncs(*attempt.hosts))
        statuses = self._watch(attempt, pumps, metrics, syncs)
        for pump in pumps:
            pump.pump(final=True)
        self._put_metrics(metrics)
        for sync in syncs:
            sync.push()
        self._conclude(attempt, statuses)

    def _watch(
        self, attempt: Attempt, pumps: list[LogPump], metrics: MetricReader, syncs: list[FolderSync]
    ) -> dict[str, JobStatus]:
        next_pump = next_sync = 0.0
        while True:
            statuses = {host: runtime.status(folder.root) for host, folder in attempt.folders.items()}
            if all(status.state == "ended" for status in statuses.values()):
                return statuses
            self._stop_if_needed(attempt, statuses)
            now = time.monotonic()
            if now >= next_pump:
                for pump in pumps:
                    pump.pump()
                self._put_metrics(metrics)
                next_pump = now + _PUMP_SECONDS
            if now >= next_sync:
                for sync in syncs:
                    sync.push()
                next_sync = now + _CHECKPOINT_SECONDS
            self._woken.wait(_TICK_SECONDS)
            self._woken.clear()

    def _stop_if_needed(self, attempt: Attempt, statuses: dict[str, JobStatus]) -> None:
        """Stop all instances when asked to, when the capacity is reclaimed, or when one of them has failed."""
        job = self._job()
        gone = job is None
        asked = job is not None and (job.get("_stop") or job.get("_reclaim"))
        if gone or asked or any(_is_bad(status) for status in statuses.values()):
            for host, status in statuses.items():
                if status.state != "ended":
                    runtime.stop(attempt.folders[host].root)

    def _conclude(self, attempt: Attempt, statuses: dict[str, JobStatus]) -> None:
        job = self._job() or {}
        bad = {host: status for host, status in statuses.items() if _is_bad(status)}
        ended = max((status.ended or time.time()) for status in statuses.values())
        if job.get("_stop"):
            self._to_upload("Stopped")
        elif job.get("_reclaim"):
            self._restart(attempt, ended)
        elif bad:
            host, status = min(bad.items(), key=lambda item: item[1].ended or 0)
            if status.reason == "wall-time":
                self._to_upload(_why_time_ended(job))
            else:
                self._to_upload("Failed", job_outputs.failure_reason(attempt.folders[host], host, status))
        else:
            self._to_upload("Completed")

    def _to_upload(self, outcome: str, reason: str = "") -> None:
        def update(body: dict[str, Any]) -> None:
            body.update(_phase="uploading", _outcome=outcome, _reason=training_status.clipped(reason))
            if outcome != "Failed":
                move(body, "Uploading")

        self._change(update)

    def _restart(self, attempt: Attempt, ended: float) -> None:
        """Spot capacity was reclaimed: begin the next attempt from the checkpoints."""

        def update(body: dict[str, Any]) -> None:
            body["_attempts"][-1]["ended"] = ended
            move(body, "Interrupted")
            _record_usage(self._setting, self._key, body)
            body.update(_phase="starting", _attempt=body["_attempt"] + 1, _reclaim=False)
            move(body, "Starting")

        with self._setting.store.transaction():
            self._change(update)
        job_outputs.clear(attempt.folder)

    def _upload(self, attempt: Attempt) -> None:
        outcome = attempt.job["_outcome"]
        job_outputs.upload(attempt, with_model=outcome != "Failed")
        self._finish(outcome, attempt.job.get("_reason", ""))

    def _fail(self, reason: str) -> None:
        job = self._job()
        if job is not None:
            for folder in Attempt(self._setting, self._scope, job).folders.values():
                _kill(folder.root)
        self._finish("Failed", reason)

    def _finish(self, outcome: str, reason: str = "") -> None:
        """Enter the final status, with times and usage, in one transaction."""
        now = time.time()

        def update(body: dict[str, Any]) -> None:
            if body["_phase"] == "ended":
                return
            if body["_attempts"]:
                body["_attempts"][-1].setdefault("ended", now)
                body["TrainingEndTime"] = now
                training_status.set_times(body)
                _record_usage(self._setting, self._key, body)
            if reason:
                body["FailureReason"] = training_status.clipped(reason)
            body["_phase"] = "ended"
            move(body, outcome)

        job = self._job()
        self._change(update)
        if job is not None:
            job_outputs.clear(Attempt(self._setting, self._scope, job).folder)

    def _pumps(self, attempt: Attempt, metrics: MetricReader) -> list[LogPump]:
        def on_lines(lines: Sequence[str]) -> None:
            if metrics.read(lines):
                self._change(lambda body: body.update(FinalMetricDataList=metrics.final))

        return [self._stream_pump(attempt, host, attempt.job["_streams"][host], on_lines) for host in attempt.hosts]

    def _stream_pump(
        self, attempt: Attempt, host: str, stream: str, on_lines: Callable[[Sequence[str]], None] | None = None
    ) -> LogPump:
        folder = attempt.folders[host]
        return LogPump(
            self._setting.store,
            self._setting.clients,
            LogStream(self._scope.account, self._scope.region, LOG_GROUP, stream),
            folder.log,
            rewrite=folder.vendor,
            on_lines=on_lines,
        )

    def _put_metrics(self, metrics: MetricReader) -> None:
        fresh = metrics.take()
        if not fresh:
            return
        client = self._setting.clients.aws("cloudwatch", self._scope.account, self._scope.region)
        dimensions = [{"Name": "TrainingJobName", "Value": self._key.name}]
        for start in range(0, len(fresh), _MOST_METRICS):
            client.put_metric_data(
                Namespace=METRICS,
                MetricData=[{**each, "Dimensions": dimensions} for each in fresh[start : start + _MOST_METRICS]],
            )


def _stream_names(attempt: Attempt) -> dict[str, str]:
    stamp = int(time.time())
    return {host: f"{attempt.name}/{host}-{stamp}" for host in attempt.hosts}


def _wall_seconds(job: dict[str, Any]) -> float:
    """What is left of MaxRuntime and, for spot jobs, of MaxWaitTime."""
    used = sum(each["ended"] - each["started"] for each in job["_attempts"] if each.get("ended"))
    left = job["StoppingCondition"].get("MaxRuntimeInSeconds", _DEFAULT_RUNTIME) - used
    return float(max(1.0, min(left, _wait_left(job))))


def _wait_left(job: dict[str, Any]) -> float:
    wait = job["StoppingCondition"].get("MaxWaitTimeInSeconds")
    return float(job["CreationTime"] + wait - time.time()) if wait else float("inf")


def _why_time_ended(job: dict[str, Any]) -> str:
    return "MaxWaitTimeExceeded" if _wait_left(job) <= 0 else "MaxRuntimeExceeded"


def _is_bad(status: JobStatus) -> bool:
    return status.state == "ended" and (status.reason != "exit" or status.exit_code != 0)


def _clear_away(setting: Setting, key: Key) -> None:
    """Kill what a job that is gone still runs, and remove its folder."""
    base = job_folder(setting, scope_of(key), key.name)
    for folder in base.glob("*/*"):
        _kill(folder)
    job_outputs.remove(base)


def _kill(folder: Path) -> None:
    """End what runs in a job's folder, without a grace."""
    main, shim = runtime.main_identity(folder), runtime.shim_identity(folder)
    if folder.exists() and runtime.status(folder).state != "ended":
        runtime.stop(folder)
    for identity in (main, shim):
        if identity is not None:
            kill_all(identity)


def _record_usage(setting: Setting, key: Key, body: dict[str, Any]) -> None:
    """Write the seconds of the present attempt, one row an instance; repeating it changes nothing."""
    if not body["_attempts"]:
        return
    span = body["_attempts"][-1]
    ended = span.get("ended", time.time())
    kind = "Training Spot" if body.get("EnableManagedSpotTraining") else "Training"
    for number in range(1, body["ResourceConfig"]["InstanceCount"] + 1):
        row = usage.Usage(
            id=f"job:{key.tenant}:{key.region}:{key.name}:{body['_attempt']}:algo-{number}",
            tenant=key.tenant,
            provider="aws",
            region=key.region,
            service="SageMaker AI",
            sku=f"{body['ResourceConfig']['InstanceType']} {kind}",
            resource=key.name,
            unit="second",
            quantity=float(training_status.seconds(span["started"], ended)),
            started=span["started"],
            ended=ended,
        )
        usage.record(setting.store, row)
