"""Code of Lambda functions that predict flights' delays, as files: they are packed, not imported."""

from pathlib import Path
from typing import Final

FUNCTIONS: Final = Path(__file__).parent
