"""Write the training data the way a training job reads it: one folder per channel, CSV with a header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labs.flights.features import COLUMNS, LABEL, features, split


@dataclass(frozen=True)
class TrainingChannels:
    """Folders of the two channels and how many rows each holds."""

    train: Path
    validation: Path
    train_rows: int
    validation_rows: int


def write_training_channel(folder: Path | str, *, rows: int | None = 50_000, seed: int = 0) -> TrainingChannels:
    """Write `train/flights.csv` (January to June) and `validation/flights.csv` (July) under a folder."""
    root = Path(folder)
    known = features()
    learn, judge = split(known, rows=rows, seed=seed)
    for name, frame in (("train", learn), ("validation", judge)):
        (root / name).mkdir(parents=True, exist_ok=True)
        frame[[*COLUMNS, LABEL]].to_csv(root / name / "flights.csv", index=False, float_format="%.2f")
    return TrainingChannels(root / "train", root / "validation", len(learn), len(judge))
