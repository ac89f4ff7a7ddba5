"""Executes invocations: concurrency, environments, INIT and its repetition, report, logs, metrics, usage.

Takes the place of MiniStack's own executors and keeps their contract: a dictionary with `body`, `log`, `error`,
`throttle`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from ministack.services import lambda_svc

from localcloud.aws.functions import failures, logs, report, runtimes
from localcloud.aws.functions.environment import Environment, Outcome, Started
from localcloud.aws.functions.failures import Failure
from localcloud.aws.functions.fleet import INIT_SECONDS, Fleet
from localcloud.aws.functions.logs import FunctionLogs, Stream
from localcloud.aws.functions.metrics import FunctionMetrics
from localcloud.aws.functions.packages import Packages
from localcloud.aws.functions.report import Report
from localcloud.aws.functions.runtime_api import Invocation
from localcloud.aws.functions.runtimes import FunctionVersion
from localcloud.aws.functions.usage_log import UsageLog
from localcloud.runtime.archive import ArchiveError

_LOG: Final = logging.getLogger(__name__)
_THROTTLED: Final = {
    "function": "ReservedFunctionConcurrentInvocationLimitExceeded",
    "account": "ConcurrentInvocationLimitExceeded",
}

Record = Mapping[str, Any]
"""MiniStack's record of a function or version: `config`, `code_zip` and more."""


@dataclass(frozen=True)
class _Execution:
    """One invocation, from its start to its report."""

    request_id: str
    function: FunctionVersion
    arn: str
    event: bytes
    trace_id: str | None


@dataclass(frozen=True)
class _Done:
    """What came of it."""

    outcome: Outcome
    report: Report
    log: str
    """From START to REPORT."""
    before: str
    """What was printed before START: by INIT."""
    stream: str
    initialization: str


