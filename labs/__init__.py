"""What notebooks import: ready-made clients of the cloud, load, checks, cost; and the `lab` command.

Attributes load on first use, so that `import labs` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from labs import checks, cost, flights, load, plots, progress, serverless
    from labs.aws import Lab
    from labs.checks import attempt_me, check, hint
    from labs.faults import fault
    from labs.target import connect
    from labs.wait import wait_for_status, wait_until

__all__ = [
    "Lab", "attempt_me", "check", "checks", "connect", "cost", "fault", "flights", "hint", "load", "plots",
    "progress", "serverless", "wait_for_status", "wait_until",
]  # fmt: skip

_HOMES: Final = {
    "Lab": "labs.aws",
    "attempt_me": "labs.checks",
    "check": "labs.checks",
    "connect": "labs.target",
    "fault": "labs.faults",
    "hint": "labs.checks",
    "wait_for_status": "labs.wait",
    "wait_until": "labs.wait",
}
_MODULES: Final = frozenset({"checks", "cost", "flights", "load", "plots", "progress", "serverless"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"labs.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'labs' has no attribute {name!r}. It offers: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
