"""Redis away: frozen, killed, restarted, emptied, or refusing."""

from __future__ import annotations

import logging
import time
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask_core import Task
from tests.support.core_apps import Echo, Forever
from tests.support.waiting import wait_until
from tests.worker.conftest import Live

#: Numbers small enough for a test: renewals each 0.3 s, tasks stopped after 1 s, given away after 2 s.
QUICK: dict[str, Any] = {"update_task_interval": 0.3, "partition_grace": 1, "task_timeout": 2}


@pytest.fixture(autouse=True)
def _forget() -> None:
    Forever.forget()


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    """What one room said as a warning or worse."""
    return [
        record.getMessage() for record in caplog.records if record.name == logger and record.levelno >= logging.WARNING
    ]


def test_tasks_run_on_for_the_grace_are_stopped_then_and_run_again_when_redis_is_back(
    own_live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live = own_live
    app = live.app(Forever, Echo, **QUICK)
    app.start_local_task("forever", value="local")
    live.begin(app)
    ids = live.helpers.start_tasks(("forever", {}) for _ in range(20))
    wait_until(lambda: sum(Forever.running.values()) == 21)
    local = next(each for each in Forever.started if each not in ids)

    live.server.kill()
    began = time.monotonic()
    wait_until(lambda: sum(Forever.running.values()) < 21, interval=0.005)
    ran_on = time.monotonic() - began
    wait_until(lambda: sum(Forever.running.values()) == 0)
    assert 0.6 < ran_on < 1.6, "measured from the last renewal, which may have been 0.3 s ago"

    live.server.start()
    wait_until(lambda: all(Forever.running[each] == 1 for each in ids))
    wait_until(lambda: sum(Forever.running.values()) == 21)
    assert Forever.running[local] == 0
    assert len(Forever.started) == 22, "the local task has a new id"
    wait_until(lambda: live.where.count.total() == 21)
    assert live.state(live.run("echo")) == "SUCCESS"
    said = lines(caplog, "pytask.link")
    assert "is away" in said[0]
    assert "is back after" in said[-1]
    # Nodes of a cluster that answer before all are there are one line more.
    assert len(said) == 2 or (len(said) == 3 and "the cluster is down" in said[1])


def test_a_frozen_redis_is_an_outage_as_well(own_live: Live) -> None:
    live = own_live
    app = live.app(Forever, **QUICK)
    app.start_local_task("forever", value="local")
    live.begin(app)
    live.helpers.start_tasks(("forever", {}) for _ in range(5))
    wait_until(lambda: sum(Forever.running.values()) == 6)

    live.server.pause()
    try:
        wait_until(lambda: sum(Forever.running.values()) == 0, timeout=5)
    finally:
        live.server.resume()

    wait_until(lambda: sum(Forever.running.values()) == 6, timeout=15)
    wait_until(lambda: live.where.count.total() == 6)


def test_a_short_blink_stops_nothing(own_live: Live) -> None:
    live = own_live
    live.worker(Forever, update_task_interval=1)
    task_id = live.helpers.start_task("forever")
    wait_until(lambda: Forever.running.get(task_id) == 1)

    live.server.kill()
    live.server.start()
    live.helpers.stop_task(task_id)

    live.until(task_id, "STOPPED")
    assert len(Forever.started[task_id]) == 1


def test_a_result_that_came_meanwhile_is_delivered_when_redis_is_back(own_live: Live) -> None:
    go_on, over = Event(), []

    class Told(Task):
        NAME = "told"

        def start(self) -> None:
            go_on.wait()
            over.append(self.id)

    live = own_live
    live.worker(Told)
    ids = live.helpers.start_tasks(("told", {}) for _ in range(50))
    wait_until(lambda: {live.state(each) for each in ids} == {"RUNNING"})

    live.server.kill()
    go_on.set()
    wait_until(lambda: len(over) == len(ids))
    live.server.start()

    for each in ids:
        live.until(each, "SUCCESS")
    assert sorted(live.where.end) == sorted(ids)
    assert live.where.active == []


def test_events_while_redis_is_away_are_dropped_and_neither_block_nor_raise(
    own_live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    longest = [0.0]
    go_on = [True]

    class Chatty(Task):
        NAME = "chatty"

        def start(self) -> None:
            while go_on[0]:
                began = time.monotonic()
                for _ in range(200):
                    self.emit("talk")
                longest[0] = max(longest[0], time.monotonic() - began)
                gevent.sleep(0.01)

    live = own_live
    live.worker(Chatty)
    task_id = live.helpers.start_task("chatty")
    live.until(task_id, "RUNNING")
    live.server.kill()
    wait_until(lambda: lines(caplog, "pytask.reporter"))
    live.server.start()
    wait_until(lambda: any("is back" in each for each in lines(caplog, "pytask.link")))
    go_on[0] = False

    live.until(task_id, "SUCCESS")
    assert longest[0] < 0.5
    said = lines(caplog, "pytask.reporter")
    assert len(said) == 1
    assert "events that tasks emit are dropped" in said[0]


def test_a_redis_that_comes_back_empty_is_said_and_work_goes_on(
    own_live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live = own_live
    live.errors_expected = True
    live.worker(Forever, Echo, **QUICK)
    task_id = live.helpers.start_task("forever")
    wait_until(lambda: Forever.running.get(task_id) == 1)

    live.redis.flushall()
    live.redis.script_flush()

    wait_until(lambda: Forever.running[task_id] == 0)
    assert live.redis.exists(live.keys.task(task_id)) == 0
    assert live.state(live.run("echo")) == "SUCCESS"
    wait_until(lambda: any("Redis had forgotten" in each for each in lines(caplog, "pytask.heartbeat")))


def test_a_redis_that_comes_back_empty_is_said_by_workers_that_held_nothing_too(
    own_live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live = own_live
    live.worker(Echo, **QUICK)
    wait_until(live.takes)

    live.redis.flushall()

    wait_until(lambda: any("Redis had forgotten this worker" in each for each in lines(caplog, "pytask.heartbeat")))
    assert live.state(live.run("echo")) == "SUCCESS"


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_worker_is_stopped_in_time_while_redis_is_away(own_live: Live, how: str) -> None:
    live = own_live
    live.errors_expected = True
    worker = live.begin(live.app(Forever, **QUICK), graceful_timeout=3)
    task_id = live.helpers.start_task("forever")
    wait_until(lambda: Forever.running.get(task_id) == 1)
    (live.server.kill if how == "killed" else live.server.pause)()

    began = time.monotonic()
    worker.stop()
    wait_until(lambda: Forever.running[task_id] == 0, timeout=4)
    live.greenlets[worker].join(12)
    took = time.monotonic() - began

    assert live.greenlets[worker].ready()
    assert Forever.stopped == [task_id], "its stop() was called"
    assert took < 9, "the graceful timeout and at most one socket timeout more"
    if how == "frozen":
        live.server.resume()
    else:
        live.server.start()


def test_a_second_stop_does_not_wait_for_redis(own_live: Live) -> None:
    live = own_live
    live.errors_expected = True
    worker = live.begin(live.app(Forever), graceful_timeout=60)
    live.server.kill()

    worker.stop()
    worker.stop()
    live.greenlets[worker].join(6)

    assert live.greenlets[worker].ready()
    live.server.start()


def test_a_worker_that_is_started_while_redis_is_away_waits_for_it(
    own_live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live = own_live
    live.server.kill()
    app = live.app(Echo)
    worker = app.create_worker(5)
    live.greenlets[worker] = gevent.spawn(worker.run)
    wait_until(lambda: any("cannot be reached" in each for each in lines(caplog, "pytask.worker")))

    live.server.start()

    assert live.state(live.run("echo")) == "SUCCESS"
    assert len(lines(caplog, "pytask.worker")) == 1


def test_waiting_for_redis_is_no_busy_loop(own_live: Live) -> None:
    live = own_live
    live.worker(Forever)
    live.helpers.start_task("forever")
    wait_until(lambda: sum(Forever.running.values()) == 1)
    live.server.kill()

    began, cpu = time.monotonic(), time.process_time()
    wait_until(lambda: time.monotonic() - began > 2, interval=0.5)
    assert time.process_time() - cpu < 0.3
    live.server.start()


def test_what_is_told_to_be_quiet_while_redis_is_away_claims_nothing_once_it_is_back(own_live: Live) -> None:
    live = own_live
    worker = live.worker(Echo, **QUICK)
    live.go_quiet(worker)
    task_id = live.helpers.start_task("echo")
    live.server.kill()
    wait_until(lambda: not worker.link.up)
    worker.quiet(False)
    gevent.idle()  # Now the claimer waits for Redis.
    worker.quiet(True)

    live.server.start()
    wait_until(lambda: worker.link.up)
    gevent.sleep(0.5)  # Nothing may happen in this time.
    assert live.state(task_id) == "WAIT"
    worker.quiet(False)
    live.until(task_id, "SUCCESS")
