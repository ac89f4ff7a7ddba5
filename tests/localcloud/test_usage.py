"""The usage ledger: every row is counted once, however often it is written and whoever is killed."""

from dataclasses import replace

import pytest
from localcloud.meter import usage
from localcloud.meter.usage import Usage
from localcloud.store import Store

TENANT = "123456789012"
SECONDS = Usage(
    "replica:1", TENANT, "AWS", "us-east-1", "SageMaker AI", "ml.m5.large Hosting", "a", "second", 5.0, 100, 105
)  # fmt: skip
REQUESTS = replace(SECONDS, id="requests:1", sku="requests", unit="request", quantity=3.0, started=101, ended=104)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "cloud.db")
    yield opened
    opened.close()


def test_recording_again_replaces(store):
    for seconds in (1.0, 5.0, 5.0):
        usage.record(store, replace(SECONDS, quantity=seconds, ended=100 + seconds))
    assert usage.of_tenant(store, TENANT) == [SECONDS]


def test_adding_again_adds(store):
    for ended in (104, 109, 106):
        with store.transaction() as connection:
            usage.add(connection, replace(REQUESTS, ended=ended))
    assert usage.of_tenant(store, TENANT) == [replace(REQUESTS, quantity=9.0, ended=109)]


def test_an_addition_and_its_proof_stand_or_fall_together(store):
    def add_with_cursor(offset, fail=False):
        with store.transaction() as connection:
            usage.add(connection, REQUESTS)
            connection.execute("INSERT OR REPLACE INTO cursor VALUES ('log', 1, ?)", (offset,))
            if fail:
                raise InterruptedError

    add_with_cursor(100)
    with pytest.raises(InterruptedError):
        add_with_cursor(200, fail=True)
    assert usage.of_tenant(store, TENANT) == [REQUESTS]
    assert store.read().execute("SELECT offset FROM cursor").fetchall() == [(100,)]


def test_rows_are_the_tenants_own_and_oldest_first(store):
    later = replace(SECONDS, id="a", started=200, ended=205)
    for row in (later, replace(SECONDS, id="x", tenant="999999999999"), SECONDS):
        usage.record(store, row)
    assert usage.of_tenant(store, TENANT) == [SECONDS, later]
    assert usage.of_tenant(store, "000000000000") == []


def test_rows_are_there_after_a_restart(store, tmp_path):
    usage.record(store, SECONDS)
    again = Store(tmp_path / "cloud.db")
    assert usage.of_tenant(again, TENANT) == [SECONDS]
    again.close()
