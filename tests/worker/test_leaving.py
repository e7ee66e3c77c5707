"""What a task is that ends just when it is asked to leave, and what a quiet or a pressed worker claims."""

from __future__ import annotations

from typing import ClassVar

import gevent
import pytest
from gevent.event import Event

from pytask_core import StopTask, Task
from pytask_core.running import Running
from pytask_core.stacks import stacks, tell
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
    worker._runner.ask_all("requeue")  # and before that it is asked to leave.
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
    ended, fresh = Running("ended", "t:1", "gated", "{}"), Running("fresh", "t:2", "gated", "{}")
    ended.greenlet, fresh.greenlet = gevent.spawn(lambda: None), gevent.Greenlet(lambda: None)
    ended.greenlet.join()

    found = stacks({**worker.tasks, "ended": ended, "fresh": fresh}, None)

    told = {entry.id: tell(stack, [entry]) for stack, entries in found.items() for entry in entries}
    assert set(told) == {standing, "ended", "fresh"}
    assert f"Task '{standing}' (gated) stands at\n  " in told[standing]
    assert "self.gate.wait()" in told[standing]
    assert "runner.py" not in told[standing]
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
