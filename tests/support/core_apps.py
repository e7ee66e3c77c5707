"""Task classes that the tests of the core share."""

from __future__ import annotations

from typing import Any, ClassVar

import gevent

from pytask_core import Task


class Echo(Task):
    """Returns its data."""

    NAME = "echo"

    def __init__(self, **data: Any) -> None:
        self.data = data

    def start(self) -> Any:
        return self.data


class Forever(Task):
    """Runs until it is stopped. The class counts copies, to see that none runs twice."""

    NAME = "forever"
    running: ClassVar[dict[str, int]] = {}
    started: ClassVar[dict[str, list[Any]]] = {}
    stopped: ClassVar[list[str]] = []

    def __init__(self, value: Any = None) -> None:
        self.value = value

    @classmethod
    def forget(cls) -> None:
        """What the test before has left."""
        for kept in (cls.running, cls.started, cls.stopped):
            kept.clear()

    def start(self) -> None:
        self.running[self.id] = self.running.get(self.id, 0) + 1
        self.started.setdefault(self.id, []).append(self.value)
        try:
            while True:
                gevent.sleep(60)
        finally:
            self.running[self.id] -= 1

    def stop(self) -> None:
        self.stopped.append(self.id)


class Sleep(Task):
    """Sleeps a while."""

    NAME = "sleep"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def start(self) -> float:
        gevent.sleep(self.seconds)
        return self.seconds
