"""A task that a worker does not know, and another one knows: it runs at once there, though that waits for work."""

from __future__ import annotations

import time

import pytest

from pytask_core.worker.claiming import claimer, nudges
from tests.support.core_apps import Echo, Forever, Sleep
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


@pytest.fixture(autouse=True)
def _long_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what waits for the end of a take is told from what does not."""
    monkeypatch.setattr(claimer, "TAKE_TIMEOUT", 4.0)


def test_a_task_of_another_app_runs_at_once_though_an_idle_worker_of_this_one_takes_it(live: Live) -> None:
    live.worker(Sleep)
    live.worker(Echo)
    took = []
    for number in range(10):
        # The one that has waited longest is served first, so each is first at some time.
        wait_until(lambda: len(live.takes()) == 2)
        began = time.monotonic()
        live.until(live.helpers.start_task("echo", number=number), "SUCCESS")
        took.append(time.monotonic() - began)
    assert max(took) < 2


def test_what_is_put_into_the_inbox_of_a_worker_before_it_listens_runs_at_once(live: Live) -> None:
    """What was parked is opened as soon as a worker is known, and the idle one of another app takes it."""
    live.worker(Sleep)
    wait_until(lambda: len(live.takes()) == 1)
    for _ in range(5):
        task_id = live.helpers.start_task("echo")
        wait_until(lambda: live.helpers.parked_tasks() == {"echo": 1})
        worker = live.worker(Echo)
        began = time.monotonic()
        live.until(task_id, "SUCCESS")
        assert time.monotonic() - began < 2
        live.end(worker)


def test_a_full_worker_leaves_tasks_that_it_was_given_to_one_with_room(live: Live) -> None:
    """Else they would wait behind a task that perhaps runs for ever, beside an idle worker that knows them."""
    Forever.forget()
    full = live.worker(Echo, Forever, concurrency=1)
    held = live.helpers.start_task("forever")
    wait_until(lambda: Forever.running.get(held) == 1)
    live.worker(Sleep)
    idle = live.worker(Echo)

    for task_id in live.helpers.start_tasks([("echo", {})] * 40):
        live.until(task_id, "SUCCESS")
    assert (full.done, idle.done) == (0, 40)

    live.end(idle)
    # Now only the full one knows it: it is not parked, and runs once there is room.
    waits = live.helpers.start_task("echo")
    wait_until(lambda: live.redis.lrange(live.keys.inbox(full.id), 0, -1) == [waits])
    assert live.helpers.stop_task(held)
    live.until(waits, "SUCCESS")
    wait_until(lambda: live.redis.smembers(live.keys.names(full.id)) == {"echo", "forever"})


def test_a_quiet_worker_leaves_tasks_that_it_was_given_to_another_one(live: Live) -> None:
    live.worker(Sleep)
    quiet = live.worker(Echo)
    live.go_quiet(quiet)
    live.worker(Echo)
    for task_id in live.helpers.start_tasks([("echo", {})] * 40):
        live.until(task_id, "SUCCESS")
    assert quiet.done == 0


def test_what_a_quiet_worker_alone_knows_is_found_by_one_that_begins_later(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudges, "LATER", 0.2)
    live.worker(Sleep)
    quiet = live.worker(Echo)
    live.go_quiet(quiet)
    ids = live.helpers.start_tasks([("echo", {})] * 40)
    wait_until(lambda: "" in live.redis.smembers(live.keys.names(quiet.id)))
    live.worker(Echo)
    for task_id in ids:
        live.until(task_id, "SUCCESS")
    assert quiet.done == 0
    assert live.where.count == dict.fromkeys(live.where.end, 1)


@pytest.mark.parametrize("why", ["nudged", "quiet"])
def test_a_take_that_is_still_on_its_way_is_cut_short_again_until_it_is_over(live: Live, why: str) -> None:
    worker = live.worker(Echo)
    asked: list[bool] = []

    def cut_short() -> bool:
        asked.append(True)
        return True

    store = live.stores.worker(live.store_client(), live.store_client(), live.keys, worker.id)
    inbox = nudges.Nudges("nudges", store, worker.link, cut_short, worker.allowance)
    inbox.start()
    with inbox.taking():
        if why == "quiet":
            inbox.quiet(True)
        else:
            inbox.fill()
        wait_until(lambda: len(asked) >= 3)
    inbox.stop()
    # The claimer looks before it begins a take.
    assert inbox.look() == (why == "nudged")
    assert not inbox.look()


def test_whoever_says_it_another_word_or_to_another_worker_disturbs_no_take(live: Live) -> None:
    worker = live.worker(Echo)
    wait_until(lambda: len(live.takes()) == 1)
    for channel in (live.keys.nudges(worker.id), live.keys.nudges("somebody-1-else")):
        live.redis.publish(channel, "stop")
        live.redis.publish(channel, "x" * 100)
    # One that is true, and has nothing to show.
    live.redis.publish(live.keys.nudges(worker.id), "filled")
    assert live.state(live.run("echo")) == "SUCCESS"
