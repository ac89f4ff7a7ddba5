"""Asynchronous invocations: kept on disk from before they are accepted until they are settled.

An event is tried again after an error (twice, unless configured otherwise), and as long as it takes while the function
is throttled; then it goes to the function's destinations or dead-letter queue. Semantics:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html. The pauses between tries are those of
a lab, seconds where AWS waits minutes. An event may be delivered more than once, as on AWS: what was running when
MiniStack died is run again.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from ministack.core.responses import request_scope
from ministack.services import lambda_svc

from localcloud.aws.functions.services import ServiceError, Services
from localcloud.home import write_atomically

_LOG: Final = logging.getLogger(__name__)
_RETRY_SECONDS: Final = (1.0, 2.0)
"""AWS: one minute, then two."""
_THROTTLED_SECONDS: Final = (0.1, 5.0)
"""First and longest pause while the function has no concurrency left; AWS: one second to five minutes."""
_DEFAULT_RETRIES: Final = 2
_DEFAULT_AGE_SECONDS: Final = 21_600
_ERROR_CHARACTERS: Final = 1024

Execute = Callable[[Mapping[str, Any], Any, str], dict[str, Any]]


@dataclass(frozen=True)
class Queued:
    """One accepted event."""

    request_id: str
    arn: str
    """Of the function, with the version or alias that was called."""
    event: Any
    accepted: float
    """Unix seconds."""
    failed: int = 0
    """Tries that ended in an error."""


class AsyncInvocations:
    """The accepted events, a file each."""

    def __init__(self, folder: Path, execute: Execute, calls: Services) -> None:
        self._folder = folder
        self._execute = execute
        self._calls = calls
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def accept(self, record: Mapping[str, Any], event: Any) -> None:
        """Take an event; it is on disk when this returns. Raises OSError."""
        config = record.get("config") or record
        queued = Queued(str(uuid4()), config["FunctionArn"], event, time.time())
        self._save(queued)
        self._run_later(queued)

    def resume(self) -> None:
        """Continue with what was accepted before a restart."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                self._run_later(Queued(**json.loads(path.read_text())))
            except (ValueError, TypeError):
                _LOG.exception("%s is damaged and left alone", path)

    def _run_later(self, queued: Queued) -> None:
        threading.Thread(target=self._run, args=(queued,), name="lambda-async", daemon=True).start()

    def _run(self, queued: Queued) -> None:
        try:
            with request_scope(*_account_and_region(queued.arn)):
                self._settle(queued)
            self._path(queued).unlink(missing_ok=True)
        except Exception:
            _LOG.exception("the asynchronous invocation %s is kept for the next start", queued.request_id)

    def _settle(self, queued: Queued) -> None:
        """Try until the event is handled or given up."""
        pause = _THROTTLED_SECONDS[0]
        while True:
            record, _, _ = lambda_svc._get_func_record_for_ref(queued.arn)
            if record is None:
                _LOG.warning("%s is gone: an event for it is dropped", queued.arn)
                return
            record = {**record, "config": {**record["config"], "FunctionArn": queued.arn}}
            settings = _settings(record, queued.arn)
            result = self._execute(record, queued.event, queued.request_id)
            if result.get("throttle"):
                wait, pause = pause, min(2 * pause, _THROTTLED_SECONDS[1])
            elif result.get("error"):
                queued = replace(queued, failed=queued.failed + 1)
                self._save(queued)
                wait = _RETRY_SECONDS[min(queued.failed, len(_RETRY_SECONDS)) - 1]
            else:
                self._send(_target(settings, "OnSuccess"), queued, record, result, "Success")
                return
            expired = time.time() + wait - queued.accepted > settings["MaximumEventAgeInSeconds"]
            if queued.failed > settings["MaximumRetryAttempts"] or expired:
                self._give_up(queued, record, result, settings, "EventAgeExceeded" if expired else "RetriesExhausted")
                return
            time.sleep(wait)

    def _give_up(
        self,
        queued: Queued,
        record: Mapping[str, Any],
        result: Mapping[str, Any],
        settings: Mapping[str, Any],
        why: str,
    ) -> None:
        self._send(_target(settings, "OnFailure"), queued, record, result, why)
        dead_letters = (record["config"].get("DeadLetterConfig") or {}).get("TargetArn")
        if dead_letters:
            error = result.get("body") or {}
            attributes = {
                "RequestID": queued.request_id,
                "ErrorCode": "429" if result.get("throttle") else "200",
                "ErrorMessage": str(error.get("errorMessage") or error.get("message") or "")[:_ERROR_CHARACTERS] or "-",
            }
            self._deliver(dead_letters, json.dumps(queued.event), attributes)

    def _send(
        self, target: str, queued: Queued, record: Mapping[str, Any], result: Mapping[str, Any], condition: str
    ) -> None:
        if target:
            self._deliver(target, json.dumps(destination_event(queued, record["config"], result, condition)), {})

    def _deliver(self, arn: str, body: str, attributes: Mapping[str, str]) -> None:
        service, (account, region) = arn.split(":")[2], _account_and_region(arn)
        try:
            if service == "sqs":
                self._send_to_queue(arn, account, region, body, attributes)
            elif service == "sns":
                self._calls.publish(account, region, arn, body)
            elif service == "lambda":
                record, config, _ = lambda_svc._get_func_record_for_ref(arn)
                if record is not None:
                    self.accept(lambda_svc._execution_record_for_config(record, config), json.loads(body))
            else:
                _LOG.error("a destination of the service %s is not part of the local cloud: %s", service, arn)
        except ServiceError:
            _LOG.exception("nothing could be sent to %s", arn)

    def _send_to_queue(self, arn: str, account: str, region: str, body: str, attributes: Mapping[str, str]) -> None:
        name = arn.rsplit(":", 1)[1]
        url = self._calls.call(account, region, "sqs", "GetQueueUrl", QueueName=name)["QueueUrl"]
        typed = {key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()}
        self._calls.call(account, region, "sqs", "SendMessage", QueueUrl=url, MessageBody=body, MessageAttributes=typed)

    def _save(self, queued: Queued) -> None:
        write_atomically(self._path(queued), json.dumps(asdict(queued)))

    def _path(self, queued: Queued) -> Path:
        return self._folder / f"{queued.request_id}.json"


