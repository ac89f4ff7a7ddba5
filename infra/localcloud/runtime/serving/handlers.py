"""The functions of a SageMaker model: the user's own from code/inference.py, defaults for what is missing.

The contract is that of https://github.com/aws/sagemaker-inference-toolkit (`transformer.py`): model_fn, then either
transform_fn or input_fn, predict_fn and output_fn; each may take one more argument, the context.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from localcloud.runtime.serving import codecs

_MODEL_FILES: Final = (".joblib", ".pkl", ".pickle")
_CONTRACT: Final = "model_fn(model_dir)"


class ModelLoadError(Exception):
    """The model cannot be loaded; the message says what is missing and what to add."""


@dataclass
class Context:
    """What a handler function may ask about its request, and set on its answer."""

    request_headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    response_headers: dict[str, str] = field(default_factory=dict)
    system_properties: Mapping[str, Any] = field(default_factory=dict)

    def get_all_request_header(self, idx: int) -> Mapping[str, str]:
        """All headers of the request (`idx` is always 0)."""
        return self.request_headers if idx == 0 else {}

    def get_request_header(self, idx: int, key: str) -> str | None:
        """One header of the request, or None."""
        return self.get_all_request_header(idx).get(key.lower())

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Add a header to the answer."""
        if idx == 0:
            self.response_headers[key.lower()] = value

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Set the answer's content type."""
        self.set_response_header(idx, "content-type", value)


@dataclass(frozen=True)
class Handlers:
    """A loaded model and the functions around it."""

    model: Any
    transform: Callable[[Any, str | bytes, str, str, Context], Any]

    def __call__(self, body: bytes, content_type: str, accept: str, context: Context) -> tuple[bytes, str]:
        """Answer one request: body and content type. Raises whatever the functions raise."""
        data = body.decode() if codecs.media_type(content_type) in codecs.TEXT_TYPES else body
        result = self.transform(self.model, data, content_type, accept, context)
        answer, kind = result if isinstance(result, tuple) else (result, accept)
        return _as_bytes(answer), context.response_headers.pop("content-type", kind)


def load(model_dir: Path, env: Mapping[str, str] = os.environ) -> Handlers:
    """Import the user's code and load the model; raises ModelLoadError, or whatever the user's code raises."""
    module = _user_module(model_dir, env)
    transform = _transform(module)
    model_fn = getattr(module, "model_fn", None)
    context = Context(system_properties={"model_dir": str(model_dir)})
    model = _call(model_fn, context, str(model_dir)) if model_fn else _default_model(model_dir, module)
    return Handlers(model, transform)


def _user_module(model_dir: Path, env: Mapping[str, str]) -> ModuleType | None:
    program = env.get("SAGEMAKER_PROGRAM") or "inference.py"
    folder = Path(env.get("SAGEMAKER_SUBMIT_DIRECTORY") or model_dir / "code")
    script = folder / program
    if not script.exists():
        if env.get("SAGEMAKER_PROGRAM"):
            raise ModelLoadError(
                f"SAGEMAKER_PROGRAM is {program!r}, but {folder} has no such file. "
                f"Put it into the folder code/ of model.tar.gz, or correct SAGEMAKER_SUBMIT_DIRECTORY."
            )
        return None
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{script} is not a Python file. SAGEMAKER_PROGRAM must name one.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module  # pickles refer to its classes by this name
    spec.loader.exec_module(module)
    return module


def _default_model(model_dir: Path, module: ModuleType | None) -> Any:
    found = sorted(path for path in model_dir.glob("*") if path.suffix in _MODEL_FILES)
    if len(found) != 1:
        raise ModelLoadError(_what_is_missing(model_dir, module, found))
    print(
        f"{_where(module)} has no {_CONTRACT}: {found[0].name} is loaded with joblib."
        " The vendor's scikit-learn container does not do this: add a model_fn before you deploy there.",
        flush=True,
    )
    import joblib

    return joblib.load(found[0])


def _what_is_missing(model_dir: Path, module: ModuleType | None, found: list[Path]) -> str:
    inside = ", ".join(sorted(path.name for path in model_dir.glob("*"))) or "nothing"
    cause = (
        f"several files could be the model ({', '.join(path.name for path in found)})"
        if found
        else "there is no *.joblib or *.pkl file that could be loaded without it"
    )
    return (
        f"The model cannot be loaded: {_where(module)} has no {_CONTRACT}, and {cause}. model.tar.gz holds: {inside}."
        f" Add code/inference.py with {_CONTRACT} to model.tar.gz."
    )


def _where(module: ModuleType | None) -> str:
    return Path(str(module.__file__)).name if module else "model.tar.gz (without code/inference.py)"


def _transform(module: ModuleType | None) -> Callable[[Any, str | bytes, str, str, Context], Any]:
    whole = getattr(module, "transform_fn", None)
    parts = [getattr(module, name, None) for name in ("input_fn", "predict_fn", "output_fn")]
    if whole and any(parts):
        raise ModelLoadError(
            "Cannot use transform_fn implementation in conjunction with input_fn, predict_fn, and/or output_fn"
            " implementation. Keep one or the other in the inference code."
        )
    if whole:
        return _adapted(whole, 4)
    input_fn = _adapted(parts[0] or codecs.decode, 2)
    predict_fn = _adapted(parts[1] or _predict, 2)
    output_fn = _adapted(parts[2] or _output, 2)

    def transform(model: Any, data: str | bytes, content_type: str, accept: str, context: Context) -> Any:
        return output_fn(predict_fn(input_fn(data, content_type, context), model, context), accept, context)

    return transform


def _predict(data: Any, model: Any) -> Any:
    return model.predict(data)


def _output(prediction: Any, accept: str) -> tuple[str | bytes, str]:
    return codecs.encode(prediction, accept), accept


def _adapted(function: Callable[..., Any], arguments: int) -> Callable[..., Any]:
    """The function as one that takes the context last, whether it wants it or not."""
    wanted = len(inspect.signature(function).parameters)
    if wanted == arguments + 1:
        return function
    if wanted == arguments:
        return lambda *given: function(*given[:-1])
    name = getattr(function, "__name__", str(function))
    raise ModelLoadError(f"{name} takes {wanted} arguments but {arguments} were given. Correct its signature.")


def _call(function: Callable[..., Any], context: Context, *arguments: Any) -> Any:
    return _adapted(function, len(arguments))(*arguments, context)


def _as_bytes(answer: Any) -> bytes:
    if isinstance(answer, str):
        return answer.encode()
    if isinstance(answer, (bytes, bytearray, memoryview)):
        return bytes(answer)
    raise TypeError(f"output_fn must return str or bytes (and may add the content type), not {type(answer).__name__}")
