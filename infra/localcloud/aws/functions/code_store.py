"""Packages in MiniStack's saved state: a file for each content, hashed once.

MiniStack keeps functions' code in files named by its hash, but a layer's zip within the state itself, and hashes code
again at each save. As every change is saved before it is acknowledged, a layer of 80 MB made each change cost a
second.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final

from ministack.services import lambda_svc

_REMEMBERED: Final = 64
_LAYER_ZIP: Final = "_zip_data"


class Digests:
    """SHA-256 of packages by the identity of the bytes in memory. Safe to share between threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[bytes, str]] = OrderedDict()
        self._guard = threading.Lock()

    def of(self, data: bytes) -> str:
        """The hash in hexadecimal; the bytes are remembered with it, so that their identity stays theirs."""
        with self._guard:
            found = self._known.get(id(data))
            if found is not None:
                self._known.move_to_end(id(data))
                return found[1]
        digest = hashlib.sha256(data).hexdigest()
        with self._guard:
            self._known[id(data)] = (data, digest)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return digest


def install(digests: Digests) -> None:
    """Keep layers as files too, and write and hash each package once."""
    store = _Store(digests, lambda_svc._write_code_blob, lambda_svc._prune_orphan_code_blobs)
    lambda_svc._write_code_blob = store.write
    lambda_svc._prune_orphan_code_blobs = store.prune
    lambda_svc.get_state = _without_zips(lambda_svc.get_state, store)
    lambda_svc._restore_state = _with_zips(lambda_svc._restore_state)


class _Store:
    def __init__(self, digests: Digests, write: Callable[[bytes], str], prune: Callable[[set[str]], None]) -> None:
        self._digests = digests
        self._write = write
        self._prune = prune
        self._there: set[str] = set()

    def write(self, data: bytes) -> str:
        digest = self._digests.of(data)
        if digest not in self._there:
            self._write(data)
            self._there.add(digest)
        return digest

    def prune(self, referenced: set[str]) -> None:
        """Files of layers are referenced too."""
        layers = {self.write(version[_LAYER_ZIP]) for version in _versions(lambda_svc._layers) if version[_LAYER_ZIP]}
        self._there &= referenced | layers
        self._prune(referenced | layers)


def _without_zips(get_state: Callable[[], dict[str, Any]], store: _Store) -> Callable[[], dict[str, Any]]:
    def get_small_state() -> dict[str, Any]:
        state = get_state()  # a copy
        for version in _versions(state["layers"]):
            if version[_LAYER_ZIP]:
                version[_LAYER_ZIP] = {lambda_svc._BLOB_REF_KEY: store.write(version[_LAYER_ZIP])}
        return state

    return get_small_state


def _with_zips(restore: Callable[[Any], None]) -> Callable[[Any], None]:
    def restore_whole(data: Any) -> None:
        for version in _versions(data.get("layers") if data else None):
            reference = version[_LAYER_ZIP]
            if isinstance(reference, dict):
                version[_LAYER_ZIP] = lambda_svc._read_code_blob(reference[lambda_svc._BLOB_REF_KEY])
        restore(data)

    return restore_whole


def _versions(layers: Any) -> Iterator[dict[str, Any]]:
    """Of all layers of all accounts."""
    for layer in layers._data.values() if layers is not None else ():
        yield from layer["versions"]
