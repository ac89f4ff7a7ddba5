"""How an invocation fails when it is not the handler that raises: the payloads and log lines of Lambda's platform.

Error types: https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html and
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TIMED_OUT: Final = "Sandbox.Timedout"
OUT_OF_MEMORY: Final = "Runtime.OutOfMemory"
EXITED: Final = "Runtime.ExitError"
TOO_LARGE: Final = "Function.ResponseSizeTooLarge"
MOST_RESPONSE_BYTES: Final = 6_291_556
"""6 MB and a little: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


@dataclass(frozen=True)
class Failure:
    """What the caller gets and what is logged, when the function gave no answer of its own."""

    payload: Mapping[str, Any]
    status: str = ""
    """In the REPORT line."""
    log_line: str = ""

    @property
    def error_type(self) -> str:
        """Such as `Runtime.ImportModuleError`."""
        return str(self.payload.get("errorType", ""))


def timed_out(request_id: str, seconds: float, now: float | None = None) -> Failure:
    """The function did not answer within its timeout."""
    text = f"Task timed out after {seconds:.2f} seconds"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ".000Z"
    return Failure(_payload(TIMED_OUT, request_id, text), "timeout", f"{stamp} {request_id} {text}\n")


def out_of_memory(request_id: str) -> Failure:
    """The environment needed more memory than the function has."""
    return Failure(_payload(OUT_OF_MEMORY, request_id, "Runtime exited with error: signal: killed"), "error")


def exited(request_id: str, code: int) -> Failure:
    """The process ended by itself; `code` as a shell reports it (128 + signal)."""
    return Failure(_payload(EXITED, request_id, _reason(code)), "error")


def too_large(size: int) -> Failure:
    """The response is longer than a synchronous one may be."""
    text = f"Response payload size exceeded maximum allowed payload size ({MOST_RESPONSE_BYTES} bytes)."
    return Failure({"errorType": TOO_LARGE, "errorMessage": text}, log_line=f"LAMBDA_RUNTIME {text} ({size} bytes)\n")


def reported(body: bytes) -> Failure:
    """The runtime itself reported an error: the handler raised, or could not be loaded."""
    try:
        payload = json.loads(body)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        payload = {"errorMessage": body.decode(errors="replace"), "errorType": "Runtime.Unknown"}
    return Failure(payload)


def _payload(error_type: str, request_id: str, text: str) -> dict[str, str]:
    return {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {text}"}


def _reason(code: int) -> str:
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 128:
        return f"Runtime exited with error: signal: {_signal_name(code - 128)}"
    return f"Runtime exited with error: exit status {code}"


def _signal_name(number: int) -> str:
    try:
        return (signal.strsignal(number) or str(number)).lower()
    except ValueError:
        return str(number)
