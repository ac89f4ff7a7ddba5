"""How to run labs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_CELL_SECONDS: Final = 900


@dataclass(frozen=True)
class Options:
    """How to run: `jobs` notebooks at a time, on `target`, on until the end after a failure unless not `keep_going`."""

    folder: Path
    """Logs, executed notebooks and the report go here."""
    jobs: int = 2
    target: str = "local"
    keep_going: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to every notebook's environment."""
    cell_seconds: int = _CELL_SECONDS
    """The longest that a single cell may take."""
