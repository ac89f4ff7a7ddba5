"""The two scripts that run in a SageMaker container: `train.py` and `inference.py`. Read them; they are short."""

from pathlib import Path
from typing import Final

SCRIPTS: Final = Path(__file__).resolve().parent
"""The folder to hand to a training job as its source."""
