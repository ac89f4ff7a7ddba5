"""Draw every figure anew: `python book/figures/src/all.py`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent


def modules() -> list[str]:
    """The figures' modules: every file here that defines one."""
    return sorted(path.stem for path in HERE.glob("*.py") if "\ndef draw(" in path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    for name in modules():
        sys.stdout.write(f"{import_module(name).draw().save()}\n")