def destination_event(
    queued: Queued, config: Mapping[str, Any], result: Mapping[str, Any], condition: str
) -> dict[str, Any]:
    """What a destination gets:
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
    context: dict[str, Any] = {"statusCode": 200, "executedVersion": config.get("Version", "$LATEST")}
    if result.get("error"):
        context["functionError"] = "Unhandled"
    return {
        "version": "1.0",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "requestContext": {
            "requestId": queued.request_id,
            "functionArn": queued.arn if queued.arn.count(":") > 6 else f"{queued.arn}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": queued.failed if result.get("error") else queued.failed + 1,
        },
        "requestPayload": queued.event,
        "responseContext": context,
        "responsePayload": result.get("body"),
    }


def _settings(record: Mapping[str, Any], arn: str) -> dict[str, Any]:
    qualifier = arn.split(":")[7] if arn.count(":") > 6 else ""
    function = lambda_svc._functions.get(record["config"]["FunctionName"]) or record
    configured = (function.get("event_invoke_configs") or {}).get(qualifier) or {}
    defaults = {"MaximumRetryAttempts": _DEFAULT_RETRIES, "MaximumEventAgeInSeconds": _DEFAULT_AGE_SECONDS}
    return defaults | {key: value for key, value in configured.items() if value is not None}


def _target(settings: Mapping[str, Any], outcome: str) -> str:
    return str(((settings.get("DestinationConfig") or {}).get(outcome) or {}).get("Destination") or "")


def _account_and_region(arn: str) -> tuple[str, str]:
    parts = arn.split(":")
    return parts[4], parts[3]
