"""Provisioned concurrency: environments started beforehand, and the account of how long they were held.

https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ministack.core.responses import error_response_json, json_response, request_scope
from ministack.services import lambda_svc

from localcloud.aws.functions.executor import Executor
from localcloud.aws.functions.fleet import Fleet
from localcloud.aws.functions.usage_log import UsageLog

_LOG: Final = logging.getLogger(__name__)
_BILLING: Final = "provisioned_billing"
"""In MiniStack's function record: qualifier to the id of what is being billed."""

Answer = tuple[int, dict[str, str], bytes]


class ProvisionedConcurrency:
    """Puts, deletes and resumes configurations, which MiniStack stores."""

    def __init__(self, fleet: Fleet, executor: Executor, usage: UsageLog, save: Callable[[], None]) -> None:
        self._fleet = fleet
        self._executor = executor
        self._usage = usage
        self._save = save
        """Called when a status has changed behind an answer."""

    def put(self, name: str, qualifier: str | None, data: Mapping[str, Any]) -> Answer:
        """PutProvisionedConcurrencyConfig: accepted at once, READY when all environments have started."""
        function = lambda_svc._functions.get(name)
        refused = self._refusal(name, function, qualifier, data)
        if refused is not None:
            return refused
        assert function is not None
        assert qualifier is not None
        self._release(function, qualifier)
        count = int(data["ProvisionedConcurrentExecutions"])
        config = {
            "RequestedProvisionedConcurrentExecutions": count,
            "AvailableProvisionedConcurrentExecutions": 0,
            "AllocatedProvisionedConcurrentExecutions": 0,
            "Status": "IN_PROGRESS",
            "LastModified": lambda_svc._now_iso(),
        }
        function.setdefault("provisioned_concurrency", {})[qualifier] = config
        self._hold(function, name, qualifier, count)
        self._start_later(function, name, qualifier, config)
        shown = {key: value for key, value in config.items() if not key.startswith("Available")}
        answer: Answer = json_response(shown, 202)
        return answer

    def delete(self, name: str, qualifier: str | None) -> Answer:
        """DeleteProvisionedConcurrencyConfig."""
        function = lambda_svc._functions.get(name)
        if function is None:
            return _not_found(name)
        config = function.get("provisioned_concurrency", {}).pop(qualifier, None)
        if config is None:
            return _no_config(name)
        self._release(function, str(qualifier))
        version = _version(function, str(qualifier))
        if version is not None:
            self._fleet.deprovision(_key(version))
        return 204, {}, b""

    def function_deleted(self, function: Mapping[str, Any], qualifier: str | None = None) -> None:
        """A function, or one version of it, is gone."""
        for held in list(function.get(_BILLING) or {}):
            if qualifier in (None, held):
                self._release(function, held)
        for version in (function.get("versions") or {}).values():
            if qualifier in (None, version["config"]["Version"]):
                self._fleet.deprovision(_key(version))

    def resume(self) -> None:
        """After a restart no environment is left: start them again."""
        for (account, region, name), function in list(lambda_svc._functions.all_items()):
            for qualifier, config in (function.get("provisioned_concurrency") or {}).items():
                config.update(Status="IN_PROGRESS", AvailableProvisionedConcurrentExecutions=0)
                with request_scope(account, region):
                    self._start_later(function, name, qualifier, config)

    def _refusal(
        self, name: str, function: Mapping[str, Any] | None, qualifier: str | None, data: Mapping[str, Any]
    ) -> Answer | None:
        if function is None:
            return _not_found(name)
        refused: Answer | None = lambda_svc._validate_function_qualifier_exists(name, qualifier)
        if refused is not None:
            return refused
        if qualifier in (None, "", "$LATEST") or _version(function, str(qualifier)) is None:
            text = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
            return _invalid(text)
        count, reserved = int(data.get("ProvisionedConcurrentExecutions") or 0), function.get("concurrency")
        if count < 1:
            return _invalid("ProvisionedConcurrentExecutions must be at least 1")
        if reserved is not None and count > int(reserved):
            return _invalid(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for"
                " function"
            )
        return None

    def _start_later(self, function: Any, name: str, qualifier: str, config: dict[str, Any]) -> None:
        arguments = (function, name, qualifier, config)
        threading.Thread(target=self._start, args=arguments, name="lambda-provision", daemon=True).start()

    def _start(self, function: Any, name: str, qualifier: str, config: dict[str, Any]) -> None:
        record = _version(function, qualifier)
        assert record is not None
        account_and_region = record["config"]["FunctionArn"].split(":")
        failed = []
        with request_scope(account_and_region[4], account_and_region[3]):
            try:
                version = self._executor.function_version(record, record["config"])
            except Exception as error:
                _LOG.exception("%s:%s cannot be unpacked", name, qualifier)
                config.update(Status="FAILED", StatusReason=str(error))
                return
            wanted = config["RequestedProvisionedConcurrentExecutions"]

            def on_start(started: Any) -> None:
                self._executor.record_init(version, started)
                if started.failure is not None:
                    failed.append(started.failure)
                else:
                    config["AllocatedProvisionedConcurrentExecutions"] += 1

            config["AllocatedProvisionedConcurrentExecutions"] = 0
            there = self._fleet.provision(version, wanted, on_start)
        config.update(
            AllocatedProvisionedConcurrentExecutions=there,
            AvailableProvisionedConcurrentExecutions=there,
            Status="READY" if there >= wanted else "FAILED",
        )
        if failed:
            config["StatusReason"] = "FUNCTION_ERROR_INIT_FAILURE"
        self._save()

    def _hold(self, function: Any, name: str, qualifier: str, count: int) -> None:
        record = _version(function, qualifier)
        assert record is not None
        config = record["config"]
        arn = config["FunctionArn"].split(":")
        since = time.time()
        held = f"{arn[4]}:{arn[3]}:{name}:{qualifier}:{since:.6f}"
        self._usage.append({
            "kind": "provisioned", "id": held, "time": since, "account": arn[4], "region": arn[3], "function": name,
            "memory_mb": int(config.get("MemorySize", 128)), "count": count,
            "architecture": (config.get("Architectures") or ["x86_64"])[0],
        })  # fmt: skip
        function.setdefault(_BILLING, {})[qualifier] = held

    def _release(self, function: Any, qualifier: str) -> None:
        held = (function.get(_BILLING) or {}).pop(qualifier, None)
        if held is not None:
            self._usage.append({"kind": "released", "id": held, "time": time.time(), "account": held.split(":")[0]})


def _version(function: Mapping[str, Any], qualifier: str) -> dict[str, Any] | None:
    """The record of a version, by its number or by an alias."""
    alias = (function.get("aliases") or {}).get(qualifier)
    number = alias["FunctionVersion"] if alias else qualifier
    found: dict[str, Any] | None = (function.get("versions") or {}).get(number)
    return found


def _key(record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    config = record["config"]
    arn = config["FunctionArn"].split(":")
    return arn[4], arn[3], config["FunctionName"], config["Version"]


def _invalid(text: str) -> Answer:
    answer: Answer = error_response_json("InvalidParameterValueException", text, 400)
    return answer


def _not_found(name: str) -> Answer:
    text = f"Function not found: {lambda_svc._func_arn(name)}"
    answer: Answer = error_response_json("ResourceNotFoundException", text, 404)
    return answer


def _no_config(name: str) -> Answer:
    text = f"No Provisioned Concurrency Config found for function: {lambda_svc._func_arn(name)}"
    answer: Answer = error_response_json("ProvisionedConcurrencyConfigNotFoundException", text, 404)
    return answer
