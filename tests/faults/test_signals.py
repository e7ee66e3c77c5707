"""Signals to a worker that a user runs by itself."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from pytask_core import PyTaskHelpers
from pytask_core.keys import RedisKeys
from tests.support.processes.core_process import Nursery
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.whereabouts import Whereabouts

KEYS = RedisKeys()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_with_a_thousand_for_ever_tasks_requeues_them_all_once_and_leaves_with_0(
    redis_server: RedisServer, nursery: Nursery, number: signal.Signals
) -> None:
    redis: Any = redis_server.client(decode_responses=True)
    helpers = PyTaskHelpers(redis_server.url)
    ids = helpers.start_tasks(("forever", {}) for _ in range(1_000))
    nursery.start(redis_server.url, monitor=True)
    wait_until(lambda: redis.llen("runs") == 1_000, timeout=30)

    began = time.monotonic()
    nursery.signal(number)
    assert nursery.wait() == 0
    assert time.monotonic() - began < 5

    assert sorted(redis.lrange("new-task", 0, -1)) == sorted(ids)
    assert {state for [state] in helpers.get_tasks(ids, ["state"])} == {"WAIT"}  # type: ignore[misc] # all are there
    assert Whereabouts(redis).active == []
    left = set(redis.keys("*")) - {f"task-{each}" for each in ids}
    assert left <= {"new-task", "runs", KEYS.running, KEYS.monitor}
    helpers.close()


def test_a_killed_worker_is_handed_back_by_a_monitor_once_its_lease_is_over(
    redis_server: RedisServer, nursery: Nursery
) -> None:
    redis: Any = redis_server.client(decode_responses=True)
    helpers = PyTaskHelpers(redis_server.url)
    quick: dict[str, Any] = {"task_timeout": 2, "update_task_interval": 0.3}
    ids = helpers.start_tasks(("forever", {}) for _ in range(100))
    nursery.start(redis_server.url, **quick)
    wait_until(lambda: redis.llen("runs") == 100)
    nursery.kill()
    assert nursery.wait() == -signal.SIGKILL
    assert Whereabouts(redis).missing(ids) == []

    nursery.start(redis_server.url, forever=False, monitor=True, **quick)
    wait_until(lambda: redis.llen("end-task") == 100)

    assert sorted(redis.lrange("end-task", 0, -1)) == sorted(ids)
    runs = redis.lrange("runs", 0, -1)
    assert {runs.count(each) for each in ids} == {2}
    nursery.signal(signal.SIGINT)
    assert nursery.wait() == 0
    helpers.close()


def test_a_worker_that_was_paused_beyond_its_lease_ends_nothing_that_another_has(
    redis_server: RedisServer, nursery: Nursery
) -> None:
    redis: Any = redis_server.client(decode_responses=True)
    helpers = PyTaskHelpers(redis_server.url)
    task_id = helpers.start_task("forever")
    quick: dict[str, Any] = {"task_timeout": 2, "update_task_interval": 0.3}
    nursery.start(redis_server.url, **quick)
    wait_until(lambda: redis.llen("runs") == 1)
    nursery.signal(signal.SIGSTOP)
    [paused] = redis.zrange(KEYS.workers, 0, -1)

    with Nursery() as other:
        other.start(redis_server.url, forever=False, monitor=True, **quick)
        wait_until(lambda: redis.hget(f"task-{task_id}", "state") == "SUCCESS")
        before = redis.hgetall(f"task-{task_id}")
        other.signal(signal.SIGINT)
        assert other.wait() == 0

    nursery.signal(signal.SIGCONT)
    wait_until(lambda: redis.zrange(KEYS.workers, 0, -1) == [paused])
    nursery.signal(signal.SIGINT)
    assert nursery.wait() == 0
    assert redis.hgetall(f"task-{task_id}") == before
    assert redis.lrange("end-task", 0, -1) == [task_id]
    assert redis.llen("new-task") == 0
    helpers.close()
