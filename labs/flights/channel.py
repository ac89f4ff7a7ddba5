"""Write the training data the way a training job reads it: one folder per channel, CSV with a header."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from labs.flights.features import COLUMNS, LABEL, features, split
from labs.flights.source import data_folder

_FORMAT: Final = 1
"""Part of the folder's name; raise it when what is written changes."""


@dataclass(frozen=True)
class TrainingChannels:
    """Folders of the two channels and how many rows each holds."""

    train: Path
    validation: Path
    train_rows: int
    validation_rows: int


def write_training_channel(folder: Path | str | None = None, *, rows: int = 50_000, seed: int = 0) -> TrainingChannels:
    """`train/flights.csv` (January to June, `rows` drawn evenly) and `validation/flights.csv` (July) under a folder.

    Without a folder they are kept beside the data and written only once.
    """
    root = Path(folder) if folder else data_folder() / f"channels.v{_FORMAT}-{rows}-{seed}"
    train, validation = (root / name / "flights.csv" for name in ("train", "validation"))
    if folder or not (train.exists() and validation.exists()):
        learn, judge = split(features(), rows=rows, seed=seed)
        _write(learn, train)
        _write(judge, validation)
    return TrainingChannels(train.parent, validation.parent, _rows(train), _rows(validation))


def _write(frame: pd.DataFrame, path: Path) -> None:
    # By rename: another notebook may be reading, or writing the same.
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    frame[[*COLUMNS, LABEL]].to_csv(temporary, index=False, float_format="%.2f")
    temporary.replace(path)


def _rows(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file) - 1
