"""Puts our Lambda into MiniStack: every internal that is replaced is named here.

tests/localcloud/functions/test_contract.py fails when one of them moves.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import logging
import shutil
from collections.abc import Callable, Iterable
from typing import Any, Final

from ministack import app as ministack
from ministack.services import eventbridge, lambda_svc, sns

from localcloud.aws.functions import admission, api_gateway, code_store
from localcloud.aws.functions.asynchronous import AsyncInvocations
from localcloud.aws.functions.environment import Setting
from localcloud.aws.functions.executor import Executor
from localcloud.aws.functions.fleet import Fleet
from localcloud.aws.functions.logs import FunctionLogs
from localcloud.aws.functions.memory import MemoryWatch
from localcloud.aws.functions.metrics import FunctionMetrics
from localcloud.aws.functions.packages import Packages
from localcloud.aws.functions.provisioned import ProvisionedConcurrency
from localcloud.aws.functions.runtime_api import RuntimeApiServer
from localcloud.aws.functions.runtimes import Platform
from localcloud.aws.functions.services import Services
from localcloud.aws.functions.usage_log import NAME, UsageLog
from localcloud.home import Home
from localcloud.parts import HOME_VARIABLE
from localcloud.runtime import process
from localcloud.tenants import SECRET

_LOG: Final = logging.getLogger(__name__)
_PENDING_SECONDS: Final = 0.1
"""How long a new or changed function is not yet Active: nothing has to be prepared."""
SaveSoon = Callable[[Iterable[str]], None]


class Functions:
    """Our Lambda, put together. Made before MiniStack serves; `start` when its event loop runs."""

    def __init__(self, home: Home, endpoint: str) -> None:
        """`endpoint` is the gateway's URL."""
        self._calls = Services()
        self._save_soon: SaveSoon = lambda _: None
        scope = process.digest(f"functions {home.root}")
        _end_left_over(scope)
        running = home.functions / "running"
        shutil.rmtree(running, ignore_errors=True)
        self._digests = code_store.Digests()
        packages = Packages(home.functions, self._digests.of)
        platform = Platform(packages.runtime(), endpoint, SECRET, {HOME_VARIABLE: str(home.root)})
        self.fleet = Fleet(Setting(platform, RuntimeApiServer(), MemoryWatch(), running, scope))
        self.usage = UsageLog(home.functions / NAME)
        metrics = FunctionMetrics(self._calls, lambda keys: self._save_soon(keys))
        self.executor = Executor(self.fleet, packages, self.usage, FunctionLogs(self._calls), metrics)
        self.asynchronous = AsyncInvocations(home.functions / "accepted", self.executor.execute, self._calls)
        self.provisioned = ProvisionedConcurrency(self.fleet, self.executor, self.usage, lambda: self.save("lambda"))
        atexit.register(self.fleet.close)

    def install(self, save_soon: SaveSoon) -> None:
        """Replace MiniStack's executors and what does not tell the truth.

        `save_soon` saves services that changed behind an answer; it is called on the event loop.
        """
        self._save_soon = save_soon
        code_store.install(self._digests)
        lambda_svc._LAMBDA_STATE_TRANSITION_DELAY = _PENDING_SECONDS
        lambda_svc._execute_function = self.executor.execute
        lambda_svc._emit_lambda_metrics = lambda *_, **__: None  # the executor does it, for every way to invoke
        lambda_svc.invoke_async_with_retry = self.asynchronous.accept
        lambda_svc.invalidate_worker = self._invalidate
        lambda_svc._put_provisioned_concurrency = self.provisioned.put
        lambda_svc._delete_provisioned_concurrency = self.provisioned.delete
        lambda_svc._delete_function = self._deleting(lambda_svc._delete_function)
        lambda_svc._run_sqs_batch = self._saving(lambda_svc._run_sqs_batch, "sqs")
        eventbridge._dispatch_to_lambda = self._from_event_bus
        sns._deliver_to_lambda = self._from_topic
        ministack.SERVICE_HANDLERS["lambda"] = admission.admitting(ministack.SERVICE_HANDLERS["lambda"])
        api_gateway.install(self.usage)

    def start(self) -> None:
        """On MiniStack's event loop, when its state is loaded: continue what was going on."""
        self._calls.attach(asyncio.get_running_loop())
        _end_transitions()
        self.provisioned.resume()
        self.asynchronous.resume()

    def save(self, *keys: str) -> None:
        """Save services soon, from any thread."""
        self._calls.soon(self._save_soon, keys)

    def _invalidate(
        self, name: str, qualifier: str | None = None, account: str | None = None, region: str | None = None
    ) -> None:
        own_account, own_region = lambda_svc.get_account_id(), lambda_svc.get_region()
        self.fleet.invalidate(account or own_account, region or own_region, name, qualifier)

    def _deleting(self, delete: Callable[..., Any]) -> Callable[..., Any]:
        def delete_and_end(name: str, query: dict[str, Any], path_qualifier: str | None = None) -> Any:
            function = lambda_svc._functions.get(name)
            answer = delete(name, query, path_qualifier)
            if function is not None and answer[0] < 400:
                qualifier = lambda_svc._qualifier_from_path_or_query(path_qualifier, query)
                self.provisioned.function_deleted(function, None if qualifier == "$LATEST" else qualifier)
            return answer

        return delete_and_end

    def _saving(self, function: Callable[..., Any], *keys: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def call_and_save(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            finally:
                self.save(*keys)

        return call_and_save

    def _from_event_bus(self, arn: str, payload: str) -> None:
        """EventBridge invokes asynchronously: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-targets.html"""
        self._accept(arn, json.loads(payload))

    def _from_topic(self, endpoint: str, envelope: str, _topic: str, subscription: str, *_: Any) -> None:
        """SNS invokes asynchronously: https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html"""
        record = {
            "EventVersion": "1.0", "EventSubscriptionArn": subscription, "EventSource": "aws:sns",
            "Sns": json.loads(envelope),
        }  # fmt: skip
        self._accept(endpoint, {"Records": [record]})

    def _accept(self, arn: str, event: Any) -> None:
        record, config, name = lambda_svc._get_func_record_for_ref(arn)
        if record is None or config is None:
            _LOG.warning("an event for the function %s, which does not exist, is dropped", name)
            return
        self.asynchronous.accept(lambda_svc._execution_record_for_config(record, config), event)


def _end_left_over(scope: str) -> None:
    """Environments that a killed MiniStack has left."""
    for pid, token in process.find_by_token(scope).items():
        _LOG.info("the environment %s was left over; it is ended", pid)
        process.kill_all(process.Identity(pid, 0, "", token))


def _end_transitions() -> None:
    """A function whose creation was under way when MiniStack was killed is active: nothing is left to be done."""
    for _, function in lambda_svc._functions.all_items():
        for record in (function, *(function.get("versions") or {}).values()):
            config = record.get("config") or {}
            if config.get("State") == "Pending":
                config.update(State="Active", StateReason="", StateReasonCode="", LastUpdateStatus="Successful")
