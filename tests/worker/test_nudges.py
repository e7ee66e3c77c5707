"""A task that a worker does not know, and another one knows: it runs at once there, though that waits for work."""

from __future__ import annotations

import time

import gevent
import pytest

from pytask_core import claimer
from pytask_core.nudges import Nudges
from tests.support.core_apps import Echo, Sleep
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


def test_a_nudge_that_comes_as_a_take_is_on_its_way_is_repeated_until_that_is_over() -> None:
    asked = []
    nudges = Nudges(lambda: asked.append(1) or True)
    with nudges.taking():
        nudges.fill()
        wait_until(lambda: len(asked) >= 3)
    gevent.sleep(0)
    nudges.is_filled = False
    count = len(asked)
    # Without a take there is nothing to cut short: the claimer looks before it begins one.
    nudges.fill()
    gevent.sleep(0.05)
    assert nudges.is_filled
    assert len(asked) == count


def test_whoever_says_it_another_word_or_to_another_worker_disturbs_no_take(live: Live) -> None:
    worker = live.worker(Echo)
    wait_until(lambda: len(live.takes()) == 1)
    for channel in (live.keys.nudges(worker.id), live.keys.nudges("somebody-1-else")):
        live.redis.publish(channel, "stop")
        live.redis.publish(channel, "x" * 100)
    # One that is true, and has nothing to show.
    live.redis.publish(live.keys.nudges(worker.id), "filled")
    assert live.state(live.run("echo")) == "SUCCESS"
