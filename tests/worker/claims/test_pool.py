"""How many at once, and what many at once cost."""

from __future__ import annotations

import logging
import time
from itertools import pairwise

import gevent
import pytest

from pytask_core import Task
from pytask_core.helpers import run_loop
from pytask_core.worker.claiming import claimer
from tests.support.core_apps import Echo, Forever, Sleep
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class Crowd(Task):
    """Knows how many are in it."""

    NAME = "crowd"
    now = 0
    most = 0

    def start(self) -> None:
        cls = type(self)
        cls.now += 1
        cls.most = max(cls.most, cls.now)
        gevent.sleep(0.02)
        cls.now -= 1


@pytest.mark.parametrize("concurrency", [1, 7, 0])
def test_no_more_tasks_run_at_once_than_concurrency_allows(
    live: Live, caplog: pytest.LogCaptureFixture, concurrency: int
) -> None:
    Crowd.now = Crowd.most = 0
    live.helpers.start_tasks(("crowd", {}) for _ in range(40))

    live.worker(Crowd, concurrency=concurrency)

    wait_until(lambda: len(live.where.end) == 40)
    assert Crowd.most == (concurrency or 40)
    full = [record for record in caplog.records if "places of this worker are taken" in record.getMessage()]
    assert len(full) == (1 if concurrency else 0), "it is said once"
    assert all("Raise concurrency" in record.getMessage() for record in full)


def test_without_a_bound_thousands_run_at_once(live: Live) -> None:
    Forever.forget()
    worker = live.worker(Forever, concurrency=0)
    live.helpers.start_tasks(("forever", {}) for _ in range(2_500))
    wait_until(lambda: sum(Forever.running.values()) == 2_500)

    live.end(worker)

    assert sorted(set(live.where.new)) == sorted(live.where.new)
    assert len(live.where.new) == 2_500
    assert live.where.active == []


def test_four_workers_share_a_burst_of_for_ever_tasks(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine one that comes after 20 ms would find a part of its share gone.
    monkeypatch.setattr(claimer, "LEAVE_TO_SIBLINGS", 2.0)
    Forever.forget()
    workers = [live.worker(Forever) for _ in range(4)]

    live.helpers.start_tasks(("forever", {}) for _ in range(400))

    wait_until(lambda: sum(worker.running for worker in workers) == 400)
    assert max(worker.running for worker in workers) <= 120


def test_a_thousand_tasks_that_use_redis_at_once_share_few_connections(live: Live) -> None:
    seen = []

    class Busy(Task):
        NAME = "busy"

        def start(self) -> None:
            for number in range(3):
                self.redis.set(f"busy-{self.id}", number)
                gevent.sleep(0)
            if len(seen) < 20:
                seen.append(len(self.redis.client_list()))

    live.helpers.start_tasks(("busy", {}) for _ in range(1_000))
    live.worker(Busy)

    wait_until(lambda: len(live.where.end) == 1_000, timeout=30)
    states = {live.state(task_id) for task_id in live.helpers.get_end_task_ids()}
    assert states == {"SUCCESS"}
    assert 0 < max(seen) < 80


def test_a_thousand_tasks_that_emit_at_once_neither_fail_nor_lose_an_event(live: Live) -> None:
    class Chatty(Task):
        NAME = "chatty"

        def start(self) -> None:
            for number in range(20):
                self.emit("talk", number)
                if number % 5 == 0:
                    gevent.sleep(0)

    ids = [f"id-{number}" for number in range(1_000)]
    listener = live.listen(*ids)
    live.worker(Chatty)
    live.helpers.start_tasks(("chatty", {}, task_id) for task_id in ids)

    heard = listener.until("success", ends=1_000)

    assert len(heard) == 21_000
    assert len(live.server.other_clients()) < 80


def test_who_does_nothing_but_ask_lets_others_go_on_though_each_answer_is_there_at_once(live: Live) -> None:
    if isinstance(live.server, ServerCluster):
        pytest.skip("the same pool, one for each node")
    client = live.store_client()
    client.ping()
    pool = client.connection_pool
    turns = 0

    def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    greenlet = gevent.spawn(other)
    end = time.monotonic() + 0.2
    # Nothing here waits: this is what asking comes to where the server is as fast as can be.
    while time.monotonic() < end:
        pool.release(pool.get_connection())
    seen = turns
    greenlet.kill()

    assert seen >= 3


def test_a_run_loop_does_not_drift(live: Live) -> None:
    times: list[float] = []

    def tick() -> None:
        times.append(time.monotonic())
        gevent.sleep(0.03)
        if len(times) == 20:
            raise StopIteration

    with pytest.raises(StopIteration):
        run_loop(tick, 0.05)

    assert times[-1] - times[0] == pytest.approx(19 * 0.05, abs=0.04)


def test_a_run_loop_whose_function_is_slow_does_not_make_up_for_missed_calls() -> None:
    times: list[float] = []

    def tick() -> None:
        times.append(time.monotonic())
        if len(times) == 2:
            gevent.sleep(0.2)
        if len(times) == 6:
            raise StopIteration

    with pytest.raises(StopIteration):
        run_loop(tick, 0.05)

    gaps = [later - sooner for sooner, later in pairwise(times[2:])]
    assert min(gaps) > 0.03


def test_a_worker_that_waits_costs_next_to_nothing(live: Live) -> None:
    live.worker(Echo)
    live.run("echo")

    began, cpu = time.monotonic(), time.process_time()
    wait_until(lambda: time.monotonic() - began > 2, interval=0.5)
    assert time.process_time() - cpu < 0.2


def test_an_idle_worker_starts_a_task_at_once(live: Live) -> None:
    live.worker(Sleep)
    took = []
    for _ in range(20):
        began = time.monotonic()
        task_id = live.helpers.start_task("sleep", seconds=0)
        wait_until(lambda task_id=task_id: live.state(task_id) == "SUCCESS", interval=0.001)
        took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.05


def test_nothing_is_said_above_info_in_a_quiet_life(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    worker = live.worker(Echo)
    live.run("echo")
    live.end(worker)

    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
