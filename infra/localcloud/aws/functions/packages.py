"""Functions' code and layers on disk, unpacked once for each content, and the runtime's own packages.

A function sees its own code, its layers and what AWS's Python runtime brings (boto3 with what it needs, and
awslambdaric), nothing else of what is installed here.
"""

from __future__ import annotations

import compileall
import hashlib
import importlib.metadata
import importlib.util
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from localcloud.runtime import archive

MOST_UNPACKED_BYTES: Final = 262_144_000
"""Code and layers together: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
OFFICIAL_CLIENT: Final = "awslambdaric"
_PROVIDED: Final = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
_CLIENT_MODULES: Final = (OFFICIAL_CLIENT, "runtime_client", "simplejson", "snapshot_restore_py")
_RUNTIME: Final = "runtime"


class Packages:
    """The folder that holds them all."""

    def __init__(self, root: Path, digest: Callable[[bytes], str] | None = None) -> None:
        """`digest` may remember what it has computed: code is looked up at each invocation."""
        self._root = root
        self._digest = digest or _sha256
        self._guard = threading.Lock()
        self._being_made: dict[Path, threading.Lock] = {}

    def code(self, account: str, zipped: bytes) -> Path:
        """An account's package (code or a layer), unpacked; raises archive.ArchiveError."""
        folder = self._root / account / self._digest(zipped)[:32]
        if not folder.exists():
            with self._lock(folder):
                if not folder.exists():
                    self._unpack(zipped, folder)
        return folder

    def runtime(self) -> Path:
        """A folder with links to the runtime's packages, and to no others."""
        folder = self._root / f"{_RUNTIME}-{sys.version_info.major}.{sys.version_info.minor}"
        with self._lock(folder):
            _link_runtime(folder)
        return folder

    def forget(self, account: str) -> None:
        """Delete what an account had."""
        shutil.rmtree(self._root / account, ignore_errors=True)

    def _unpack(self, zipped: bytes, folder: Path) -> None:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        packed = folder.with_name(f"{folder.name}.zip")
        packed.write_bytes(zipped)
        try:
            archive.unpack(packed, folder, most_bytes=MOST_UNPACKED_BYTES)
        finally:
            packed.unlink(missing_ok=True)

    def _lock(self, folder: Path) -> threading.Lock:
        with self._guard:
            return self._being_made.setdefault(folder, threading.Lock())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def has_official_client() -> bool:
    """Whether awslambdaric is installed: it has wheels for Linux only."""
    return importlib.util.find_spec(OFFICIAL_CLIENT) is not None


@cache
def boto3_version() -> str:
    """Of the boto3 that functions get."""
    return importlib.metadata.version("boto3")


def _link_runtime(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = {path.name: path for path in _runtime_files()}
    for link in folder.iterdir():
        if wanted.get(link.name) != (link.readlink() if link.is_symlink() else None):
            link.unlink()
    for name, path in wanted.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(path)
            if name in _CLIENT_MODULES and path.is_dir():  # functions may not write bytecode; AWS's runtime has it too
                compileall.compile_dir(path, quiet=2)


def _runtime_files() -> Iterator[Path]:
    """Packages and modules, with their metadata (boto3 and others look up their own version)."""
    for name in (*_PROVIDED, *(_CLIENT_MODULES if has_official_client() else ())):
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        if spec.submodule_search_locations:
            yield Path(next(iter(spec.submodule_search_locations)))
        elif spec.origin:
            yield Path(spec.origin)
