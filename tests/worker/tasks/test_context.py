"""provide_context, and what an instance has in __init__."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import gevent
from flask import Flask, g

from pytask_core import PyTaskHelpers, Task
from tests.support.waiting import wait_until
from tests.worker.conftest import Live

MINE: ContextVar[str] = ContextVar("MINE", default="nobody's")


def test_two_hundred_tasks_at_once_each_see_their_own_context_stop_included(live: Live) -> None:
    order: dict[str, list[str]] = {}

    class Own(Task):
        NAME = "own"

        def __init__(self, number: int) -> None:
            self.number = number
            order[self.id] = [f"init {MINE.get()}"]
            MINE.set(f"{number}")
            gevent.sleep(0)

        @staticmethod
        @contextmanager
        def provide_context() -> Iterator[None]:
            token = MINE.set("context")
            try:
                yield
            finally:
                MINE.reset(token)

        def start(self) -> None:
            order[self.id].append(f"start {MINE.get()}")
            gevent.sleep(60)

        def stop(self) -> None:
            gevent.sleep(0)
            order[self.id].append(f"stop {MINE.get()}")

    live.worker(Own)
    ids = live.helpers.start_tasks(("own", {"number": number}) for number in range(200))
    wait_until(lambda: sum(len(each) for each in order.values()) == 400)
    for task_id in ids:
        live.helpers.stop_task(task_id)
    for task_id in ids:
        live.until(task_id, "STOPPED")

    for number, task_id in enumerate(ids):
        assert order[task_id] == ["init context", f"start {number}", f"stop {number}"]
    assert MINE.get() == "nobody's"


def test_two_hundred_flask_contexts_at_once_do_not_mix(live: Live) -> None:
    web = Flask("web")

    class Own(Task):
        NAME = "own"

        @staticmethod
        def provide_context() -> Any:
            return web.app_context()

        def __init__(self, number: int) -> None:
            g.number = number

        def start(self) -> int:
            gevent.sleep(0.05)
            return int(g.number)

    live.worker(Own)
    ids = live.helpers.start_tasks(("own", {"number": number}) for number in range(200))
    for number, task_id in enumerate(ids):
        live.until(task_id, "SUCCESS")
        assert live.output(task_id) == str(number)


def test_the_context_is_left_however_the_task_ends(live: Live) -> None:
    left: list[str] = []

    class Own(Task):
        NAME = "own"

        @staticmethod
        @contextmanager
        def provide_context() -> Iterator[None]:
            try:
                yield
            except BaseException as error:
                left.append(type(error).__name__)
                raise
            left.append("well")

        def __init__(self, how: str) -> None:
            self.how = how

        def start(self) -> None:
            if self.how == "sleep":
                gevent.sleep(60)
            if self.how == "fail":
                raise KeyError("x")

    live.worker(Own)
    live.run("own", how="")
    live.run("own", how="fail")
    live.run("own", other="does not fit")
    task_id = live.helpers.start_task("own", how="sleep")
    live.until(task_id, "RUNNING")
    live.helpers.stop_task(task_id)
    live.until(task_id, "STOPPED")

    assert left[:3] == ["well", "KeyError", "TypeError"]
    assert left[3:] in (["StopTask"], [])


def test_a_context_that_fails_is_the_tasks_exception(live: Live) -> None:
    class Before(Task):
        NAME = "before"

        @staticmethod
        def provide_context() -> Any:
            raise ValueError("no context today")

        def start(self) -> None:
            pass

    class After(Task):
        NAME = "after"

        @staticmethod
        @contextmanager
        def provide_context() -> Iterator[None]:
            yield
            raise ValueError("it does not close")

        def start(self) -> None:
            pass

    live.worker(Before, After)

    before, after = live.run("before"), live.run("after")
    assert (live.state(before), live.state(after)) == ("EXCEPTION", "EXCEPTION")
    assert "no context today" in live.output(before)
    assert "it does not close" in live.output(after)


def test_an_instance_has_its_id_and_speaks_and_reads_redis_in_init_already(live: Live) -> None:
    class Early(Task):
        NAME = "early"

        def __init__(self) -> None:
            self.emit("born", self.id)
            self.redis.set("mark", self.id)
            assert isinstance(self.helpers, PyTaskHelpers)
            self.state = self.helpers.get_task(self.id, "state")

        def start(self) -> Any:
            return self.state

    live.worker(Early)
    listener = live.listen("a")
    live.helpers.start_task("early", task_id="a")

    assert listener.until("success") == [{"event": "born", "data": "a"}, {"event": "success", "data": "RUNNING"}]
    assert live.redis.get("mark") == "a"


def test_stop_is_never_called_before_start_has_begun(live: Live) -> None:
    called: list[str] = []

    class Slow(Task):
        NAME = "slow"

        def __init__(self) -> None:
            called.append("init")
            gevent.sleep(60)

        def start(self) -> None:
            called.append("start")

        def stop(self) -> None:
            called.append("stop")

    live.worker(Slow)
    task_id = live.helpers.start_task("slow")
    wait_until(lambda: called)
    live.helpers.stop_task(task_id)

    live.until(task_id, "STOPPED")
    assert called == ["init"]
