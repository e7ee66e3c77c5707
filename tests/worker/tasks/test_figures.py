"""What a worker counts of its tasks, compared with what it ran."""

from __future__ import annotations

from typing import Any

import gevent

from pytask_core import Task
from tests.support.core_apps import Forever
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class Nap(Task):
    NAME = "nap"

    def start(self) -> None:
        gevent.sleep(0.06)


class Fail(Task):
    NAME = "fail"

    def __init__(self, bug: bool) -> None:
        self.bug = bug

    def start(self) -> None:
        raise ValueError if self.bug else self.Error("no")


def taken(worker: Any, *names: str) -> dict[str, Any]:
    """What was counted for these names; Redis tells of an end a moment before the worker knows of its answer."""
    wait_until(lambda: worker.running == 0, message="the ends to be settled")
    tasks: dict[str, Any] = worker.stats.take()["tasks"]
    assert sorted(tasks) == sorted(names)
    return tasks


def test_ends_are_counted_by_name_and_state(live: Live) -> None:
    worker = live.worker(Nap, Fail)
    for _ in range(3):
        live.run("nap")
    live.run("fail", bug=False)
    for _ in range(2):
        live.run("fail", bug=True)

    tasks = taken(worker, "nap", "fail")

    assert tasks["nap"]["ended"] == {"SUCCESS": 3}
    assert tasks["fail"]["ended"] == {"ERROR": 1, "EXCEPTION": 2}
    assert tasks["nap"]["run"]["counts"]["0.05"] == 0
    assert 0.18 <= tasks["nap"]["run"]["sum"] < 3
    assert sum(tasks["fail"]["run"]["counts"].values()) == 3
    assert sum(tasks["nap"]["queue"]["counts"].values()) == 3
    assert tasks["nap"]["queue"]["sum"] < 3


def test_a_stopped_task_is_counted_once_and_a_requeued_one_not(live: Live) -> None:
    Forever.forget()
    worker = live.worker(Forever)
    one, two = live.helpers.start_tasks([("forever", {})] * 2)
    live.until(one, "RUNNING")
    live.until(two, "RUNNING")
    assert worker.running_by_name == {"forever": 2}

    assert live.helpers.stop_task(one, wait=10)
    live.end(worker)

    assert live.state(two) == "WAIT"
    assert taken(worker, "forever")["forever"]["ended"] == {"STOPPED": 1}


def test_an_end_that_redis_refuses_is_not_counted(live: Live) -> None:
    worker = live.worker(Nap)
    task_id = live.helpers.start_task("nap")
    live.until(task_id, "RUNNING")
    live.redis.hset(live.keys.task(task_id), "owner", "somebody:else")

    tasks = taken(worker, "nap")

    assert tasks["nap"]["ended"] == {}


def test_a_name_without_a_class_is_counted_as_other(live: Live) -> None:
    worker = live.worker(Nap)
    live.push("x", "there can be no such task" * 100)
    live.until("x", "EXCEPTION")

    assert taken(worker, "other")["other"]["ended"] == {"EXCEPTION": 1}


def test_the_queues_are_counted_and_not_while_redis_is_away(live: Live) -> None:
    worker = live.worker(Nap)
    live.redis.lpush(live.keys.end_queue, "a", "b")
    heard: list[dict[str, int]] = []

    worker.count_queues(heard.append)
    wait_until(lambda: heard)

    assert heard == [{"new": 0, "active": 0, "end": 2}]
    live.helpers.start_task("unknown")
    wait_until(lambda: live.helpers.parked_tasks() == {"unknown": 1})
    worker.count_queues(heard.append)
    wait_until(lambda: len(heard) == 2)
    assert heard[1] == {"new": 0, "active": 0, "end": 2, "parked": 1}
    live.redis.delete(live.keys.end_queue)
