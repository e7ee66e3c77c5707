"""A small app for tests, run as a program under gevent by ``tests.support.processes.worker_process``."""

from __future__ import annotations

import sys

import gevent

from pytask_core import Cleanup, PyTask, Task


class Hello(Task):
    NAME = "hello"

    def __init__(self, text: object = "world") -> None:
        self.text = text

    def start(self) -> object:
        return {"hello": self.text}


class Sleeper(Task):
    NAME = "sleeper"

    def start(self) -> None:
        while True:
            self.emit("asleep")
            gevent.sleep(0.05)

    def stop(self) -> None:
        self.emit("woken")


class Talker(Task):
    NAME = "talker"

    def __init__(self, text: str = "hi", times: int = 1) -> None:
        self.text = text
        self.times = times

    def start(self) -> str:
        # A name that is also the last event's; it is none.
        self.emit("success", "not yet")
        for number in range(self.times):
            self.emit("said", {"text": self.text, "number": number})
        return self.text


class Failing(Task):
    NAME = "failing"

    def start(self) -> None:
        raise self.Error("no luck")


class Broken(Task):
    NAME = "broken"

    def start(self) -> None:
        raise ValueError("a bug")


def build_app(url: str, *, cleanup: bool = False) -> PyTask:
    """The app; with ``cleanup`` it removes what has ended, at once."""
    app = PyTask(url)
    app.add_tasks(Hello, Sleeper, Talker, Failing, Broken)
    if cleanup:
        app.add_task(Cleanup)
        app.start_local_task("pytask/cleanup")
    return app


if __name__ == "__main__":
    build_app(sys.argv[1], cleanup="cleanup" in sys.argv[2:]).run()
