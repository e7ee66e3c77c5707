"""The app of the fault tests, loaded by ``pytask-supervisor --app tests.faults.app:app``: tasks that behave, and not.

All write what they do into the ledger.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import gevent

from pytask_core import Cleanup, Monitor, PyTask, PyTaskException
from tests.faults.numbers import ALONE, FRESH, GRACE, LEASE, OPTIONS, RENEWAL, STOP, SWEEP, WINDOW
from tests.soak.tasks import Forever, Noted, Polite, Short


class Poison(Noted):
    """Kills its worker."""

    NAME = "faults/poison"

    def work(self, proof: str) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return proof


class Blocker(Noted):
    """Computes and lets nobody else run, and then speaks and returns as if nothing had happened."""

    NAME = "faults/blocker"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def work(self, proof: str) -> str:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            pass
        self.emit("stale", proof)
        return proof


class Large(Noted):
    """Gives more than fits: as output, or as event."""

    NAME = "faults/large"

    def __init__(self, size: int, *, event: bool) -> None:
        self.size = size
        self.event = event

    def work(self, proof: str) -> str:
        if self.event:
            self.emit("large", "x" * self.size)
        return "x" * self.size


class Picky(Noted):
    """Wants an argument that nobody gives."""

    NAME = "faults/picky"

    def __init__(self, *, what_nobody_gives: str) -> None:
        raise AssertionError("somebody gave it")


class Fresh(Short):
    """What only workers of the new version know."""

    NAME = "faults/fresh"


class Rude(Noted):
    """Misbehaves, as it is told."""

    NAME = "faults/rude"

    def __init__(self, how: str) -> None:
        self.how = how

    def work(self, proof: str) -> str:
        if self.how == "emits rubbish":
            try:
                self.emit("rubbish", object())
            except PyTaskException as error:
                raise RuntimeError(proof) from error
        if self.how == "raises":
            raise RuntimeError(proof)
        patience = {"swallows once": 1, "swallows all": 1_000_000}.get(self.how, 0)
        while True:
            try:
                gevent.sleep(60)
            except BaseException:
                if not patience:
                    raise
                patience -= 1

    def stop(self) -> None:
        if self.how == "stop raises":
            raise ValueError("I will not stop")
        if self.how == "stop never returns":
            gevent.sleep(1_000)


def refuse(error: BaseException) -> None:
    """An exception handler that fails."""
    raise ValueError("the handler failed as well")


def make() -> PyTask:
    """The app; Redis is named by the supervisor."""
    options: dict[str, Any] = {
        "update_task_interval": RENEWAL,
        "task_timeout": LEASE,
        "partition_grace": GRACE,
        "stop_timeout": STOP,
        "poison_window": WINDOW,
    }
    app = PyTask(**options | json.loads(os.environ.get(OPTIONS, "{}")))
    app.add_tasks(Short, Forever, Polite, Poison, Blocker, Large, Picky, Rude, Monitor, Cleanup)
    if FRESH in os.environ:
        app.add_task(Fresh)
    app.add_exception_handler(refuse)
    if ALONE not in os.environ:
        app.start_local_task("pytask/monitor", loop_interval=SWEEP)
    return app


app = make()
