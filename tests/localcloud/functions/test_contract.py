"""The internals of MiniStack that our Lambda replaces or calls: this fails loudly when one of them moves."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from localcloud.aws import ministack
from localcloud.home import Home

SIGNATURES = {
    "services.lambda_svc": {
        "_execute_function": "(func: dict, event: dict) -> dict",
        "_execute_function_with_config_scope": "(func: dict, event: dict) -> dict",
        "_emit_lambda_metrics": "(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None",
        "invoke_async_with_retry": "(func: dict, event: dict) -> None",
        "invalidate_worker": "(func_name: str, qualifier: str = None, account: str = None, region: str = None)",
        "_put_provisioned_concurrency": "(func_name: str, qualifier: str, data: dict)",
        "_delete_provisioned_concurrency": "(func_name: str, qualifier: str)",
        "_delete_function": "(name: str, query_params: dict, path_qualifier: str | None = None)",
        "_run_sqs_batch": "(esm, func_rec, event, batch, queue_url, queue_name)",
        "_acquire_execution_slot": "(func: dict, config: dict)",
        "_release_execution_slot": "(key: str) -> None",
        "_function_config_scope_mismatch": "(config: dict) -> bool",
        "_run_with_function_config_scope": "(func_or_config: dict, callback, *args, **kwargs)",
        "_execution_record_for_config": "(func: dict, config: dict) -> dict",
        "_get_func_record_for_ref": "(function_ref: str) -> tuple[dict | None, dict | None, str]",
        "_resolve_layer_zip": "(attachment: str | dict) -> bytes | None",
        "get_state": "()",
        "_restore_state": "(data)",
        "_write_code_blob": "(code_zip: bytes) -> str",
        "_read_code_blob": "(sha: str) -> bytes | None",
        "_prune_orphan_code_blobs": "(referenced: set[str]) -> None",
        "_fetch_code_from_s3": "(bucket: str, key: str, version_id: str | None = None) -> bytes | None",
        "lambda_execute_result_to_api_proxy_response": "(exec_result: dict) -> tuple[dict | None, str | None]",
        "_validate_function_qualifier_exists": "(func_name: str, qualifier: str | None)",
        "_qualifier_from_path_or_query":
            "(path_qualifier: str | None, query_params: dict | None) -> str | None",
        "s3_code_region_message": "(bucket: str, layer: bool = False) -> str | None",
    },
    "services.eventbridge": {"_dispatch_to_lambda": "(arn, payload)"},
    "services.sns": {
        "_deliver_to_lambda": "(endpoint: str, envelope: str, topic_arn: str, sub_arn: str, msg_id: str,"
        " raw_message: str, message_attributes: dict)",
    },
    "services.apigateway_v1": {
        "_lambda_proxy_response": "(result)",
        "_execute_in_scope": "(request, api_id, stage_name, method, path, headers, body, query_params,"
        " owner_account_id, owner_region)",
    },
    "services.apigateway": {
        "_handle_execute_in_scope": "(api_id, stage, path, method, headers, body, query_params, owner_account_id,"
        " owner_region, raw_query_string=None)",
    },
    "app": {
        "_parse_execute_api_url": "(host: str, path: str) -> tuple[str, str, str] | None",
        "_handle_execute_api_request": "(host: str, path: str, method: str, headers: dict, body: bytes,"
        " query_params: dict, raw_path: str | None = None, raw_query_string: str | None = None)",
    },
    "core.responses": {"request_scope": "(account_id: str, region: str)"},
}  # fmt: skip
CALLERS = {
    "services.lambda_svc._execute_function_with_config_scope": "_execute_function,",
    "services.lambda_svc._invoke": "run_reentrant(_execute_function_with_config_scope",
    "services.apigateway_v1._call_lambda_raw": "lambda_svc._execute_function_with_config_scope",
    "services.apigateway_v1._invoke_lambda_proxy_v1": "_lambda_proxy_response(result)",
    "services.apigateway_v1._handle_execute_in_scope": "await _execute_in_scope(",
    "services.apigateway.handle_execute": "await _handle_execute_in_scope(",
    "services.s3._deliver_event_to_lambda": "_lambda.invoke_async_with_retry",
}
"""Who must still look up by name what is replaced."""


@pytest.fixture(scope="module", autouse=True)
def _settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """MiniStack reads its settings when it is imported; afterwards the environment is as it was."""
    settings = ministack.settings(Home(tmp_path_factory.mktemp("home")).create(), 4566)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        for module in SIGNATURES:
            importlib.import_module(f"ministack.{module}")


def test_the_version_is_pinned() -> None:
    assert importlib.metadata.version("ministack") == ministack.VERSION
    assert f"ministack=={ministack.VERSION}" in Path(__file__).parents[3].joinpath("requirements.in").read_text()


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in SIGNATURES.items() for name in names])
def test_an_internal_has_the_signature_we_know(module: str, name: str) -> None:
    found = getattr(importlib.import_module(f"ministack.{module}"), name)
    assert str(inspect.signature(found)) == SIGNATURES[module][name]


@pytest.mark.parametrize("caller", CALLERS)
def test_a_caller_looks_up_what_we_replace(caller: str) -> None:
    module, _, name = caller.rpartition(".")
    found = getattr(importlib.import_module(f"ministack.{module}"), name)
    assert CALLERS[caller] in inspect.getsource(found)


def test_with_an_internal_gone_ministack_does_not_start(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom localcloud.aws import ministack\nfrom localcloud.home import Home\nimport os, pathlib\n"
        "home = Home(pathlib.Path(sys.argv[1])).create()\nos.environ.update(ministack.settings(home, 1))\n"
        "from ministack.services import lambda_svc\ndel lambda_svc._run_sqs_batch\n"
        "from localcloud.aws.functions.install import Functions\n"
        "Functions(home, 'http://127.0.0.1:1').install(lambda keys: None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "_run_sqs_batch" in done.stderr
