"""The register of faults: what is accepted, kept across restarts, done once, and forgotten."""

import math
import time

import pytest
from localcloud.faults import FaultError, Faults
from localcloud.gateway.errors import GatewayError
from localcloud.store import Store


class Gateway:
    """Remembers what was put in force."""

    def __init__(self):
        self.faults, self.refuses = [], False

    def set_faults(self, faults):
        if self.refuses and faults:
            raise GatewayError("too many")
        self.faults = faults


@pytest.fixture
def gateway():
    return Gateway()


@pytest.fixture
def enacted():
    return []


@pytest.fixture
def faults(tmp_path, gateway, enacted):
    return Faults(Store(tmp_path / "cloud.db"), gateway.set_faults, enacted.append)


def test_a_fault_is_in_force_when_add_returns(faults, gateway):
    fault = faults.add({"kind": "error", "service": "sagemaker", "percent": 30, "status": 503, "region": None})
    assert gateway.faults == [fault] == faults.all()
    assert fault.start <= time.time()
    assert fault.end is None


def test_faults_survive_the_control_plane(faults, tmp_path, gateway):
    fault = faults.add({"kind": "latency", "delay_seconds": 2})
    assert Faults(Store(tmp_path / "cloud.db"), gateway.set_faults).at_the_gateway() == [fault]


def test_clear_ends_one_or_all(faults, gateway):
    first, second, _ = (faults.add({"kind": "outage"}) for _ in range(3))
    assert faults.clear(first.id) == 1
    assert second in gateway.faults
    assert first not in gateway.faults
    assert faults.clear("unknown") == 0
    assert faults.clear() == 2
    assert gateway.faults == []


@pytest.mark.parametrize("kind", ["kill", "spot-reclaim"])
def test_a_kill_is_done_once_and_over(faults, gateway, enacted, kind):
    fault = faults.add({"kind": kind, "target": "my-job", "tenant": "111122223333"})
    faults.run_due()
    assert enacted == [fault]
    assert faults.all() == gateway.faults == []


def test_a_planned_kill_waits_for_its_time(faults, enacted):
    start = time.time() + 0.1
    faults.add({"kind": "kill", "target": "my-job", "start": start})
    assert enacted == []
    while not enacted:
        faults.run_due()
    assert time.time() >= start


def test_what_is_over_is_forgotten(faults):
    faults.add({"kind": "outage", "end": time.time() + 0.05})
    while faults.all():
        faults.run_due()


def test_what_the_gateway_refuses_is_not_kept(faults, gateway):
    gateway.refuses = True
    with pytest.raises(GatewayError):
        faults.add({"kind": "outage"})
    assert faults.all() == []


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, "at least a kind"),
        ({"kind": "meteor"}, "Unknown kind"),
        ({"kind": "error", "colour": "red"}, "Unknown fields"),
        ({"kind": "error", "percent": 0}, "percent"),
        ({"kind": "error", "percent": 101}, "percent"),
        ({"kind": "error", "percent": "30"}, "number"),
        ({"kind": "error", "percent": True}, "number"),
        ({"kind": "error", "percent": math.nan}, "number"),
        ({"kind": "error", "status": 200}, "400 to 599"),
        ({"kind": "error", "status": 503.5}, "400 to 599"),
        ({"kind": "latency"}, "delay_seconds"),
        ({"kind": "latency", "delay_seconds": math.inf}, "number"),
        ({"kind": "kill"}, "target"),
        ({"kind": "outage", "end": 1.0}, "past"),
        ({"kind": "outage", "start": 4e9, "end": 3e9}, "before start"),
        ({"kind": "outage", "region": 5}, "text"),
    ],
)
def test_nonsense_is_refused_with_its_reason(faults, gateway, description, message):
    with pytest.raises(FaultError, match=message):
        faults.add(description)
    assert faults.all() == gateway.faults == []
