"""Carries the logs of replicas into CloudWatch: group /aws/sagemaker/Endpoints/<name>, stream <variant>/<replica>."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from localcloud.aws.logs import LogPump, LogStream
from localcloud.aws.sagemaker.endpoint_pools import log_folder
from localcloud.aws.sagemaker.model_data import vendor_text
from localcloud.aws.sagemaker.naming import ENDPOINT, scope_of
from localcloud.aws.sagemaker.setting import Setting
from localcloud.store import Key

GROUP: Final = "/aws/sagemaker/Endpoints"


class EndpointLogs:
    """One pump for each replica's log. Called from one loop only."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._pumps: dict[Path, LogPump] = {}
        self._sizes: dict[Path, int] = {}

    def pump(self) -> None:
        """Send what has been added to any log since the last call."""
        seen: set[Path] = set()
        for key, file in self._files():
            seen.add(file)
            size = _size(file)
            if size == self._sizes.get(file):
                continue
            self._pump_of(key, file).pump()
            self._sizes[file] = size
        self._pumps = {file: pump for file, pump in self._pumps.items() if file in seen}
        self._sizes = {file: size for file, size in self._sizes.items() if file in seen}

    def _files(self) -> Iterator[tuple[Key, Path]]:
        for resource in self._setting.store.list(ENDPOINT.stored):
            folder = log_folder(self._setting, scope_of(resource.key), resource.key.name)
            for file in sorted(folder.glob("*/*.log")):
                yield resource.key, file

    def _pump_of(self, key: Key, file: Path) -> LogPump:
        if file not in self._pumps:
            stream = LogStream(key.tenant, key.region, f"{GROUP}/{key.name}", f"{file.parent.name}/{file.stem}")
            self._pumps[file] = LogPump(self._setting.store, self._setting.clients, stream, file, rewrite=vendor_text)
        return self._pumps[file]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
