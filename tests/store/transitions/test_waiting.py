"""How long a task stood in the queue, as a claim tells it: counted from whatever put it there last."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytask_core.store import WorkerStore
from tests.store.conftest import Desk

#: How far back a task's ``last_update`` is put before something queues it (again).
LONG_AGO = 1000.0


def end_and_start_again(desk: Desk, worker: WorkerStore) -> None:
    desk.end(worker, "a", desk.run(worker, "a"))
    age(desk)
    desk.start("a")


def end_and_restart(desk: Desk, worker: WorkerStore) -> None:
    desk.end(worker, "a", desk.run(worker, "a"))
    age(desk)
    desk.client.restart("a")


def requeue(desk: Desk, worker: WorkerStore) -> None:
    token = desk.run(worker, "a")
    age(desk)
    worker.report([], [], [], [("a", token)])


def hand_back(desk: Desk, worker: WorkerStore) -> None:
    desk.run(worker, "a")
    age(desk)
    desk.keeper.hand_back(worker.worker)


def age(desk: Desk, seconds: float = LONG_AGO) -> None:
    now, _ = desk.redis.time()
    desk.redis.hset(desk.keys.task("a"), "last_update", f"{now - seconds:.3f}")


def test_a_claim_tells_how_long_a_started_task_has_waited(desk: Desk) -> None:
    desk.start("a")
    age(desk, 20)

    _, claims = desk.claim(desk.worker())

    assert claims.waited == {"a": pytest.approx(20, abs=3)}


@pytest.mark.parametrize("queue_again", [end_and_start_again, end_and_restart, requeue, hand_back])
def test_whatever_puts_a_task_back_begins_its_wait_anew(
    desk: Desk, queue_again: Callable[[Desk, WorkerStore], None]
) -> None:
    worker = desk.worker()
    queue_again(desk, worker)

    _, claims = desk.claim(desk.worker("w2"), insist=True)

    assert 0 <= claims.waited["a"] < 100


def test_of_a_task_that_a_foreign_program_has_pushed_nothing_is_known(desk: Desk) -> None:
    desk.push("a")
    token, claims = desk.claim(desk.worker())
    assert ([task.id for task in claims.tasks], claims.waited) == (["a"], {})

    desk.end(desk.worker(), "a", token)
    desk.redis.lpush(desk.keys.new_queue, "a")
    _, claims = desk.claim(desk.worker(), insist=True)
    assert ([task.id for task in claims.tasks], claims.waited) == (["a"], {})


@pytest.mark.parametrize("stamp", ["soon", "", "9999999999", "nan"])
def test_a_time_that_makes_no_sense_stops_no_claim(desk: Desk, stamp: str) -> None:
    desk.start("a")
    desk.redis.hset(desk.keys.task("a"), "last_update", stamp)

    _, claims = desk.claim(desk.worker())

    assert [task.id for task in claims.tasks] == ["a"]
    assert all(seconds >= 0 for seconds in claims.waited.values())
