"""Revisions come and go under load, and no request is lost."""

import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import httpx
import pytest
from localcloud.gateway.errors import GatewayError
from localcloud.gateway.gateway import Gateway

PATH = "/endpoints/iris/invocations"


def test_switches_under_load_lose_no_request(door, backend, publication, load, wait_until):
    old = backend("r0")
    door.gateway.publish(publication("iris", {"all": ([old], 1)}))
    with load("iris", workers=8, **{"x-sleep": "0.005"}) as running:
        wait_until(lambda: old.served > 20)
        for number in range(1, 21):
            new = backend(f"r{number}")
            door.gateway.publish(publication("iris", {"all": ([new], 1)}))
            old.stop()  # at once: whatever it still had to answer would be lost
            count = len(running.statuses)
            wait_until(lambda count=count: len(running.statuses) > count + 20)
            old = new
    assert running.errors == []
    assert Counter(running.statuses).keys() == {200}
    assert set(running.names) == {f"r{number}" for number in range(21)}
    assert Counter(line["status"] for line in door.lines()) == {200: len(running.statuses)}


def test_replicas_join_and_leave_a_pool_without_loss(door, backend, publication, load, wait_until):
    one, two, three = backend("one"), backend("two"), backend("three")
    door.gateway.publish(publication("iris", {"all": ([one], 1)}, revision=77))
    with load("iris", **{"x-sleep": "0.01"}) as running:
        wait_until(lambda: one.served > 10)
        door.gateway.publish(publication("iris", {"all": ([one, two, three], 1)}, revision=77))
        wait_until(lambda: two.served > 10 and three.served > 10)
        door.gateway.publish(publication("iris", {"all": ([three], 1)}, revision=77))
        one.stop()
        two.stop()
        count = three.served
        wait_until(lambda: three.served > count + 50)
    assert running.errors == []
    assert Counter(running.statuses).keys() == {200}


def test_a_long_request_is_answered_by_the_old_revision(door, backend, publication, signed):
    old, new = backend("old"), backend("new")
    door.gateway.publish(publication("iris", {"all": ([old], 1)}))
    answers = []
    slow = signed(**{"x-sleep": "1.0"})
    thread = threading.Thread(target=lambda: answers.append(door.client.post(PATH, headers=slow)))
    thread.start()
    while old.served == 0:
        time.sleep(0.01)
    door.gateway.publish(publication("iris", {"all": ([new], 1)}))
    old.stop()
    thread.join()
    assert answers[0].json()["name"] == "old"
    assert door.client.post(PATH, headers=signed()).json()["name"] == "new"


