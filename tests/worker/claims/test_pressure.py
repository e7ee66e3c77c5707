"""Back-pressure: a worker that is late, or short of memory, claims one task at a time, and says so once."""

from __future__ import annotations

import logging
import time

import gevent
import pytest

from pytask_core import Task
from pytask_core.worker.claiming.backpressure import HIGH, LOW, SAID_AFTER, Backpressure
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class Sleeper(Task):
    NAME = "sleeper"

    def start(self) -> None:
        gevent.sleep(100)


class Clock:
    """Stands still unless the test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_late_loop_presses_until_it_is_well_in_time_again() -> None:
    pressure = Backpressure(Clock())
    for lag, is_high in ((0.1, False), (HIGH - 0.01, False), (HIGH, True), (LOW, True), (LOW - 0.01, False)):
        pressure.measured(lag)
        assert pressure.is_high == is_high
        assert pressure.lag == lag


def test_only_what_lasts_is_said_and_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    pressure = Backpressure(clock)
    pressure.measured(60.0)  # A process that was stopped.
    pressure.measured(0.0)
    assert caplog.text == ""
    for _ in range(10):
        pressure.measured(1.0)
        clock.now += SAID_AFTER / 2
    assert caplog.text.count("claims one task at a time for now, since its loop is 1.0 s late") == 1


def test_a_worker_short_of_memory_claims_one_at_a_time_until_it_is_not(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    worker = live.worker(Sleeper)
    wait_until(live.takes)
    worker.backpressure.memory("its memory is 90 MiB, near the 100 MiB of --max-memory")
    live.helpers.start_tasks([("sleeper", {})] * 50)
    began = time.monotonic()
    wait_until(lambda: worker.running >= 3)
    assert time.monotonic() - began > 0.15
    assert worker.running < 20
    worker.backpressure.memory("")
    wait_until(lambda: worker.running == 50)
    worker.backpressure.memory("its memory is 90 MiB again")
    said = [record for record in caplog.records if record.name == "pytask.pressure"]
    assert [record.levelno for record in said] == [logging.WARNING]


def test_a_loop_that_is_kept_busy_is_found_to_be_late(live: Live) -> None:
    worker = live.worker(Sleeper)
    wait_until(lambda: worker.backpressure.lag < LOW)
    until = time.monotonic() + HIGH + 0.5
    while time.monotonic() < until:
        pass
    wait_until(lambda: worker.backpressure.lag >= HIGH, 5)
    wait_until(lambda: not worker.backpressure.is_high, 5)
