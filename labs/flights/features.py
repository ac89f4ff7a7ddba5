"""What is known about a flight two hours before it should leave, and whether it then came late.

Left out on purpose, because nobody knows them two hours ahead: `dep_time`, `dep_delay` (its correlation with the
arrival delay is 0.91), `arr_time`, `air_time`. The weather is the observation at the origin two hours before the
scheduled hour, not the one at departure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import pandas as pd

from labs.flights.source import load

LATE_MINUTES: Final = 15
"""A flight is late when it arrives this many minutes after schedule, or more: the US Department of
Transportation's own threshold, https://www.bts.gov/explore-topics-and-geography/topics/airline-time-performance-and-causes-flight-delays"""
LABEL: Final = "late"
KNOWN_HOURS_AHEAD: Final = 2
CATEGORIES: Final = ("carrier", "origin", "region")
_WEATHER: Final = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
COLUMNS: Final = ("month", "weekday", "hour", *CATEGORIES, "distance", *_WEATHER)
"""The model's inputs, in order. `weekday` 0 is Monday, `hour` the scheduled local hour, `distance` miles, `temp` °F,
`humid` %, `wind_speed` mph, `precip` inches in the hour, `pressure` hPa, `visib` miles."""

REGIONS: Final = {
    -5: "eastern",
    -6: "central",
    -7: "mountain",
    -8: "pacific",
    -9: "alaska",
    -10: "hawaii",
}
"""Destination time zone, hours from UTC in winter, to region. The airports table has no row for four airports in
Puerto Rico and the US Virgin Islands: those are `atlantic`."""
_UNLISTED_REGION: Final = "atlantic"

Unlabelled = Literal["drop", "keep"]


def features(flights: pd.DataFrame | None = None, *, unlabelled: Unlabelled = "drop") -> pd.DataFrame:
    """COLUMNS, the label `late` (0 or 1) and `date`, one row per flight in the order given.

    9,430 of the 336,776 flights never got a label: 8,255 never left (cancelled), 1,175 left but have no arrival delay
    (diverted, or not recorded). `drop` leaves them out; `keep` returns them with `late` missing, for the day you must
    decide what a cancelled flight is. Hours without a weather observation (1,221 flights) keep missing values.
    """
    frame = load() if flights is None else flights
    known = frame.reset_index(drop=True).pipe(_with_weather).pipe(_with_region)
    date = pd.to_datetime(known[["year", "month", "day"]])
    known = known.assign(date=date, weekday=date.dt.day_of_week.astype("int16"), late=_late(known["arr_delay"]))
    if unlabelled == "drop":
        known = known[known[LABEL].notna()].astype({LABEL: "int8"})
    return known[[*COLUMNS, LABEL, "date"]].reset_index(drop=True)


def unlabelled(flights: pd.DataFrame | None = None) -> pd.Series:
    """How many flights have no label, by reason."""
    frame = load() if flights is None else flights
    missing = frame[frame["arr_delay"].isna()]
    left = missing["dep_time"].notna()
    return pd.Series({"never left": int((~left).sum()), "left, no arrival delay": int(left.sum())}, name="flights")


def split(
    known: pd.DataFrame,
    *,
    train: Iterable[int] = (1, 2, 3, 4, 5, 6),
    validation: Iterable[int] = (7,),
    rows: int | None = 50_000,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Past months to learn from, later months to be judged on; at most `rows` of the past, drawn evenly.

    Raises ValueError when a validation month is not after every training month: a random split would let the model
    see other flights of the very same storm.
    """
    past, future = tuple(train), tuple(validation)
    if min(future) <= max(past):
        raise ValueError(f"Validation months {future} must all come after the training months {past}")
    learn = known[known["month"].isin(past)]
    if rows is not None and rows < len(learn):
        learn = learn.sample(rows, random_state=seed).sort_index()
    return learn, known[known["month"].isin(future)]


def sample(count: int = 1, *, seed: int = 0, month: int = 7) -> list[dict[str, object]]:
    """Flights of a month as an endpoint wants them: COLUMNS as plain JSON values, a missing value is None."""
    known = features()
    drawn = known[known["month"] == month].sample(count, random_state=seed)[list(COLUMNS)]
    return [{str(name): _plain(value) for name, value in row.items()} for row in drawn.to_dict(orient="records")]


def csv_row(flight: Mapping[str, object]) -> str:
    """A flight of `sample` as one line of text/csv, COLUMNS in order, a missing value as nothing between commas."""
    return ",".join("" if flight[name] is None else str(flight[name]) for name in COLUMNS)


def _plain(value: object) -> object:
    number = getattr(value, "item", lambda: value)()
    if isinstance(number, float):
        return None if math.isnan(number) else round(number, 2)
    return number


def _late(delay: pd.Series) -> pd.Series:
    return (delay >= LATE_MINUTES).astype("Int8").mask(delay.isna())


def _with_weather(flights: pd.DataFrame) -> pd.DataFrame:
    weather = load("weather")[["origin", "time_hour", *_WEATHER]]
    ahead = weather.assign(time_hour=weather["time_hour"] + pd.Timedelta(hours=KNOWN_HOURS_AHEAD))
    return flights.merge(ahead, on=["origin", "time_hour"], how="left")


def _with_region(flights: pd.DataFrame) -> pd.DataFrame:
    airports = load("airports").set_index("faa")["tz"].map(REGIONS)
    return flights.assign(region=flights["dest"].map(airports).fillna(_UNLISTED_REGION))
