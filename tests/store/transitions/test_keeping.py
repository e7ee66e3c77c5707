"""overdue.lua, sweep.lua, collect.lua, discard.lua, remove.lua: finding what was left, and forgetting."""

from __future__ import annotations

from collections import Counter
from threading import Thread

import pytest

from pytask_core.connection import RedisSource, disconnect
from tests.store.conftest import Desk
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

# Monitor's round


def test_many_monitors_have_one_round_an_interval(desk: Desk, redis_server: RedisServer) -> None:
    rounds: list[dict[str, float] | None] = []
    clients = [RedisSource(redis_server.url).store_client(1) for _ in range(8)]
    keepers = [desk.stores.keeper(client, desk.keys) for client in clients]
    threads = [
        Thread(target=lambda keeper=keeper: rounds.extend(keeper.overdue(60, 60) for _ in range(10)))
        for keeper in keepers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    disconnect(*clients)

    assert len(rounds) == 80
    assert [each for each in rounds if each is not None] == [{}]


def test_the_next_interval_has_its_round_again(desk: Desk) -> None:
    assert list(desk.keeper.overdue(0.05, 60) or ()) == []
    assert wait_until(lambda: desk.keeper.overdue(0.05, 60) is not None, timeout=2)


def test_a_clock_that_was_set_back_does_not_end_the_rounds(desk: Desk) -> None:
    desk.keeper.overdue(10, 60)
    desk.redis.hset(desk.keys.monitor, "round", "99999999999999")

    assert list(desk.keeper.overdue(10, 60) or ()) == []


def test_only_workers_without_a_beat_for_the_timeout_are_overdue(desk: Desk) -> None:
    for name in ("w1", "w2", "w3"):
        desk.worker(name)
    desk.redis.zadd(desk.keys.workers, {"w2": 1, "w3": 2})

    assert list(desk.keeper.overdue(10, 60) or ()) == ["w2", "w3"]


def test_a_round_mends_the_count_of_running_tasks(desk: Desk) -> None:
    desk.run(desk.worker(), "a", "b")
    desk.redis.set(desk.keys.running, 1_000_000)

    desk.keeper.overdue(10, 60)

    assert desk.running == 2


# The sweep


def sweep_all(desk: Desk, timeout: float = 60) -> dict[str, str]:
    told = {}
    while True:
        page = desk.keeper.sweep(timeout)
        told.update(page.told)
        if page.last:
            return told


def test_a_running_id_without_a_lease_is_requeued_once_it_is_old(desk: Desk) -> None:
    """As the original pytask, a program by hand, or a crash between steps leaves it."""
    seconds, _ = desk.redis.time()
    updates = {"old": str(seconds - 100), "none": "", "odd": "yesterday", "young": str(seconds - 5)}
    for name, update in updates.items():
        fields = {"task": "job", "data": "{}", "state": "RUNNING", "last_update": update}
        desk.redis.hset(desk.keys.task(name), mapping=fields)
        desk.redis.sadd(desk.keys.task_set, name)

    told = sweep_all(desk)

    assert told == {"old": "WAIT", "none": "WAIT", "odd": "WAIT"}
    assert (sorted(desk.new), desk.active) == (["none", "odd", "old"], {"young"})
    assert sweep_all(desk) == {}, "a second sweep finds nothing"


def test_a_swept_task_leaves_the_hands_of_its_worker_and_its_stop_is_kept(desk: Desk) -> None:
    worker = desk.worker()
    desk.run(worker, "a", "stop", "kept")
    worker.adopt("local", "w1:0", "job", "{}")
    desk.client.stop("stop")
    for each in ("a", "stop", "local"):
        desk.redis.hset(desk.keys.task(each), "last_update", "1")

    assert sweep_all(desk) == {"a": "WAIT", "stop": "STOPPED", "local": "GONE"}

    assert (desk.new, desk.active, desk.held(), desk.running) == (["a"], {"stop", "kept"}, {"kept"}, 1)
    assert desk.redis.exists(desk.keys.task("local")) == 0


def test_ids_without_a_hash_leave_the_task_set(desk: Desk) -> None:
    desk.redis.sadd(desk.keys.task_set, "missing", "string")
    desk.redis.set(desk.keys.task("string"), "x")
    desk.redis.hset(desk.keys.task("kept"), mapping={"task": "job", "state": "STOPPED"})
    desk.redis.sadd(desk.keys.task_set, "kept")

    assert sweep_all(desk) == {"missing": "missing", "string": "missing"}
    assert desk.active == {"kept"}
    assert desk.redis.get(desk.keys.task("string")) == "x"


def test_a_sweep_goes_page_by_page_and_another_monitor_goes_on_where_it_stopped(desk: Desk) -> None:
    pipe = desk.redis.pipeline()
    for number in range(3_000):
        pipe.hset(desk.keys.task(str(number)), mapping={"task": "job", "state": "RUNNING", "last_update": "1"})
        pipe.sadd(desk.keys.task_set, number)
    pipe.execute()

    pages = [desk.keeper.sweep(60)]
    while not pages[-1].last:
        pages.append(desk.keeper.sweep(60))

    assert len(pages) > 3
    assert max(len(page.told) for page in pages) < 1_500
    assert Counter(desk.new) == Counter(str(number) for number in range(3_000))


# Cleanup


def ended(desk: Desk, *ids: str) -> None:
    worker = desk.worker()
    token = desk.run(worker, *ids)
    for each in ids:
        desk.end(worker, each, token)


def test_what_is_collected_stays_findable_until_it_is_discarded(desk: Desk) -> None:
    ended(desk, "a", "b")

    collected = desk.keeper.collect("w1", hashes=True)

    assert [each for each, _ in collected] == ["a", "b"]
    assert collected[0][1]["output"] == "1"
    assert desk.where.count == {"a": 1, "b": 1}
    assert [each for each, _ in desk.keeper.collect("w1", hashes=False)] == ["a", "b"], "a crash in the middle"

    assert desk.keeper.discard("w1", [("a", False, ""), ("b", False, "")], 0) == 2
    assert desk.where.count == {}
    assert desk.redis.exists(desk.keys.task("a"), desk.keys.task("b")) == 0


def test_two_cleanups_never_collect_the_same_id(desk: Desk) -> None:
    ended(desk, *[f"id-{number}" for number in range(450)])
    desk.worker("w2")

    first = desk.keeper.collect("w1", hashes=False)
    second = desk.keeper.collect("w2", hashes=False)

    assert (len(first), second) == (450, [])


def test_retention_keeps_the_hash_readable_for_a_while(desk: Desk) -> None:
    ended(desk, "a")
    desk.keeper.collect("w1", hashes=False)

    desk.keeper.discard("w1", [("a", False, "")], 100)

    assert 90 < desk.redis.ttl(desk.keys.task("a")) <= 100
    assert desk.state("a") == "SUCCESS"


def test_what_was_restarted_meanwhile_is_left_alone(desk: Desk) -> None:
    ended(desk, "a", "b")
    desk.keeper.collect("w1", hashes=False)
    desk.client.restart("a")
    desk.client.restart("b")
    _, claims = desk.claim(desk.worker("w2"), room=1)

    assert desk.keeper.discard("w1", [("a", False, ""), ("b", False, "")], 0) == 0

    assert [task.id for task in claims.tasks] == ["a"]
    assert (desk.state("a"), desk.state("b"), desk.new) == ("RUNNING", "WAIT", ["b"])
    assert desk.redis.exists(desk.keys.cleaning("w1")) == 0


def test_a_task_whose_handler_failed_stays_findable_in_the_task_set(desk: Desk) -> None:
    ended(desk, "a")
    desk.keeper.collect("w1", hashes=True)

    desk.keeper.discard("w1", [("a", True, "")], 100)

    assert (desk.active, desk.state("a"), desk.redis.ttl(desk.keys.task("a"))) == ({"a"}, "SUCCESS", -1)


def test_what_stands_in_the_end_queue_and_is_no_hash_is_collected_and_dropped(desk: Desk) -> None:
    desk.redis.set(desk.keys.task("string"), "x")
    desk.redis.lpush(desk.keys.end_queue, "string", "missing")

    assert sorted(desk.keeper.collect("w1", hashes=True)) == [("missing", {}), ("string", {})]
    assert desk.keeper.discard("w1", [("string", False, ""), ("missing", False, "")], 0) == 0
    assert desk.redis.get(desk.keys.task("string")) == "x"
    assert desk.redis.exists(desk.keys.end_queue, desk.keys.cleaning("w1")) == 0


def test_waiting_for_an_ended_task_moves_it_nowhere(desk: Desk) -> None:
    """Who waited may be gone by then, and nobody would look into a list of his any more."""
    assert not desk.keeper.wait_for_ended(desk.redis, 0.01)
    ended(desk, "a", "b")

    assert desk.keeper.wait_for_ended(desk.redis, 1)
    assert (desk.ended, desk.where.cleaning) == (["a", "b"], [])


def test_what_a_cleanup_leaves_behind_stands_in_the_end_queue_again_in_order(desk: Desk) -> None:
    ended(desk, "a", "b", "c")
    desk.keeper.collect("w1", hashes=True)
    desk.keeper.discard("w1", [("a", False, "")], 0)

    assert desk.keeper.put_back("w1") == 2
    assert (desk.ended, desk.where.cleaning) == (["b", "c"], [])


def test_what_another_program_has_queued_again_since_it_ended_is_not_forgotten(desk: Desk) -> None:
    """It writes neither state nor anything else that would tell."""
    ended(desk, "a", "b")
    desk.push("a", data='{"x": 2}')
    collected = desk.keeper.collect("w1", hashes=False)

    assert desk.keeper.discard("w1", [(each, False, "") for each, _ in collected], 0) == 1

    worker = desk.worker("w2")
    token, claims = desk.claim(worker, insist=True)
    assert [(task.id, task.data) for task in claims.tasks] == [("a", '{"x": 2}')]
    desk.end(worker, "a", token)
    assert desk.ended == ["a"]


def test_an_ended_task_that_is_restarted_no_longer_expires(desk: Desk) -> None:
    ended(desk, "a", "b")
    desk.keeper.collect("w1", hashes=False)
    desk.keeper.discard("w1", [("a", False, ""), ("b", False, "")], 100)

    desk.client.restart("a")
    desk.start("b")

    assert [desk.redis.ttl(desk.keys.task(each)) for each in ("a", "b")] == [-1, -1]


# Remove


@pytest.mark.parametrize("state", ["none", "WAIT", "RUNNING", "SUCCESS", "kept", "STOPPED", "withdrawn"])
def test_a_task_removed_in_any_state_is_gone_and_its_id_starts_again_once(desk: Desk, state: str) -> None:
    worker = desk.worker()
    if state == "none":
        desk.push("a")
    elif state in {"WAIT", "withdrawn"}:
        desk.start("a")
    elif state == "kept":
        desk.start("a", cleanup=False)
        desk.end(worker, "a", desk.claim(worker)[0])
    else:
        token = desk.run(worker, "a")
        if state == "SUCCESS":
            desk.end(worker, "a", token)
        elif state == "STOPPED":
            worker.report([], [], [("a", token)], [])
    if state == "withdrawn":
        desk.client.stop("a")

    assert desk.client.remove("a") is True
    assert desk.redis.exists(desk.keys.task("a")) == 0
    assert (desk.active, desk.held(), desk.running) == (set(), set(), 0)
    assert desk.client.remove("a") is False

    desk.start("a", data='{"x": 2}')
    assert desk.new == ["a"]
    assert desk.claim(worker)[1].tasks == [("a", "job", '{"x": 2}')]


def test_removing_what_is_unknown_says_so_and_of_another_type_removes_it(desk: Desk) -> None:
    desk.redis.set(desk.keys.task("string"), "x")

    assert desk.client.remove("nothing") is False
    assert desk.client.remove("string") is True
