"""Stopping with work in hand: every task back in the queue, in time, or killed and said so."""

from __future__ import annotations

import signal
import time
from collections import Counter

import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

MANY = 1000


def test_a_thousand_tasks_for_ever_on_four_workers_are_requeued_in_two_seconds(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "4") as supervisor:
        supervisor.wait_ready(4)
        client = redis_server.client(decode_responses=True)
        ids = helpers.start_tasks([("forever", {})] * MANY)
        wait_until(lambda: client.llen("new-task") == 0)
        wait_until(lambda: all(client.hget(f"task-{one}", "state") == "RUNNING" for one in ids))

        began = time.monotonic()
        assert supervisor.stop() == 0
        assert time.monotonic() - began < 2

        assert Counter(client.lrange("new-task", 0, -1)) == Counter(ids)
        assert {client.hget(f"task-{one}", "state") for one in ids} == {"WAIT"}
        assert client.scard("tasks") == 0


@pytest.mark.parametrize("name", ["stubborn", "blocker"])
def test_a_task_that_does_not_stop_is_cut_off_at_the_graceful_timeout(
    start: Start, redis_server: RedisServer, name: str, helpers: PyTaskHelpers
) -> None:
    """A task that gives way is requeued by its worker; one that does not needs the kill."""
    with start("--workers", "2", "--graceful-timeout", "3") as supervisor:
        supervisor.expected = ["swallows StopTask"]
        supervisor.wait_ready(2)
        client = redis_server.client(decode_responses=True)
        task_id = helpers.start_task(name)
        wait_until(lambda: client.llen("new-task") == 0)
        began = time.monotonic()
        code = supervisor.stop()
        assert time.monotonic() - began < 3 + 2
        if name == "stubborn":
            assert code == 0
            assert helpers.get_task(task_id)["state"] == "WAIT"
            assert client.lrange("new-task", 0, -1) == [task_id]
        else:
            assert code == 6
            assert "did not stop within 3 s and is killed, last seen" in supervisor.text
            assert "what a dead worker held, if anything, comes back once its time is up" in supervisor.text


def test_a_blocked_worker_taken_away_is_killed_in_time_and_its_task_goes_back(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """That kill was not at the supervisor's end, so its exit code does not tell of it."""
    words = ["--workers", "1", "--concurrency", "1", "--graceful-timeout", "3"]
    with start(*words) as supervisor:
        supervisor.wait_ready(1)
        client = redis_server.client(decode_responses=True)
        helpers.start_task("forever")
        wait_until(lambda: client.llen("new-task") == 0)
        supervisor.send(signal.SIGTTIN)
        supervisor.wait_ready(2)
        # The first worker is full.
        task_id = helpers.start_task("blocker")
        wait_until(lambda: client.llen("new-task") == 0)
        supervisor.send(signal.SIGTTOU)
        supervisor.wait_for("worker 2 (pid")
        supervisor.wait_for("back in the queue: 1 task of worker 2")
        assert client.lrange("new-task", 0, -1) == [task_id]
        assert sorted(supervisor.workers()) == [1]
        assert supervisor.stop() == 0