def test_several_deployments_switch_at_once(door, backend, publication, load):
    """A slow request of one deployment holds up only its own switch."""
    names = [f"model-{number}" for number in range(5)]
    for name in names:
        door.gateway.publish(publication(name, {"all": ([backend(name)], 1)}))
    failures = []

    def switch(name):
        try:
            for _ in range(3):
                door.gateway.publish(publication(name, {"all": ([backend(name)], 1)}))
        except GatewayError as error:
            failures.append(error)

    with load(*names, workers=10) as running:
        threads = [threading.Thread(target=switch, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert running.errors == []
    assert Counter(running.statuses).keys() == {200}


def test_weights_change_without_new_replicas(door, backend, publication, signed):
    pools = {"a": ([backend("a")], 1), "b": ([backend("b")], 0)}
    door.gateway.publish(publication("iris", pools, revision=5))
    assert {door.client.post(PATH, headers=signed()).json()["name"] for _ in range(20)} == {"a"}
    swapped = {"a": (pools["a"][0], 0), "b": (pools["b"][0], 1)}
    door.gateway.publish(publication("iris", swapped, revision=5))
    assert {door.client.post(PATH, headers=signed()).json()["name"] for _ in range(20)} == {"b"}


def test_withdraw_ends_the_routes_and_forgets_the_clusters(door, backend, publication, signed):
    control = backend("control-plane", door.ports["control"])
    found = publication("iris", {"all": ([backend("iris")], 1)})
    door.gateway.publish(found)
    door.gateway.withdraw(found.id)
    door.gateway.withdraw(found.id)
    assert door.client.post(PATH, headers=signed()).json()["name"] == control.name
    assert door.gateway.stats(f"cluster.{found.clusters[0].name}") == {}
    assert list((door.home.gateway / "xds" / "endpoints").iterdir()) == []


def test_unhealthy_replicas_leave_the_old_ones_serving(door, backend, publication, signed):
    door.gateway.publish(publication("iris", {"all": ([backend("old")], 1)}))
    ill = backend("ill")
    ill.healthy = False
    found = publication("iris", {"all": ([ill], 1)})
    with pytest.raises(GatewayError, match=rf"health check.*GET /ping on 127.0.0.1:{ill.port}"):
        door.gateway.publish(found, healthy_seconds=1.0)
    assert door.client.post(PATH, headers=signed()).json()["name"] == "old"
    door.gateway.publish(publication("iris", {"all": ([backend("new")], 1)}))
    assert door.client.post(PATH, headers=signed()).json()["name"] == "new"


BAD = {
    "not an address": lambda p: replace(p, clusters=(replace(p.clusters[0], endpoints=(("nowhere.invalid", 80),)),)),
    "duplicate cluster": lambda p: replace(p, clusters=p.clusters * 2),
    "bad port": lambda p: replace(p, clusters=(replace(p.clusters[0], endpoints=(("127.0.0.1", 70000),)),)),
    "bad header": lambda p: replace(p, route=replace(p.route, header_prefixes={"": "x"})),
    "bad path": lambda p: replace(p, route=replace(p.route, rewrite_path="/a\nb")),
    "no weight": lambda p: replace(p, targets=(replace(p.targets[0], weight=0),)),
    "cluster of nobody": lambda p: replace(p, targets=(replace(p.targets[0], cluster="nobody"),)),
    "name is a path": lambda p: replace(p, clusters=(replace(p.clusters[0], name="../x"),)),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD.keys())
def test_a_refused_publication_changes_nothing(door, backend, publication, signed, spoil):
    door.gateway.publish(publication("iris", {"all": ([backend("old")], 1)}))
    with pytest.raises(GatewayError) as refused:
        door.gateway.publish(spoil(publication("iris", {"all": ([backend("bad")], 1)})), healthy_seconds=1.0)
    assert len(str(refused.value)) > 30
    assert door.client.post(PATH, headers=signed()).json()["name"] == "old"
    door.gateway.publish(publication("other", {"all": ([backend("other")], 1)}))
    assert door.client.post("/endpoints/other/invocations", headers=signed()).json()["name"] == "other"
    door.kill()
    door.start()
    assert door.client.post(PATH, headers=signed()).json()["name"] == "old"


def test_a_refused_change_of_replicas_changes_nothing(door, backend, publication, signed):
    old = backend("old")
    found = publication("iris", {"all": ([old], 1)}, revision=9)
    door.gateway.publish(found)
    ends = (*found.clusters[0].endpoints, ("127.0.0.1", 70000))
    with pytest.raises(GatewayError, match="rejected"):
        door.gateway.publish(replace(found, clusters=(replace(found.clusters[0], endpoints=ends),)))
    assert door.client.post(PATH, headers=signed()).json()["name"] == "old"
    door.gateway.publish(publication("iris", {"all": ([old, backend("new")], 1)}, revision=9))
    assert {door.client.post(PATH, headers=signed()).json()["name"] for _ in range(40)} == {"old", "new"}


def test_a_rejection_carries_the_words_of_envoy(door, backend, publication):
    found = publication("iris", {"all": ([backend("one")], 1)}, header_prefixes={"": "x"})
    with pytest.raises(GatewayError, match=r"rejected.*value length must be at least 1"):
        door.gateway.publish(found)


def test_a_cluster_belongs_to_one_deployment(door, backend, publication):
    first = publication("iris", {"all": ([backend("one")], 1)})
    door.gateway.publish(first)
    thief = replace(publication("wine", {"all": ([backend("two")], 1)}), clusters=first.clusters, targets=first.targets)
    with pytest.raises(GatewayError, match="belongs to"):
        door.gateway.publish(thief)


def test_publish_waits_for_an_envoy_that_is_being_restarted(door, backend, publication, signed):
    door.kill()
    timer = threading.Timer(0.5, door.start)
    timer.start()
    door.gateway.publish(publication("iris", {"all": ([backend("one")], 1)}))
    timer.join()
    assert door.client.post(PATH, headers=signed()).json()["name"] == "one"


def test_publish_without_envoy_says_so(unstarted_door, backend, publication):
    gateway = Gateway(unstarted_door.home, unstarted_door.ports, patience=0.3)
    gateway.write_bootstrap()
    with pytest.raises(GatewayError, match="lab status"):
        gateway.publish(publication("iris", {"all": ([backend("one")], 1)}))


def test_a_fresh_envoy_serves_every_endpoint_with_its_first_answer(door, backend, publication, signed):
    names = [f"model-{number}" for number in range(8)]
    for name in names:
        door.gateway.publish(publication(name, {"all": ([backend(name), backend(name)], 1)}))
    for _ in range(3):
        door.kill()
        door.start()
        answers = [door.client.post(f"/endpoints/{name}/invocations", headers=signed()) for name in names]
        assert [answer.json()["name"] for answer in answers] == names


def test_a_new_control_plane_takes_over_without_loss(door, backend, publication, load, wait_until, signed):
    """Also when its predecessor died in the middle of a switch, with clusters that nobody owns any more."""
    first = publication("iris", {"all": ([backend("one")], 1)})
    orphan = publication("gone", {"all": ([backend("gone")], 1)})
    door.gateway.publish(first)
    door.gateway.publish(orphan)
    with load("iris") as running:
        wait_until(lambda: len(running.statuses) > 20)
        heir = Gateway(door.home, door.ports)
        heir.restore([first], door.gateway._tenants, [])
        wait_until(lambda: heir.refresh() or not heir.stats(f"cluster.{orphan.clusters[0].name}"))
        heir.publish(publication("iris", {"all": ([backend("two")], 1)}))
        wait_until(lambda: "two" in running.names)
    assert running.errors == []
    assert Counter(running.statuses).keys() == {200}


def test_restore_does_not_wait_for_envoy(unstarted_door, backend, publication, signed):
    found = publication("iris", {"all": ([backend("one")], 1)})
    unstarted_door.gateway.write_bootstrap()
    unstarted_door.gateway.restore([found], {"111122223333": time.time() + 60}, [])
    unstarted_door.start()
    assert unstarted_door.client.post(PATH, headers=signed()).json()["name"] == "one"


def test_one_slow_request_does_not_close_the_endpoint(door, backend, publication, signed):
    door.gateway.publish(publication("iris", {"all": ([backend("one")], 1)}, timeout_seconds=0.2))
    assert door.client.post(PATH, headers=signed(**{"x-sleep": "1"})).status_code == 424
    assert [door.client.post(PATH, headers=signed()).status_code for _ in range(5)] == [200] * 5


def test_an_envoy_that_dies_while_the_old_replicas_drain(door, backend, publication, signed, wait_until):
    """The switch has been made: it counts, and what is left over is removed later."""
    old, new = publication("iris", {"all": ([backend("old")], 1)}), publication("iris", {"all": ([backend("new")], 1)})
    door.gateway.publish(old)
    gateway = Gateway(door.home, door.ports, patience=0.5)
    gateway.restore([old], door.gateway._tenants, [])
    slow = threading.Thread(target=lambda: _ignore_errors(door, signed(**{"x-sleep": "20"})))
    slow.start()
    active = f"cluster.{old.clusters[0].name}.upstream_rq_active"
    wait_until(lambda: gateway.stats(active)[active] == 1)
    switch = threading.Thread(target=gateway.publish, args=(new,))
    switch.start()
    wait_until(lambda: '"new"' in door.client.post(PATH, headers=signed()).text)
    door.kill()
    switch.join()
    slow.join()
    door.start()
    assert door.client.post(PATH, headers=signed()).json()["name"] == "new"
    wait_until(lambda: gateway.refresh() or not gateway.stats(f"cluster.{old.clusters[0].name}"))


def _ignore_errors(door, headers):
    with contextlib.suppress(httpx.HTTPError), httpx.Client(base_url=door.url, timeout=30, trust_env=False) as client:
        client.post(PATH, headers=headers)


def test_the_supervisor_gets_no_heavy_imports():
    check = "import sys, localcloud.gateway.gateway; print({'httpx', 'starlette', 'boto3'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", check], text=True).strip() == "set()"


