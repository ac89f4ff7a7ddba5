"""The platform's lines in a function's log, and the billed duration in them.

REPORT's fields: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html. Since 1 August 2025 the INIT phase is
billed for every function, whatever its package and runtime:
https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_SLACK: float = 1e-6
"""So that a sum such as 100.1 + 99.9 does not round up to 201."""


def billed_ms(duration_ms: float, init_ms: float | None) -> int:
    """Milliseconds on the bill: the handler's time and the INIT phase, together rounded up; at least 1."""
    return max(1, math.ceil(duration_ms + (init_ms or 0.0) - _SLACK))


@dataclass(frozen=True)
class Report:
    """What one invocation used."""

    request_id: str
    duration_ms: float
    memory_mb: int
    """Configured."""
    used_mb: int
    """The environment's peak so far."""
    init_ms: float | None = None
    """None unless this invocation made its environment start."""
    status: str = ""
    """`error` or `timeout` when the runtime or the platform failed; empty also when the handler raised."""
    error_type: str = ""

    @property
    def billed_ms(self) -> int:
        """As in the line."""
        return billed_ms(self.duration_ms, self.init_ms)

    @property
    def line(self) -> str:
        """The REPORT line, fields separated by tabs."""
        fields = [
            f"REPORT RequestId: {self.request_id}",
            f"Duration: {self.duration_ms:.2f} ms",
            f"Billed Duration: {self.billed_ms} ms",
            f"Memory Size: {self.memory_mb} MB",
            f"Max Memory Used: {self.used_mb} MB",
        ]
        if self.init_ms is not None:
            fields.append(f"Init Duration: {self.init_ms:.2f} ms")
        return "\t".join(fields + _ending(self.status, self.error_type))


def start_line(request_id: str, version: str) -> str:
    """The first line of an invocation."""
    return f"START RequestId: {request_id} Version: {version}"


def end_line(request_id: str) -> str:
    """The line before the report."""
    return f"END RequestId: {request_id}"


def init_report_line(init_ms: float, phase: str, error_type: str) -> str:
    """What Lambda logs about an INIT that failed; `phase` is `init`, or `invoke` when it was tried again there."""
    fields = [f"INIT_REPORT Init Duration: {init_ms:.2f} ms", f"Phase: {phase}"]
    return "\t".join(fields + _ending("timeout" if error_type == "Sandbox.Timedout" else "error", error_type))


def _ending(status: str, error_type: str) -> list[str]:
    if not status:
        return []
    return [f"Status: {status}", *([f"Error Type: {error_type}"] if error_type and status == "error" else [])]
