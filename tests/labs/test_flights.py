"""The running data: figures the course quotes, nothing from the future, and channels a job can read."""

import numpy as np
import pandas as pd
import pytest

from labs import flights
from labs.flights import source

FROM_THE_FUTURE = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("LAB_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def raw(home):
    return flights.load()


@pytest.fixture(scope="module")
def known(raw):
    return flights.features(raw)


def test_every_flight_is_there_and_typed(raw):
    assert len(raw) == 336_776
    assert raw["arr_delay"].isna().sum() == 9_430
    assert str(raw["time_hour"].dtype).endswith("UTC]")
    assert raw["dep_time"].dtype == "Int16"


def test_a_second_load_reads_the_copy(raw, home, monkeypatch):
    monkeypatch.setattr(source, "_package_folder", lambda: pytest.fail("read the package again"))
    pd.testing.assert_frame_equal(flights.load(), raw)
    assert [path.name for path in (home / "data").glob("flights*")] == ["flights.v1.parquet"]


def test_a_missing_package_says_what_to_do(home, monkeypatch):
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(flights.FlightsError, match=r"Run: \./lab env"):
        flights.load("planes")


@pytest.mark.parametrize(("month", "share"), [(9, 0.137), (12, 0.335)])
def test_the_late_rate_moves_with_the_season(known, month, share):
    assert known[known["month"] == month]["late"].mean() == pytest.approx(share, abs=0.0006)


def test_regions_as_the_course_counts_them(raw):
    counts = flights.features(raw, unlabelled="keep")["region"].value_counts()
    assert counts.to_dict() == {
        "eastern": 192_377, "central": 74_811, "pacific": 46_324, "mountain": 14_947, "atlantic": 7_602, "hawaii": 707,
        "alaska": 8,
    }  # fmt: skip


def test_the_february_storm(raw):
    storm = raw[(raw["month"] == 2) & raw["day"].isin([8, 9])]
    assert storm["dep_time"].isna().sum() == 865


def test_why_the_departure_delay_is_left_out(raw):
    assert raw["dep_delay"].corr(raw["arr_delay"]) == pytest.approx(0.915, abs=0.001)
    assert not FROM_THE_FUTURE & set(flights.COLUMNS)


def test_unlabelled_flights_are_counted_dropped_or_kept(raw, known):
    assert flights.unlabelled(raw).to_dict() == {"never left": 8_255, "left, no arrival delay": 1_175}
    assert len(known) == 336_776 - 9_430
    kept = flights.features(raw, unlabelled="keep")
    assert len(kept) == len(raw)
    assert kept["late"].isna().sum() == 9_430


def test_weather_is_two_hours_old(raw):
    flight = raw.iloc[[100_000]]
    weather = flights.load("weather")
    two_hours_before = flight["time_hour"].iloc[0] - pd.Timedelta(hours=2)
    at_origin = (weather["origin"] == flight["origin"].iloc[0]) & (weather["time_hour"] == two_hours_before)
    assert flights.features(flight)["temp"].iloc[0] == weather[at_origin]["temp"].iloc[0]


def test_hours_without_weather_stay_missing(raw):
    assert flights.features(raw, unlabelled="keep")["visib"].isna().sum() == 1_221


def test_the_order_of_flights_is_kept(raw, known):
    labelled = raw[raw["arr_delay"].notna()]
    np.testing.assert_array_equal(known["late"], labelled["arr_delay"] >= 15)
    np.testing.assert_array_equal(known["distance"], labelled["distance"])


def test_split_by_time(known):
    learn, judge = flights.split(known, rows=5_000)
    assert len(learn) == 5_000
    assert learn["date"].max() < judge["date"].min()
    assert set(judge["month"]) == {7}


@pytest.mark.parametrize(("train", "validation"), [((1, 2), (2,)), ((7,), (6,)), ((1, 6), (5, 7))])
def test_a_split_that_mixes_past_and_future_is_refused(known, train, validation):
    with pytest.raises(ValueError, match="must all come after"):
        flights.split(known, train=train, validation=validation)


def test_a_sample_is_plain_json(home):
    rows = flights.sample(3)
    assert [tuple(row) for row in rows] == [flights.COLUMNS] * 3
    assert {type(value) for row in rows for value in row.values()} <= {int, float, str, type(None)}
    assert flights.sample(3) == rows
    assert flights.sample(3, seed=1) != rows


def test_channels(home, tmp_path):
    channels = flights.write_training_channel(tmp_path, rows=1_000)
    train = pd.read_csv(channels.train / "flights.csv")
    assert list(train.columns) == [*flights.COLUMNS, flights.LABEL]
    assert (len(train), channels.train_rows, channels.validation_rows) == (1_000, 1_000, 28_293)


def test_channels_without_a_folder_are_written_once(home, monkeypatch):
    first = flights.write_training_channel(rows=500)
    monkeypatch.setattr("labs.flights.channel.features", lambda: pytest.fail("written again"))
    assert flights.write_training_channel(rows=500) == first
    assert first.train.is_relative_to(home)


def test_a_flight_as_csv():
    flight = dict.fromkeys(flights.COLUMNS, 1) | {"carrier": "DL", "temp": None}
    assert flights.csv_row(flight) == "1,1,1,DL,1,1,1,,1,1,1,1,1"
