"""What a Monitor asks for, and the workers that keep to it."""

from __future__ import annotations

import gevent
import pytest

from pytask_core import Monitor, Task
from tests.support.core_apps import Forever
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


@pytest.fixture(autouse=True)
def _forget() -> None:
    Forever.forget()


class Slow(Task):
    """Takes its time to stop."""

    NAME = "slow"

    def start(self) -> None:
        gevent.sleep(60)

    def stop(self) -> None:
        gevent.sleep(60)


class Tidy(Task):
    """Takes its time to tidy up."""

    NAME = "tidy"

    def start(self) -> None:
        try:
            gevent.sleep(60)
        finally:
            gevent.sleep(60)


def promised(live: Live) -> set[str]:
    """The leases of all workers, in milliseconds."""
    return {each.rpartition(" ")[2] for each in live.redis.hvals(live.keys.leases)}


def test_a_monitor_with_a_shorter_timeout_than_its_app_runs_and_all_workers_keep_to_it(live: Live) -> None:
    app = live.app(Monitor, Forever, update_task_interval=0.5)
    app.start_local_task("pytask/monitor", loop_interval=0.1, task_timeout=3)
    first = live.begin(app)
    other = live.worker(Forever, update_task_interval=0.4, task_timeout=30)
    [task_id] = live.helpers.start_tasks([("forever", {})])

    wait_until(lambda: live.redis.hlen(live.keys.leases) == 2 and promised(live) == {"3000"})

    wait_until(lambda: Forever.running.get(task_id) == 1)
    live.end(first)
    wait_until(lambda: promised(live) == {"30000"})
    wait_until(lambda: Forever.running.get(task_id) == 1)
    live.end(other)
    assert not live.redis.exists(live.keys.leases)


@pytest.mark.parametrize("name", ["slow", "tidy"])
def test_tasks_that_are_slow_to_leave_are_gone_before_the_lease_is_over(own_live: Live, name: str) -> None:
    live = own_live
    app = live.app(Monitor, Slow, Tidy, update_task_interval=0.3, stop_timeout=30)
    app.start_local_task("pytask/monitor", loop_interval=0.1, task_timeout=2)
    worker = live.begin(app)
    live.helpers.start_task(name, "a")
    wait_until(lambda: promised(live) == {"2000"} and "a" in worker.tasks)
    greenlet = worker.tasks["a"].greenlet
    assert greenlet is not None

    live.server.kill()
    greenlet.join(timeout=2)

    assert greenlet.ready()
    live.server.start()
