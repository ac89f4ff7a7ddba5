"""The store: what it has acknowledged is there, whatever happens to the writer, the disk or the file."""

import itertools
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from localcloud.store import Key, ResourceExistsError, Store, StoreFullError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cloud.db"


@pytest.fixture
def store(path):
    opened = Store(path)
    yield opened
    opened.close()


def key(name="a", tenant="123456789012", region="us-east-1", kind="sagemaker/model"):
    return Key(kind, tenant, region, name)


def test_insert_get_change_delete(store):
    store.insert(key(), {"n": 1})
    assert store.get(key()).body == {"n": 1}
    with pytest.raises(ResourceExistsError):
        store.insert(key(), {"n": 2})
    changed = store.change(key(), lambda body: body.update(n=body["n"] + 1))
    assert changed.body == store.get(key()).body == {"n": 2}
    assert store.delete(key())
    assert not store.delete(key())
    assert store.get(key()) is None
    assert store.change(key(), lambda body: body.clear()) is None


def test_put_keeps_the_time_of_creation(store):
    created = store.insert(key(), {}).created
    store.put(key(), {"n": 1})
    assert store.get(key()).created == created
    assert store.get(key()).updated >= created


@pytest.mark.parametrize(
    ("tenant", "region", "names"),
    [(None, None, "abcd"), ("1", None, "abc"), ("1", "us", "ab"), (None, "eu", "cd"), ("3", None, "")],
)
def test_list_narrows_by_tenant_and_region(store, tenant, region, names):
    for name, owner, place in [("a", "1", "us"), ("b", "1", "us"), ("c", "1", "eu"), ("d", "2", "eu")]:
        store.insert(key(name, owner, place), {})
    store.insert(key("e", kind="other"), {})
    assert "".join(found.key.name for found in store.list("sagemaker/model", tenant, region)) == names


def test_a_failed_transaction_changes_nothing(store):
    def fail_half_way():
        with store.transaction():
            store.insert(key("a"), {})
            with store.transaction():
                store.insert(key("b"), {})
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail_half_way()
    assert store.list("sagemaker/model") == []


def test_threads_do_not_lose_each_others_changes(store):
    store.insert(key(), {"n": 0})

    def add():
        for _ in range(50):
            store.change(key(), lambda body: body.update(n=body["n"] + 1))
        store.close()

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(key()).body == {"n": 400}


def test_a_reader_does_not_wait_for_a_writer(store):
    store.insert(key(), {"n": 1})
    seen = []

    def read():
        seen.append(store.get(key()).body)
        store.close()

    with store.transaction():
        store.put(key(), {"n": 2})
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(10)
        assert seen == [{"n": 1}]


WRITER = """
import sys
from pathlib import Path
from localcloud.store import Key, Store
store = Store(Path(sys.argv[1]))
for number in range(1_000_000):
    store.insert(Key("row", "t", "r", f"{sys.argv[2]}-{number}"), {"n": number})
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_minus_nine(path):
    """Two writers, killed five times in the middle of their work: no acknowledged row is missing, none is half."""
    acknowledged = []
    for round_number in range(5):
        names = [f"{round_number}-{writer}" for writer in range(2)]
        writers = [
            (name, subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, text=True))
            for name in names
        ]
        for _name, writer in writers:
            list(itertools.islice(writer.stdout, 20))
        for name, writer in writers:
            writer.send_signal(signal.SIGKILL)
            last = 19 + sum(line.endswith("\n") for line in writer.stdout)
            writer.wait()
            writer.stdout.close()
            acknowledged += [f"{name}-{number}" for number in range(last + 1)]
    store = Store(path)
    rows = {found.key.name: found.body["n"] for found in store.list("row")}
    store.close()
    assert set(acknowledged) <= set(rows)
    assert len(rows) <= len(acknowledged) + 10, "one row per kill may be written and not yet acknowledged"
    assert all(name.endswith(f"-{number}") for name, number in rows.items())
    assert list(path.parent.glob("*corrupt*")) == []


def test_a_full_disk_is_said_and_loses_nothing(store, path):
    store.insert(key("kept"), {"n": 1})
    pages = store.read().execute("PRAGMA page_count").fetchone()[0]
    store.read().execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(StoreFullError, match=r"is full; nothing was changed.*lab clean"):
        store.insert(key("large"), {"x": "y" * 100_000})

    def change_both():
        with store.transaction():
            store.put(key("kept"), {"n": 2})
            store.insert(key("large"), {"x": "y" * 100_000})

    with pytest.raises(StoreFullError):
        change_both()
    assert store.get(key("large")) is None
    assert store.get(key("kept")).body == {"n": 1}
    store.read().execute("PRAGMA max_page_count=1000000")
    store.insert(key("large"), {"x": "y" * 100_000})
    assert store.get(key("large")) is not None


@pytest.mark.parametrize(
    "damage", [lambda data: b"not a database" * 100, lambda data: data[:4096] + b"\xff" * (len(data) - 4096)]
)
def test_a_corrupt_database_is_set_aside(path, damage):
    store = Store(path)
    for number in range(200):
        store.insert(key(str(number)), {"text": "x" * 200})
    store.read().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    again = Store(path)
    assert again.list("sagemaker/model") == []
    again.insert(key(), {})
    again.close()
    (aside,) = [found for found in path.parent.glob("cloud.db.corrupt-*") if found.suffix.startswith(".corrupt")]
    assert aside.read_bytes() == damaged


def test_an_empty_file_is_a_new_database(path):
    path.touch()
    store = Store(path)
    store.insert(key(), {})
    store.close()
    assert list(path.parent.glob("*corrupt*")) == []


def test_close_is_only_for_this_thread(store):
    store.insert(key(), {})
    store.close()
    store.close()
    assert store.get(key()) is not None
    connection = store.read()
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
