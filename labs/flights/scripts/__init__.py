"""The two scripts that run in a SageMaker container: `train.py` and `inference.py`. Read them; they are short."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

SCRIPTS: Final = Path(__file__).resolve().parent
"""The folder to hand to a training job as its source."""

METRICS: Final[Mapping[str, str]] = {"validation:auc": r"validation:auc=([0-9.]+);"}
"""What the script measures, and the regular expression that reads it from the log."""
