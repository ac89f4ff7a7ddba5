"""Serve the flights model: what a SageMaker container calls to load it and to answer a request.

The container calls `model_fn` once, then `input_fn`, `predict_fn` and `output_fn` for each request. Everything here
also runs on Python 3.10 with scikit-learn 1.4.2, the container `sagemaker-scikit-learn:1.4-2`.
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

# One row is too little work to share: two threads on a busy machine take ten times as long as one, waiting for each
# other. Set before scikit-learn loads; containers set another number.
os.environ["OMP_NUM_THREADS"] = "1"

import joblib
import numpy as np
import sklearn

CATEGORIES = ("carrier", "origin", "region")
WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
COLUMNS = ("month", "weekday", "hour", *CATEGORIES, "distance", *WEATHER)


class CannotServeError(Exception):
    """The model does not fit this container, or the request does not fit the model."""


def versions() -> dict[str, str]:
    """The libraries a pickled model depends on."""
    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__}


def check_versions(trained: dict[str, str]) -> None:
    """Refuse a model that another version of scikit-learn (or another major of numpy) has written.

    A pickle may load under another version and then answer differently, which is worse than failing:
    https://scikit-learn.org/stable/model_persistence.html
    """
    here = versions()
    same = trained["scikit-learn"] == here["scikit-learn"]
    if not same or trained["numpy"].split(".")[0] != here["numpy"].split(".")[0]:
        raise CannotServeError(
            f"The model was trained with {trained}, this container has {here}. "
            "Train it again in the image that serves it, or serve it with the image that trained it."
        )


def encode(rows: list[dict[str, Any]], vocabulary: dict[str, dict[str, int]]) -> Any:
    """Rows (dicts by column name) to a matrix of numbers.

    Training and serving both call this one function, so the two cannot drift apart. A category never seen in
    training and a missing value both become NaN, which the model knows how to handle.
    """
    matrix = np.full((len(rows), len(COLUMNS)), np.nan)
    for column, name in enumerate(COLUMNS):
        codes = vocabulary.get(name)
        for row, values in enumerate(rows):
            value = values.get(name)
            if codes is not None:
                value = codes.get(str(value))
            if value is not None and value != "":
                matrix[row, column] = float(value)
    return matrix


def model_fn(model_dir: str) -> dict[str, Any]:
    """Load the model. A job on several instances leaves one candidate per instance: the best AUC wins."""
    candidates = [json.loads(path.read_text()) for path in sorted(Path(model_dir).glob("model*.json"))]
    if not candidates:
        raise CannotServeError(f"No model*.json in {model_dir}. Did train.py write to SM_MODEL_DIR?")
    best = max(candidates, key=lambda candidate: candidate["auc"])
    check_versions(best["versions"])
    return {"classifier": joblib.load(Path(model_dir) / best["file"]), "vocabulary": best["vocabulary"]}


def input_fn(body: str | bytes, content_type: str) -> list[dict[str, Any]]:
    """A request's body to rows. JSON: {"instances": [{column: value}, ...]}; CSV: COLUMNS in order, no header."""
    text = body.decode() if isinstance(body, (bytes, bytearray)) else body
    if content_type.startswith("application/json"):
        return [_row(instance) for instance in json.loads(text)["instances"]]
    if content_type.startswith("text/csv"):
        return [_row(line) for line in csv.reader(io.StringIO(text)) if line]
    raise CannotServeError(f"Cannot read {content_type}. Send application/json or text/csv.")


def _row(values: Any) -> dict[str, Any]:
    if isinstance(values, dict):
        unknown = sorted(set(values) - set(COLUMNS))
        if unknown:
            raise CannotServeError(f"Unknown columns {unknown}. The model knows {list(COLUMNS)}.")
        return values
    if len(values) != len(COLUMNS):
        raise CannotServeError(f"Got {len(values)} values, need {len(COLUMNS)}: {', '.join(COLUMNS)}.")
    return dict(zip(COLUMNS, values, strict=True))


def predict_fn(rows: list[dict[str, Any]], model: dict[str, Any]) -> Any:
    """The probability, for each row, that the flight arrives 15 minutes late or more."""
    return model["classifier"].predict_proba(encode(rows, model["vocabulary"]))[:, 1]


def output_fn(probabilities: Any, accept: str) -> tuple[str, str]:
    """The answer: {"predictions": [...]}, or one number a line for text/csv."""
    numbers = [round(float(number), 4) for number in probabilities]
    if accept.startswith("text/csv"):
        return "\n".join(str(number) for number in numbers), "text/csv"
    return json.dumps({"predictions": numbers}), "application/json"
