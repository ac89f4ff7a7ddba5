"""SageMaker's own service model, as botocore ships it, loaded when the first request needs it.

Documentation is dropped on the way in: the model of 400 operations would otherwise keep tens of megabytes alive.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import botocore.loaders
import botocore.session
from botocore.model import ServiceModel

_NOT_NEEDED: Final = frozenset({"documentation", "documentationUrl", "examples"})


class LazyModel:
    """The service model; safe to share between threads."""

    def __init__(self, service: str = "sagemaker") -> None:
        self._service = service
        self._lock = threading.Lock()
        self._model: ServiceModel | None = None

    def get(self) -> ServiceModel:
        """Load it once (about 0.2 s), then answer at once."""
        with self._lock:
            if self._model is None:
                self._model = ServiceModel(_without_documentation(_load(self._service)), self._service)
            return self._model


def _load(service: str) -> Any:
    search_path = botocore.session.get_session().get_component("data_loader").search_paths
    return botocore.loaders.Loader(extra_search_paths=search_path).load_service_model(service, "service-2")


def _without_documentation(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: _without_documentation(value)
            for name, value in node.items()
            if not (name in _NOT_NEEDED and isinstance(value, str))
        }
    return [_without_documentation(value) for value in node] if isinstance(node, list) else node
