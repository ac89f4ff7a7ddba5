"""The default formats of the SageMaker inference toolkit: JSON, CSV and NPY to numpy arrays and back.

As in https://github.com/aws/sagemaker-inference-toolkit (decoder, encoder) and in the scikit-learn container, which
casts text input to float32: https://github.com/aws/sagemaker-scikit-learn-container.
"""

from __future__ import annotations

import io
import json
from typing import Any, Final

JSON: Final = "application/json"
CSV: Final = "text/csv"
NPY: Final = "application/x-npy"
TEXT_TYPES: Final = (JSON, CSV)


class UnsupportedFormatError(Exception):
    """No default for this content type; answered with 415 as by the toolkit."""

    status_code = 415

    def __init__(self, content_type: str) -> None:
        super().__init__(
            f"Content type {content_type} is not supported by this framework.\n\n"
            "Please implement input_fn to deserialize the request data or an output_fn to serialize the response."
        )


def media_type(header: str) -> str:
    """A content type without its parameters."""
    return header.partition(";")[0].strip().lower()


def decode(data: str | bytes, content_type: str) -> Any:
    """The request as an array. One CSV line gives one dimension, as in the real container; JSON as it is nested."""
    import numpy as np

    kind = media_type(content_type)
    if kind == JSON:
        return np.array(json.loads(data)).astype(np.float32)
    if kind == CSV:
        return np.genfromtxt(io.StringIO(_text(data)), delimiter=",", dtype=np.float32)
    if kind == NPY:
        # The real container allows pickles here; a request that runs code is not worth imitating.
        return np.load(io.BytesIO(_bytes(data)), allow_pickle=False)
    raise UnsupportedFormatError(content_type)


def encode(prediction: Any, accept: str) -> str | bytes:
    """An array, list or number in the format asked for."""
    kind = media_type(accept)
    if kind == JSON:
        return json.dumps(prediction, default=_plain)
    import numpy as np

    if kind == CSV:
        text = io.StringIO()
        np.savetxt(text, prediction, delimiter=",", fmt="%s")
        return text.getvalue()
    if kind == NPY:
        data = io.BytesIO()
        np.save(data, prediction)
        return data.getvalue()
    raise UnsupportedFormatError(accept)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode()


def _bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode()