class Executor:
    """Runs functions. Safe to share between threads: each invocation has one."""

    def __init__(
        self, fleet: Fleet, packages: Packages, usage: UsageLog, function_logs: FunctionLogs, metrics: FunctionMetrics
    ) -> None:
        self._fleet = fleet
        self._packages = packages
        self._usage = usage
        self._logs = function_logs
        self._metrics = metrics

    def execute(self, record: Record, event: Any, request_id: str | None = None) -> dict[str, Any]:
        """Run one invocation of a function or version, within its concurrency."""
        config = record.get("config") or record
        if lambda_svc._function_config_scope_mismatch(config):
            result: dict[str, Any] = lambda_svc._run_with_function_config_scope(
                config, self.execute, record, event, request_id
            )
            return result
        slot, limit = lambda_svc._acquire_execution_slot(_with_reserved_concurrency(record, config), config)
        if slot is None:
            arn = config["FunctionArn"].split(":")
            self._metrics.throttled((arn[4], arn[3], config["FunctionName"]))
            return _throttled(limit)
        try:
            return self._execute(record, config, event, request_id or str(uuid4()))
        finally:
            lambda_svc._release_execution_slot(slot)

    def function_version(self, record: Record, config: Mapping[str, Any]) -> FunctionVersion:
        """What an environment for this record looks like; unpacks code and layers. Raises ArchiveError."""
        arn = config["FunctionArn"].split(":")
        region, account = arn[3], arn[4]
        layers = [lambda_svc._resolve_layer_zip(each) for each in config.get("Layers") or ()]
        logging_config = config.get("LoggingConfig") or {}
        return FunctionVersion(
            account=account,
            region=region,
            name=config["FunctionName"],
            version=config.get("Version", "$LATEST"),
            runtime=config["Runtime"],
            handler=config["Handler"],
            memory_mb=int(config.get("MemorySize", 128)),
            timeout=float(config.get("Timeout", 3)),
            architecture=(config.get("Architectures") or ["x86_64"])[0],
            ephemeral_mb=int((config.get("EphemeralStorage") or {}).get("Size", 512)),
            code=self._packages.code(account, record.get("code_zip") or b""),
            layers=tuple(self._packages.code(account, layer) for layer in layers if layer),
            variables=tuple(sorted(((config.get("Environment") or {}).get("Variables") or {}).items())),
            log_group=logging_config.get("LogGroup") or f"/aws/lambda/{config['FunctionName']}",
        )

    def record_init(self, function: FunctionVersion, started: Started) -> None:
        """Bill the INIT of a provisioned environment, which no invocation's report holds."""
        billed = report.billed_ms(started.milliseconds, None)
        self._usage.append({"kind": "init", **_billed(function, billed, "provisioned-concurrency")})

    def _execute(self, record: Record, config: Mapping[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        if config.get("Runtime") not in runtimes.SUPPORTED:  # made by CloudFormation, past our checks
            return _failed({"errorType": "Runtime.Unknown", "errorMessage": _not_executed(config.get("Runtime"))}, "")
        try:
            function = self.function_version(record, config)
        except ArchiveError as error:
            return _failed({"errorType": "Runtime.Unknown", "errorMessage": str(error)}, "")
        execution = _Execution(
            request_id, function, config["FunctionArn"], json.dumps(event, ensure_ascii=False).encode(),
            lambda_svc._xray_trace_id_for_invocation(config),
        )  # fmt: skip
        done = self._run(execution)
        self._record(execution, done)
        failure = done.outcome.failure
        if failure is not None:
            return _failed(failure.payload, done.log)
        return {"body": json.loads(done.outcome.answer or b"null"), "raw_payload": False, "log": done.log}

    def _run(self, execution: _Execution) -> _Done:
        environment = self._fleet.acquire(execution.function)
        before, first = "", None
        if environment is None:
            environment, first = self._start(execution.function)
            before = f"{_init_start(execution.function)}\n{first.output}"
            if first.failure is not None:
                before += report.init_report_line(first.milliseconds, "init", first.failure.error_type) + "\n"
                self._fleet.release(environment)
                return self._run_with_second_init(execution, before)
        try:
            outcome = environment.invoke(self._invocation(execution), execution.function.timeout)
        finally:
            self._fleet.release(environment)
        return _done(execution, environment, outcome, before, init_ms=first.milliseconds if first else None)

    def _start(self, function: FunctionVersion) -> tuple[Environment, Started]:
        environment = self._fleet.create(function)
        with self._fleet.turn_to_start():
            return environment, environment.start(INIT_SECONDS)

    def _run_with_second_init(self, execution: _Execution, before: str) -> _Done:
        """After an INIT that failed, Lambda repeats it within the invocation, under the function's timeout
        (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html)."""
        seconds = execution.function.timeout
        environment = self._fleet.create(execution.function)
        try:
            second = environment.start(seconds, execution.request_id)
            if second.failure is None:
                outcome = environment.invoke(
                    self._invocation(execution), max(0.001, seconds - second.milliseconds / 1000)
                )
                outcome = _longer(outcome, second, seconds, execution.request_id)
            else:
                outcome = _failed_to_start(second, second.failure, environment)
        finally:
            self._fleet.release(environment)
        return _done(execution, environment, outcome, before, init_ms=None)

    def _invocation(self, execution: _Execution) -> Invocation:
        deadline = time.time() + execution.function.timeout
        return Invocation(execution.request_id, execution.event, execution.arn, deadline, execution.trace_id)

    def _record(self, execution: _Execution, done: _Done) -> None:
        """Usage is on disk when this returns; logs and metrics follow."""
        function = execution.function
        self._usage.append({
            "kind": "invocation", "request_id": execution.request_id,
            **_billed(function, done.report.billed_ms, done.initialization),
        })  # fmt: skip
        stream = Stream(function.account, function.region, function.log_group, done.stream)
        self._logs.write(stream, logs.messages_of(done.before + done.log))
        self._metrics.invoked(function.key[:3], done.report.duration_ms, failed=done.outcome.failure is not None)


def _done(
    execution: _Execution, environment: Environment, outcome: Outcome, before: str, init_ms: float | None
) -> _Done:
    failure = outcome.failure
    final = Report(
        execution.request_id, outcome.milliseconds, execution.function.memory_mb, outcome.used_mb, init_ms,
        failure.status if failure else "", failure.error_type if failure else "",
    )  # fmt: skip
    lines = [
        report.start_line(execution.request_id, execution.function.version) + "\n",
        _whole(outcome.output),
        _whole(failure.log_line if failure else ""),
        report.end_line(execution.request_id) + "\n",
        final.line + "\n",
    ]
    return _Done(outcome, final, "".join(lines), before, environment.stream, environment.initialization)


def _longer(outcome: Outcome, init: Started, seconds: float, request_id: str) -> Outcome:
    """With the second INIT in its time."""
    failure = outcome.failure
    if failure is not None and failure.error_type == failures.TIMED_OUT:
        failure = failures.timed_out(request_id, seconds)
    total = outcome.milliseconds + init.milliseconds
    return Outcome(total, outcome.answer, failure, init.output + outcome.output, outcome.used_mb)


def _failed_to_start(init: Started, failure: Failure, environment: Environment) -> Outcome:
    line = report.init_report_line(init.milliseconds, "invoke", failure.error_type) + "\n"
    named = Failure(failure.payload, failure.status or "error", failure.log_line)
    return Outcome(init.milliseconds, b"", named, _whole(init.output) + line, environment.used_mb)


def _whole(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _init_start(function: FunctionVersion) -> str:
    return f"INIT_START Runtime Version: {function.runtime} (local cloud, {runtimes.description()})"


def _not_executed(runtime: str | None) -> str:
    return f"The local cloud does not execute {runtime or 'container images'}. It has: {', '.join(runtimes.SUPPORTED)}"


def _billed(function: FunctionVersion, billed_ms: int, initialization: str) -> dict[str, Any]:
    return {
        "time": time.time(), "account": function.account, "region": function.region, "function": function.name,
        "billed_ms": billed_ms, "memory_mb": function.memory_mb, "ephemeral_mb": function.ephemeral_mb,
        "architecture": function.architecture, "type": initialization,
    }  # fmt: skip


def _failed(payload: Mapping[str, Any], log: str) -> dict[str, Any]:
    return {"body": dict(payload), "error": True, "function_error": "Unhandled", "log": log}


def _throttled(limit: str) -> dict[str, Any]:
    """https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors"""
    body = {
        "__type": "TooManyRequestsException", "Reason": _THROTTLED[limit], "Type": "User", "message": "Rate Exceeded.",
        "retryAfterSeconds": "1",
    }  # fmt: skip
    return {"throttle": True, "error": True, "body": body, "log": ""}


def _with_reserved_concurrency(record: Record, config: Mapping[str, Any]) -> dict[str, Any]:
    """Versions share their function's limit, which only the function's record holds."""
    function = lambda_svc._functions.get(config["FunctionName"]) or {}
    return {**record, "concurrency": function.get("concurrency")}