def test_damaged_files_are_repaired_before_a_start(unstarted_door, backend, publication, signed):
    door = unstarted_door
    found = publication("iris", {"all": ([backend("one")], 1)})
    lost = publication("lost", {"all": ([backend("lost")], 1)})
    door.gateway.write_bootstrap()
    door.gateway.restore([found, lost], {"111122223333": time.time() + 60}, [])
    (door.home.gateway / "xds" / "endpoints" / f"{lost.clusters[0].name}.json").unlink()
    door.start()
    assert door.client.post(PATH, headers=signed()).json()["name"] == "one"
    door.kill()
    (door.home.gateway / "xds" / "routes-aws.json").write_text('{"resour')
    door.start()
    assert door.client.post(PATH, headers=signed()).status_code == 403
    door.gateway.restore([found], {"111122223333": time.time() + 60}, [])
    assert door.client.post(PATH, headers=signed()).json()["name"] == "one"


def test_a_dead_replica_gets_nothing_more(door, backend, publication, signed, wait_until):
    one, two = backend("one"), backend("two")
    found = publication("iris", {"all": ([one, two], 1)})
    door.gateway.publish(found)
    assert door.gateway.members_healthy(found.clusters[0].name) == 2
    one.stop()
    answers = [door.client.post(PATH, headers=signed()) for _ in range(50)]
    assert {answer.json()["name"] for answer in answers} == {"two"}
    wait_until(lambda: door.gateway.members_healthy(found.clusters[0].name) == 1)
