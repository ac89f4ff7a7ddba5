"""The SageMaker model server inside a replica: `python -m localcloud.runtime.serving.sagemaker --port P --model DIR`.

Serves /ping and /invocations as
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html asks of a container. A model that
fails is answered as SageMaker itself does, with 424 ModelError
(https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html), so that nothing needs to
stand between the gateway and this process. The port opens when the model is loaded, so /ping never lies.

From the environment: SAGEMAKER_PROGRAM, SAGEMAKER_SUBMIT_DIRECTORY, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT,
SAGEMAKER_MODEL_SERVER_WORKERS (threads), and LAB_SERVING_* (see `environment`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from localcloud.runtime.serving.handlers import Handlers

PING_PATH: Final = "/ping"
INVOCATIONS_PATH: Final = "/invocations"
_CUSTOM_ATTRIBUTES: Final = "x-amzn-sagemaker-custom-attributes"
_KEEP_ALIVE_SECONDS: Final = 600  # the gateway must be the one that closes idle connections
_GRACEFUL_SECONDS: Final = 60  # SageMaker's own limit of one invocation
_WORKERS: Final = "1"

_Message = dict[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


def command(model: Path) -> tuple[str, ...]:
    """The command of a pool (runtime.spec.Pool) that serves the model unpacked in this folder."""
    return (sys.executable, "-m", __name__, "--port", "{port}", "--model", str(model))


def environment(account: str, region: str, endpoint: str) -> dict[str, str]:
    """What the server must know to word a ModelError."""
    return {"LAB_SERVING_ACCOUNT": account, "LAB_SERVING_REGION": region, "LAB_SERVING_ENDPOINT": endpoint}


class App:
    """The ASGI application: no framework, for each layer costs a tenth of a millisecond."""

    def __init__(self, handlers: Handlers, env: Mapping[str, str]) -> None:
        self._handlers = handlers
        self._env = env
        self._default_accept = env.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/json")
        workers = int(env.get("SAGEMAKER_MODEL_SERVER_WORKERS") or _WORKERS)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="predict")

    async def __call__(self, scope: Mapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Answer one HTTP request."""
        path, method = scope["path"], scope["method"]
        if path == INVOCATIONS_PATH and method == "POST":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            await self._invoke(headers, await _body(receive), send)
        elif path == PING_PATH and method in ("GET", "HEAD"):
            await _answer(send, 200, b"", {})
        else:
            status = 405 if path in (INVOCATIONS_PATH, PING_PATH) else 404
            await _answer(send, status, b"", {})

    async def _invoke(self, headers: Mapping[str, str], body: bytes, send: _Send) -> None:
        loop = asyncio.get_running_loop()
        await _answer(send, *await loop.run_in_executor(self._pool, self._predict, headers, body))

    def _predict(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        from localcloud.runtime.serving.handlers import Context

        accept = headers.get("accept", "*/*")
        accept = self._default_accept if accept in ("", "*/*") else accept
        context = Context(headers)
        try:
            answer, kind = self._handlers(body, headers.get("content-type") or "application/json", accept, context)
        except Exception as error:
            return self._model_error(error)
        return 200, answer, {**context.response_headers, "content-type": kind}

    def _model_error(self, error: Exception) -> tuple[int, bytes, dict[str, str]]:
        trace = traceback.format_exc()
        print(trace, file=sys.stderr, flush=True)
        status = getattr(error, "status_code", None)
        return model_error(status if isinstance(status, int) else 500, f"{error}\n{trace}", self._env)


def model_error(status: int, message: str, env: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
    """SageMaker's answer to a container that answered `status`: HTTP status, body, headers."""
    account, region = env.get("LAB_SERVING_ACCOUNT", ""), env.get("LAB_SERVING_REGION", "")
    group = "/aws/sagemaker/Endpoints/" + env.get("LAB_SERVING_ENDPOINT", "")
    whose = "client" if 400 <= status < 500 else "server"
    code = "CLIENT_ERROR_FROM_MODEL" if whose == "client" else "INTERNAL_FAILURE_FROM_MODEL"
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group}"
    body = {
        "ErrorCode": code,
        "LogStreamArn": f"arn:aws:logs:{region}:{account}:log-group:{group}",
        "Message": f'Received {whose} error ({status}) from primary with message "{message}".'
        f" See {console} in account {account} for more information.",
        "OriginalMessage": message,
        "OriginalStatusCode": status,
    }
    return 424, json.dumps(body).encode(), {"content-type": "application/json", "x-amzn-errortype": "ModelError"}


async def _body(receive: _Receive) -> bytes:
    message = await receive()
    if not message.get("more_body"):
        return bytes(message.get("body", b""))
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def _answer(send: _Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    listed = [(name.encode("latin-1"), _header_value(name, value)) for name, value in headers.items()]
    listed.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})


def _header_value(name: str, value: str) -> bytes:
    # The SDK allows any visible text in custom attributes, HTTP only latin-1.
    return (quote(value) if name == _CUSTOM_ATTRIBUTES and not value.isascii() else value).encode("latin-1", "replace")


def main() -> None:
    """Load the model, then open the port."""
    parser = argparse.ArgumentParser(description="Serve a model as SageMaker does")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True)
    given = parser.parse_args()
    os.environ.setdefault("SM_MODEL_DIR", str(given.model))
    app = App(_load_or_exit(given.model), os.environ)

    import uvicorn

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=given.port,
        loop="uvloop",
        http="httptools",
        interface="asgi3",
        proxy_headers=False,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )


def _load_or_exit(model: Path) -> Handlers:
    from localcloud.runtime.serving.handlers import ModelLoadError, load

    try:
        loaded = load(model)
    except ModelLoadError as error:
        sys.exit(str(error))
    print(f"The model in {model} is loaded.", flush=True)
    return loaded


if __name__ == "__main__":
    main()
