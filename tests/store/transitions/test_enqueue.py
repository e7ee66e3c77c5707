"""enqueue.lua: starting tasks, one by one and in bulk."""

from __future__ import annotations

import pytest
import redis

from tests.store.conftest import Desk


def test_a_started_task_waits_in_the_queue_with_its_name_and_data(desk: Desk) -> None:
    assert desk.start("a", name="job", data='{"x": 1}') == [True]

    assert desk.redis.hmget(desk.keys.task("a"), "task", "data", "state") == ["job", '{"x": 1}', "WAIT"]
    assert desk.new == ["a"]
    assert desk.active == set()


def test_a_start_of_what_waits_replaces_its_data_and_it_runs_once(desk: Desk) -> None:
    desk.start("a", data='{"x": 1}', cleanup=False)
    queued = desk.field("a", "last_update")
    desk.start("a", data='{"x": 2}')
    desk.start("a", "a", name="other", data='{"x": 3}')

    assert desk.new == ["a"]
    assert desk.redis.hgetall(desk.keys.task("a")) == {
        "task": "other",
        "data": '{"x": 3}',
        "state": "WAIT",
        "last_update": queued,  # it keeps its place, and has waited since then
    }
    assert desk.drain(desk.worker()).tasks == [("a", "other", '{"x": 3}')]


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "EXCEPTION"])
def test_an_ended_id_starts_anew_with_the_new_data(desk: Desk, state: str) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.end(worker, "a", token, state)
    desk.redis.expire(desk.keys.task("a"), 100)

    desk.start("a", data='{"x": 2}', cleanup=False)

    fields = desk.redis.hgetall(desk.keys.task("a"))
    if not desk.atomic:
        del fields["owner"]  # by which a claim that comes late is told
    assert fields == {
        "task": "job",
        "data": '{"x": 2}',
        "state": "WAIT",
        "cleanup": "false",
        "last_update": desk.field("a", "last_update"),
    }
    assert desk.redis.ttl(desk.keys.task("a")) == -1, "the retention of its last life must not end this one"
    assert desk.new == ["a"]


def test_a_kept_ended_id_that_starts_anew_leaves_the_task_set_and_its_cleanup_mark(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a", cleanup=False)
    token, _ = desk.claim(worker)
    desk.end(worker, "a", token)
    assert desk.active == {"a"}

    desk.start("a")

    assert desk.active == set()
    assert desk.new == ["a"]
    assert desk.field("a", "cleanup") is None


def test_a_stopped_id_starts_anew_with_the_new_data(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.client.stop("a")
    worker.report([], [], [("a", token)], [])
    assert (desk.state("a"), desk.active) == ("STOPPED", {"a"})

    desk.start("a", data='{"x": 2}')

    assert (desk.state("a"), desk.active, desk.new) == ("WAIT", set(), ["a"])
    assert desk.field("a", "data") == '{"x": 2}'


def test_an_id_stopped_while_it_waited_starts_anew_from_the_entry_it_still_has(desk: Desk) -> None:
    desk.start("a")
    desk.client.stop("a")

    desk.start("a", data='{"x": 2}')

    assert desk.new == ["a"]
    _, claims = desk.claim(desk.worker())
    assert claims.tasks == [("a", "job", '{"x": 2}')]


def test_a_running_id_is_left_alone(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")

    assert desk.start("a", data='{"x": 2}') == [True]

    assert (desk.state("a"), desk.field("a", "owner"), desk.field("a", "data")) == ("RUNNING", token, "{}")
    assert desk.new == []


def test_a_start_after_a_recorded_stop_runs_again_with_the_new_data(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.client.stop("a")

    desk.start("a", data='{"x": 2}')
    worker.report([], [], [("a", token)], [])

    assert (desk.state("a"), desk.new, desk.active) == ("WAIT", ["a"], set())
    _, claims = desk.claim(worker)
    assert claims.tasks == [("a", "job", '{"x": 2}')]


def test_a_start_after_a_recorded_stop_takes_its_own_cleanup_mark(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a", cleanup=False)
    desk.claim(worker)
    desk.client.stop("a")

    desk.start("a", cleanup=True)

    assert desk.field("a", "cleanup") is None


def test_a_start_after_the_stop_of_a_local_task_is_not_lost_with_it(desk: Desk) -> None:
    worker = desk.worker()
    worker.adopt("a", "w1:1", "job", "{}")
    desk.client.stop("a")

    desk.start("a", data='{"x": 2}')
    worker.report([], [], [("a", "w1:1")], [])

    assert (desk.state("a"), desk.new) == ("WAIT", ["a"])


@pytest.mark.parametrize("make", ["set", "lpush", "sadd"])
def test_a_key_that_is_no_hash_is_refused_and_kept_and_its_neighbours_start(desk: Desk, make: str) -> None:
    desk.redis.execute_command(make, desk.keys.task("b"), "something")

    assert desk.start("a", "b", "c") == [True, False, True]

    assert desk.new == ["a", "c"]
    assert desk.redis.type(desk.keys.task("b")) != "hash"


def test_thousands_start_in_bulk_in_order(desk: Desk) -> None:
    ids = [f"id-{number}" for number in range(1_203)]

    assert all(desk.start(*ids))

    assert desk.new == ids


def test_a_hash_written_by_hand_and_pushed_is_queued_once_by_a_start(desk: Desk) -> None:
    desk.push("a", data='{"x": 1}')

    desk.start("a", data='{"x": 2}')

    assert desk.new == ["a"]
    assert desk.drain(desk.worker()).tasks == [("a", "job", '{"x": 2}')]


def test_a_hash_written_by_hand_and_not_pushed_is_queued_by_a_start(desk: Desk) -> None:
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "data": '{"x": 1}'})

    desk.start("a", data='{"x": 2}')

    assert (desk.new, desk.field("a", "data")) == (["a"], '{"x": 2}')


def test_a_hash_written_by_hand_over_the_entry_of_a_removed_task_is_started_from_that_entry(desk: Desk) -> None:
    desk.start("a")
    desk.client.remove("a")
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "data": '{"x": 2}'})

    desk.start("a", data='{"x": 2}')
    _, claims = desk.claim(desk.worker())

    assert [task.id for task in claims.tasks] == ["a"]


def test_a_string_at_the_queue_refuses_the_start_before_anything_is_written(desk: Desk) -> None:
    desk.redis.set(desk.keys.new_queue, "oops")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        desk.start("a")

    if desk.atomic:
        assert desk.redis.exists(desk.keys.task("a")) == 0
    desk.redis.delete(desk.keys.new_queue)
    desk.start("a")
    assert desk.new == ["a"]
