"""What a task is that ends just when it is asked to leave, and what a quiet or a pressed worker claims."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import gevent
import pytest
from gevent.event import Event

from pytask_core import StopTask, Task
from pytask_core.worker.execution import Execution
from pytask_core.worker.stacks import stacks, tell
from pytask_core.worker.stopping import GIVE_WAY
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class Gated(Task):
    """Ends when its gate opens, or as it pleases when it is told to leave."""

    NAME = "gated"
    gate: ClassVar[Event]
    runs: ClassVar[int]

    def __init__(self, manner: str = "plain") -> None:
        self.manner = manner

    def start(self) -> str:
        Gated.runs += 1
        try:
            self.gate.wait()
        except StopTask:
            if self.manner == "winds up":
                return "wound up"
            raise
        if self.manner == "fails":
            raise self.Error("by itself")
        return "by itself"


class Polite(Gated):
    NAME = "polite"

    def stop(self) -> None:
        self.gate.set()


@pytest.fixture(autouse=True)
def _gate() -> None:
    Gated.gate, Gated.runs = Event(), 0


@pytest.mark.parametrize(("manner", "state"), [("plain", "SUCCESS"), ("fails", "ERROR")])
def test_what_ends_by_itself_before_it_hears_that_it_is_to_leave_has_ended(live: Live, manner: str, state: str) -> None:
    """Its work is done; to queue it again would do it twice."""
    worker = live.worker(Gated)
    task_id = live.helpers.start_task("gated", manner=manner)
    wait_until(lambda: bool(Gated.gate.linkcount()), message="the task waits")
    Gated.gate.set()  # It goes on in the next turn of the loop,
    worker.isolate()  # and before that it is asked to leave.
    live.until(task_id, state)
    live.end(worker)
    assert live.state(task_id) == state
    assert Gated.runs == 1
    assert live.redis.llen(live.keys.new_queue) == 0


@pytest.mark.parametrize("name", ["gated", "polite"])
def test_what_ends_since_it_heard_that_it_is_to_leave_is_queued_again(live: Live, name: str) -> None:
    worker = live.worker(Gated, Polite)
    task_id = live.helpers.start_task(name, manner="winds up")
    wait_until(lambda: bool(Gated.gate.linkcount()), message="the task waits")
    worker.stop()
    wait_until(live.greenlets[worker].ready)
    assert live.state(task_id) == "WAIT"
    assert live.redis.lrange(live.keys.new_queue, 0, -1) == [task_id]


def test_where_tasks_stand_is_told_also_of_one_that_has_not_begun_and_one_that_has_ended(live: Live) -> None:
    worker = live.worker(Gated)
    standing = live.helpers.start_task("gated")
    wait_until(lambda: bool(Gated.gate.linkcount()), message="the task waits")
    ended, fresh = Execution("ended", "t:1", "gated", "{}"), Execution("fresh", "t:2", "gated", "{}")
    ended.greenlet, fresh.greenlet = gevent.spawn(lambda: None), gevent.Greenlet(lambda: None)
    ended.greenlet.join()

    found = stacks({**worker.tasks, "ended": ended, "fresh": fresh}, None)

    told = {entry.id: tell(stack, [entry]) for stack, entries in found.items() for entry in entries}
    assert set(told) == {standing, "ended", "fresh"}
    assert f"Task '{standing}' (gated) stands at\n  " in told[standing]
    assert "self.gate.wait()" in told[standing]
    assert "executor.py" not in told[standing]
    assert told["ended"] == "Task 'ended' (gated) stands nowhere: not begun, or ended"


def test_a_quiet_worker_claims_nothing_and_goes_on_with_what_it_has(live: Live) -> None:
    worker = live.worker(Gated)
    held = live.helpers.start_task("gated")
    live.until(held, "RUNNING")
    worker.quiet(True)
    wait_until(lambda: not live.takes(), message="the take that is under way is cut short")
    ids = live.helpers.start_tasks([("gated", {})] * 5)
    gevent.sleep(0.5)  # Nothing may happen in this time.
    assert live.redis.llen(live.keys.new_queue) == 5
    assert live.state(held) == "RUNNING"
    worker.quiet(False)
    for task_id in ids:
        live.until(task_id, "RUNNING")
    Gated.gate.set()
    for task_id in (held, *ids):
        live.until(task_id, "SUCCESS")


class TidiesUp(Task):
    """Takes longer to tidy up than a second, in one of the ways in which Python has one do so."""

    NAME = "tidies-up"
    runs: ClassVar[int]
    tidied: ClassVar[list[str]]
    waiting: ClassVar[Event]

    def __init__(self, where: str, seconds: float) -> None:
        self.where = where
        self.seconds = seconds

    def _tidy_up(self) -> None:
        gevent.sleep(self.seconds)
        self.tidied.append(self.where)

    @staticmethod
    @contextmanager
    def provide_context() -> Iterator[None]:
        try:
            yield
        finally:
            TidiesUp.left.append("begun")
            gevent.sleep(TidiesUp.context_seconds)
            TidiesUp.left.append("left")

    left: ClassVar[list[str]]
    context_seconds: ClassVar[float]

    def start(self) -> None:
        TidiesUp.runs += 1
        try:
            TidiesUp.waiting.set()
            Event().wait()
        except BaseException:
            if self.where == "except":
                self._tidy_up()
            raise
        finally:
            if self.where == "finally":
                self._tidy_up()


@pytest.fixture(autouse=True)
def _untidy() -> None:
    TidiesUp.runs, TidiesUp.tidied, TidiesUp.left, TidiesUp.waiting = 0, [], [], Event()
    TidiesUp.context_seconds = 0


#: More than the second that was all there once was.
LONG = GIVE_WAY + 0.3


@pytest.mark.parametrize("where", ["finally", "except", "context"])
def test_a_task_that_is_told_to_stop_has_the_stop_timeout_to_tidy_up(
    live: Live, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    TidiesUp.context_seconds = LONG if where == "context" else 0
    live.worker(TidiesUp, stop_timeout=10)
    task_id = live.helpers.start_task("tidies-up", where=where, seconds=LONG)
    assert TidiesUp.waiting.wait(5)
    live.helpers.stop_task(task_id)
    live.until(task_id, "STOPPED")
    assert TidiesUp.left == ["begun", "left"]
    assert TidiesUp.tidied == ([] if where == "context" else [where])
    assert "GreenletExit" not in caplog.text


@pytest.mark.parametrize("why", ["shutdown", "reload", "restart", "removed", "taken away", "partition"])
def test_whoever_makes_it_leave_gives_it_that_time(live: Live, why: str) -> None:
    app = live.app(TidiesUp, stop_timeout=10, update_task_interval=0.2)
    worker = live.begin(app, graceful_timeout=15)
    task_id = live.helpers.start_task("tidies-up", where="finally", seconds=LONG)
    assert TidiesUp.waiting.wait(5)
    if why == "shutdown":
        live.end(worker)
        assert live.state(task_id) == "WAIT"
    elif why == "reload":
        live.helpers.reload_task(task_id)
    elif why == "restart":
        live.helpers.restart_task(task_id)
    elif why == "removed":
        live.helpers.remove_task(task_id)
    elif why == "taken away":
        live.redis.hset(live.keys.task(task_id), "owner", "another:1")
    else:
        worker.isolate()
    wait_until(lambda: TidiesUp.tidied == ["finally"], message="it has tidied up")


def test_what_has_not_tidied_up_by_then_is_cut_off_and_named(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.worker(TidiesUp, stop_timeout=GIVE_WAY + 0.2)
    task_id = live.helpers.start_task("tidies-up", where="finally", seconds=60)
    assert TidiesUp.waiting.wait(5)
    live.helpers.stop_task(task_id)
    live.until(task_id, "STOPPED")
    assert TidiesUp.tidied == []
    assert f"Task '{task_id}' (tidies-up) is still there 1.2 s after it was told to stop" in caplog.text


def test_a_second_signal_waits_for_nobody_who_tidies_up(live: Live) -> None:
    worker = live.worker(TidiesUp, stop_timeout=30)
    task_id = live.helpers.start_task("tidies-up", where="finally", seconds=60)
    assert TidiesUp.waiting.wait(5)
    worker.stop()
    wait_until(lambda: worker.tasks[task_id].is_interrupted)
    began = time.monotonic()
    worker.stop()
    wait_until(live.greenlets[worker].ready)
    assert time.monotonic() - began < 4
    assert live.state(task_id) == "WAIT"


class Finite(Task):
    """Is nearly done, so its ``stop`` lets it finish."""

    NAME = "finite"
    runs: ClassVar[int] = 0
    may_end: ClassVar[Event]

    def __init__(self, what: str) -> None:
        self.what = what
        self.over = Event()

    def start(self) -> str | None:
        Finite.runs += 1
        try:
            self.may_end.wait()
            if self.what == "error":
                raise self.Error("as expected")
            if self.what == "broken":
                raise OSError("its stop has closed the socket")
            return None if self.what == "nothing" else "result"
        finally:
            self.over.set()

    def stop(self) -> None:
        self.may_end.set()
        self.over.wait()


@pytest.fixture(autouse=True)
def _nothing_finished() -> None:
    Finite.runs, Finite.may_end = 0, Event()


@pytest.mark.parametrize("why", ["shutdown", "stop", "reload"])
@pytest.mark.parametrize(("what", "state"), [("result", "SUCCESS"), ("error", "ERROR")])
def test_what_ends_well_while_its_stop_waits_for_it_has_ended(live: Live, why: str, what: str, state: str) -> None:
    worker = live.worker(Finite)
    task_id = live.helpers.start_task("finite", what=what)
    wait_until(Finite.may_end.linkcount)
    if why == "shutdown":
        live.end(worker)
    elif why == "stop":
        live.helpers.stop_task(task_id)
    else:
        live.helpers.reload_task(task_id)
    live.until(task_id, state)
    assert live.output(task_id) == ('"result"' if what == "result" else '"as expected"')
    assert Finite.runs == 1
    assert live.redis.llen(live.keys.new_queue) == 0


@pytest.mark.parametrize("what", ["nothing", "broken"])
def test_what_is_wound_up_by_its_stop_and_has_nothing_to_show_goes_back_to_the_queue(live: Live, what: str) -> None:
    """As a loop for ever that looks at a flag, or reads from what its ``stop`` closes."""
    worker = live.worker(Finite)
    task_id = live.helpers.start_task("finite", what=what)
    wait_until(Finite.may_end.linkcount)
    live.end(worker)
    assert live.state(task_id) == "WAIT"
    assert live.redis.lrange(live.keys.new_queue, 0, -1) == [task_id]
