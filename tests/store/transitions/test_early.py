"""An id that comes before its hash, as a cluster client's pipeline reorders: looked at again for two seconds."""

from __future__ import annotations

from tests.store.conftest import Desk
from tests.support.waiting import wait_until


def test_an_id_that_comes_before_its_hash_runs_once_that_is_there(desk: Desk) -> None:
    worker = desk.worker()
    desk.redis.lpush(desk.keys.new_queue, "a")
    assert desk.drain(worker).passed == [("a", "early")]
    assert (desk.where.count["a"], desk.redis.exists(desk.keys.task("a"))) == (1, 0)
    assert worker.look_at_early() == ([], 1)

    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "data": "{}"})

    # Another one: the first may have died.
    assert desk.worker("w2").look_at_early() == ([], 0)
    assert [task.id for task in desk.drain(worker).tasks] == ["a"]
    assert desk.where.early == []


def test_an_id_without_a_hash_is_dropped_after_two_seconds_and_none_is_made(desk: Desk) -> None:
    worker = desk.worker()
    desk.redis.lpush(desk.keys.new_queue, "a")
    desk.drain(worker)
    desk.redis.zincrby(desk.keys.early, -1_900, "a")
    assert worker.look_at_early() == ([], 1)
    desk.redis.zincrby(desk.keys.early, -200, "a")

    assert worker.look_at_early() == (["a"], 0)

    assert (desk.where.count["a"], desk.redis.exists(desk.keys.task("a"))) == (0, 0)


def test_what_was_started_meanwhile_runs_once(desk: Desk) -> None:
    worker = desk.worker()
    for do in (lambda: None, lambda: desk.end(worker, "a", desk.drain_token(worker))):
        desk.redis.flushall()
        worker.register(("job",))
        desk.redis.lpush(desk.keys.new_queue, "a")
        desk.drain(worker)
        desk.start("a")
        do()
        assert worker.look_at_early() == ([], 0)
        assert desk.new.count("a") == (desk.state("a") == "WAIT")


def test_a_removal_takes_an_early_id_too_once_its_hash_is_there(desk: Desk) -> None:
    worker = desk.worker()
    desk.redis.lpush(desk.keys.new_queue, "a")
    desk.drain(worker)
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job"})

    assert desk.client.remove("a")

    assert worker.look_at_early() == ([], 0)
    assert desk.new == []


def test_thousands_of_junk_ids_hold_up_neither_a_good_task_nor_a_late_hash_for_long(desk: Desk) -> None:
    worker = desk.worker()
    desk.redis.lpush(desk.keys.new_queue, *[f"junk-{number}" for number in range(3_000)], "late")
    desk.start("good")
    assert [task.id for task in desk.drain(worker).tasks] == ["good"]
    desk.redis.hset(desk.keys.task("late"), mapping={"task": "job"})

    def is_settled() -> bool:
        return worker.look_at_early()[1] == 0

    wait_until(is_settled, 20, "all junk to be dropped")
    assert [task.id for task in desk.drain(worker).tasks] == ["late"]
    assert desk.where.early == []
