"""Signals are the user's again once ``run`` is over."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

import gevent
import pytest

from pytask_core.process.signals import hear
from tests.support.core_apps import Forever
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("before", ["own", "default", "ignored"])
def test_a_signal_means_after_run_what_it_meant_before(live: Live, number: signal.Signals, before: str) -> None:
    heard: list[int] = []
    handlers: dict[str, Callable[[int, FrameType | None], object] | signal.Handlers] = {
        "own": lambda signum, _frame: heard.append(signum),
        "default": signal.SIG_DFL,
        "ignored": signal.SIG_IGN,
    }
    at_first = signal.signal(number, handlers[before])
    try:
        app = live.app(Forever)
        task_id = live.helpers.start_task("forever")
        gevent.spawn(lambda: (live.until(task_id, "RUNNING"), os.kill(os.getpid(), number)))
        app.run()
        assert live.state(task_id) == "WAIT"
        assert signal.getsignal(number) == handlers[before]
        if before == "own":
            assert not heard
            os.kill(os.getpid(), number)
            wait_until(lambda: heard == [number])
        elif before == "ignored":
            os.kill(os.getpid(), number)  # Nobody dies.
            gevent.sleep(0.05)
    finally:
        signal.signal(number, at_first)


def test_a_handler_that_is_set_meanwhile_stays() -> None:
    at_first = signal.getsignal(signal.SIGUSR2)
    heard: list[int] = []
    try:
        with hear([signal.SIGUSR2], lambda: None):
            signal.signal(signal.SIGUSR2, lambda signum, _frame: heard.append(signum))
        os.kill(os.getpid(), signal.SIGUSR2)
        wait_until(lambda: bool(heard))
    finally:
        signal.signal(signal.SIGUSR2, at_first)
