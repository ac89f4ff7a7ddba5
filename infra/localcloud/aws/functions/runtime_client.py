"""A Lambda runtime in pure Python, for platforms that the vendor's awslambdaric has no wheel for.

Run as a program: `python -S runtime_client.py module.function`. It imports nothing but the standard library, because
it runs inside the function's own environment. It behaves as awslambdaric does (https://github.com/aws/
aws-lambda-python-runtime-interface-client): the same errors, the same traceback format, one event at a time.
"""

from __future__ import annotations

import http.client
import importlib
import json
import logging
import os
import sys
import time
import traceback
from typing import Any, NoReturn

_PREFIX = "/2018-06-01/runtime"


class Fault(Exception):  # noqa: N818 - the runtime's own word
    """The handler cannot be loaded."""

    def __init__(self, kind: str, text: str, trace: list[str] | None = None) -> None:
        super().__init__(text)
        self.kind, self.text, self.trace = kind, text, trace or []


class Context:
    """The handler's second argument (https://docs.aws.amazon.com/lambda/latest/dg/python-context.html)."""

    def __init__(self, headers: Any) -> None:
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = None
        self.client_context = None

    def get_remaining_time_in_millis(self) -> int:
        """Until the function's timeout."""
        return max(self._deadline_ms - int(time.time() * 1000), 0)


class _Handler(logging.Handler):
    request_id = ""

    def emit(self, record: logging.LogRecord) -> None:
        record.aws_request_id = self.request_id
        sys.stdout.write(self.format(record))


def main(handler_name: str) -> NoReturn:
    """Load the handler, then answer events for ever."""
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=True)  # type: ignore[union-attr] # a text file here
    log = _set_up_logging()
    try:
        handler = load(handler_name)
    except Fault as fault:
        _post(api, "/init/error", _report(fault.kind, fault.text, fault.trace, ""))
        sys.exit(1)
    except Exception as error:
        _post(api, "/init/error", _report_of(error, ""))
        sys.exit(1)
    while True:
        _answer_one(api, handler, log)


def load(name: str) -> Any:
    """The function that `module.function` names; raises Fault, or what the module raises."""
    module_name, dot, function = name.rpartition(".")
    if not dot:
        text = f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        raise Fault("Runtime.MalformedHandlerName", text)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        text = f"Syntax error in module '{module_name}': {error}"
        raise Fault("Runtime.UserCodeSyntaxError", text, trace) from None
    if not hasattr(module, function):
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{module_name}'")
    return getattr(module, function)


def _answer_one(api: http.client.HTTPConnection, handler: Any, log: _Handler) -> None:
    api.request("GET", f"{_PREFIX}/invocation/next")
    response = api.getresponse()
    body, context = response.read(), Context(response.headers)
    log.request_id = context.aws_request_id
    _set_trace(response.headers.get("Lambda-Runtime-Trace-Id"))
    where = f"/invocation/{context.aws_request_id}"
    try:
        event = json.loads(body)
    except ValueError as error:
        _post(api, f"{where}/error", _report("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}", [], ""))
        return
    try:
        result = handler(event, context)
    except Exception as error:
        _post(api, f"{where}/error", _report_of(error, context.aws_request_id))
        return
    try:
        text = json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        text = f"Unable to marshal response: {error}"
        _post(api, f"{where}/error", _report("Runtime.MarshalError", text, [], context.aws_request_id))
        return
    _post(api, f"{where}/response", text)


def _report_of(error: BaseException, request_id: str) -> str:
    frames = list(traceback.extract_tb(error.__traceback__))
    while frames and frames[0].filename == __file__:
        frames.pop(0)
    return _report(type(error).__name__, str(error), traceback.format_list(frames), request_id)


def _report(kind: str, text: str, trace: list[str], request_id: str) -> str:
    """Log an error as AWS does, all of it in one event, and return it as JSON."""
    lines = [f"[ERROR] {kind}: {text}", "Traceback (most recent call last):"]
    lines += [line.rstrip("\n").replace("\n", "\r") for line in trace]
    sys.stdout.write("\r".join(lines) + "\n")
    body = {"errorMessage": text, "errorType": kind, "requestId": request_id, "stackTrace": trace}
    return json.dumps(body, ensure_ascii=False)


def _post(api: http.client.HTTPConnection, path: str, text: str) -> None:
    api.request("POST", _PREFIX + path, text.encode(), {"Content-Type": "application/json"})
    api.getresponse().read()


def _set_trace(trace_id: str | None) -> None:
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)


def _set_up_logging() -> _Handler:
    handler = _Handler()
    form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
    formatter = logging.Formatter(form, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    return handler


if __name__ == "__main__":
    # A program's own folder comes first on the path; a function's is its task root.
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]
    main(sys.argv[1])
