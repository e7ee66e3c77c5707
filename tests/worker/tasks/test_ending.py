"""How tasks end, also in ways that nobody wants, and what their neighbours see of it."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask_core import PyTaskException, StopTask, Task
from tests.support.core_apps import Echo, Forever, Sleep
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class Raiser(Task):
    """Raises, in start or in a greenlet of its own."""

    NAME = "raiser"

    def __init__(self, what: str, where: str = "start") -> None:
        self.what = what
        self.where = where
        if where == "init":
            self.fail()

    def fail(self) -> None:
        raise {
            "exit": SystemExit(3),
            "interrupt": KeyboardInterrupt(),
            "greenlet exit": gevent.GreenletExit("gone"),
            "stop": StopTask("on my own"),
            "timeout": gevent.Timeout(1),
            "base": BaseException("base"),
            "recursion": RecursionError("deep"),
            "memory": MemoryError("none left"),
        }[self.what]

    def start(self) -> None:
        if self.where == "greenlet":
            gevent.spawn(self.fail).get()
        self.fail()


@pytest.mark.parametrize("where", ["init", "start"])
@pytest.mark.parametrize(
    "what", ["exit", "interrupt", "greenlet exit", "stop", "timeout", "base", "recursion", "memory"]
)
def test_whatever_a_task_raises_is_its_exception_and_its_neighbours_finish(live: Live, what: str, where: str) -> None:
    live.worker(Raiser, Sleep)
    neighbour = live.helpers.start_task("sleep", seconds=0.05)

    task_id = live.run("raiser", what=what, where=where)

    assert live.state(task_id) == "EXCEPTION"
    assert "in fail" in live.output(task_id)
    assert live.until(neighbour, "SUCCESS")


@pytest.mark.parametrize("what", ["exit", "interrupt"])
def test_a_greenlet_of_a_task_that_leaves_the_program_leaves_the_task_only(live: Live, what: str) -> None:
    live.errors_expected = True  # gevent prints what a greenlet dies of
    live.worker(Raiser, Sleep)
    neighbour = live.helpers.start_task("sleep", seconds=0.1)

    task_id = live.run("raiser", what=what, where="greenlet")

    assert live.state(task_id) == "EXCEPTION"
    assert live.until(neighbour, "SUCCESS")


def test_a_message_that_cannot_be_written_ends_the_task_all_the_same(live: Live) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    class Bad(Task):
        NAME = "bad"

        class Error(Task.Error):
            def __str__(self) -> str:
                raise ValueError("no words")

        def __init__(self, how: str) -> None:
            self.how = how

        def start(self) -> None:
            if self.how == "error":
                raise self.Error
            if self.how == "exception":
                raise MuteError
            if self.how == "long error":
                raise self.__class__.__mro__[1].Error("\U0001f600" * 200_000)
            raise ValueError("\U0001f600" * 200_000)

    live.worker(Bad, Echo)
    live.errors_expected = True

    for how in ("error", "exception", "long error", "long exception"):
        task_id = live.run("bad", how=how)
        assert live.state(task_id) in {"ERROR", "EXCEPTION"}, how
        assert isinstance(json.loads(live.output(task_id)), str)
    assert live.state(live.run("echo")) == "SUCCESS"


def test_an_error_of_any_task_class_is_an_error(live: Live) -> None:
    class Own(Task):
        NAME = "own"

        def start(self) -> None:
            raise Echo.Error("from a library")

    live.worker(Own)
    assert live.state(live.run("own")) == "ERROR"


@pytest.mark.parametrize(
    "value",
    [None, 0, "", "text é \U0001f600", [1, [2]], {"a": {"b": None}}, 1.5, True, "x" * 500_000, list(range(50_000))],
    ids=lambda value: repr(value)[:12],
)
def test_an_output_is_json_in_the_hash_and_itself_in_the_event(live: Live, value: Any) -> None:
    class Giver(Task):
        NAME = "giver"

        def start(self) -> Any:
            return value

    live.worker(Giver)
    listener = live.listen("a")
    live.helpers.start_task("giver", task_id="a")

    assert listener.until("success") == [{"event": "success", "data": value}]
    assert json.loads(live.output("a")) == value


def test_exception_handlers_get_each_exception_and_one_that_fails_hurts_nobody(live: Live) -> None:
    seen: list[BaseException] = []

    def bad(error: BaseException) -> None:
        raise RuntimeError("the handler is broken")

    def worse(error: BaseException) -> None:
        sys.exit(1)

    app = live.app(Raiser, Echo, Sleep)
    for handler in (bad, worse, seen.append):
        app.add_exception_handler(handler)
    live.begin(app)
    live.errors_expected = True
    neighbour = live.helpers.start_task("sleep", seconds=0.05)

    live.run("raiser", what="memory")
    live.run("raiser", what="exit")

    wait_until(lambda: len(seen) == 2)
    assert [type(error) for error in seen] == [MemoryError, SystemExit]
    assert live.until(neighbour, "SUCCESS")
    assert live.state(live.run("echo")) == "SUCCESS"


def test_the_final_event_is_always_the_last(live: Live) -> None:
    over = Event()

    class Chatty(Task):
        NAME = "chatty"

        def start(self) -> str:
            gevent.spawn(self.late)
            for number in range(1_200):
                self.emit("talk", number)
            return "done"

        def late(self) -> None:
            over.wait()
            self.emit("too late")

    live.worker(Chatty)
    ids = [f"chatty-{number}" for number in range(3)]
    listeners = [live.listen(each) for each in ids]
    for each in ids:
        live.helpers.start_task("chatty", task_id=each)

    for listener in listeners:
        events = listener.until("success")
        assert [each["data"] for each in events] == [*range(1_200), "done"]
    over.set()
    live.helpers.start_task("chatty", task_id="next")
    live.until("next", "SUCCESS")
    assert [listener.heard() for listener in listeners] == [[], [], []]


def test_a_kept_task_is_found_in_the_task_set_and_not_in_the_end_queue(live: Live) -> None:
    live.worker(Echo)
    task_id = live.helpers.start_task("echo", cleanup=False)
    live.until(task_id, "SUCCESS")

    assert (live.helpers.get_active_task_ids(), live.helpers.get_end_task_ids()) == ([task_id], [])


def test_a_stopping_worker_requeues_in_front_and_the_next_one_runs_it(live: Live) -> None:
    Forever.forget()
    app = live.app(Forever, concurrency=5)
    worker = live.begin(app)
    ids = live.helpers.start_tasks(("forever", {}) for _ in range(8))
    wait_until(lambda: sum(Forever.running.values()) == 5)

    live.end(worker)

    assert live.where.new[::-1][5:] == ids[5:], "those that ran are in front of those that waited"
    assert sorted(live.where.new) == sorted(ids)
    assert {live.state(each) for each in ids} == {"WAIT"}
    assert sorted(Forever.stopped) == sorted(ids[:5])
    live.begin(app)
    wait_until(lambda: sum(Forever.running.values()) == 5)


class Stubborn(Task):
    """Winds up in ways that it should not."""

    NAME = "stubborn"
    may_leave = False

    def __init__(self, how: str) -> None:
        self.how = how
        self.swallowed = 0

    def start(self) -> None:
        while not Stubborn.may_leave:
            try:
                gevent.sleep(0.05)
            except BaseException:
                self.swallowed += 1
                if self.swallowed > {"swallows once": 1, "swallows all": 1_000}.get(self.how, 0):
                    raise

    def stop(self) -> None:
        if self.how == "raises":
            raise ValueError("cannot stop")
        if self.how == "exits":
            sys.exit(1)
        if self.how == "never returns":
            gevent.sleep(60)


def test_a_stop_that_raises_or_never_returns_and_a_task_that_swallows_stop_task(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.worker(Stubborn, Echo, Sleep, stop_timeout=0.2)
    live.errors_expected = True
    neighbour = live.helpers.start_task("sleep", seconds=0.5)
    hows = ["raises", "exits", "never returns", "swallows once", "swallows all"]
    ids = {how: live.helpers.start_task("stubborn", how=how) for how in hows}
    for task_id in ids.values():
        live.until(task_id, "RUNNING")
        live.helpers.stop_task(task_id)

    for task_id in (ids["raises"], ids["exits"], ids["never returns"], ids["swallows once"]):
        assert live.until(task_id, "STOPPED")
    assert live.until(ids["swallows all"], "STOPPED", "WAIT")
    assert live.until(neighbour, "SUCCESS")
    assert live.state(live.run("echo")) == "SUCCESS"
    said = "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert "has not returned after 0.2 s" in said
    assert "swallows StopTask and GreenletExit" in said
    assert "failed; the task is stopped all the same" in said
    Stubborn.may_leave = True


def test_an_app_that_is_not_patched_or_has_a_wrong_option_says_so_in_a_sentence(live: Live) -> None:
    with pytest.raises(PyTaskException, match="has no NAME"):
        live.app().add_task(Task)
    with pytest.raises(PyTaskException, match="not a subclass"):
        live.app().add_task(object)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concurrency"):
        live.app(concurrency=-1)
