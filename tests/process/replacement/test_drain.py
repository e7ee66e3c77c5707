"""A worker that is replaced claims nothing new and lets its short tasks end; what runs for ever moves on after that."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

ERRANDS = '''
import os
import gevent
from pytask_core import Cleanup, Monitor, PyTask, Task


class Errand(Task):
    """Takes some seconds, and says where it began and where it ended."""

    NAME = "errand"

    def __init__(self, seconds=0):
        self.seconds = seconds

    def start(self):
        self.redis.rpush("errands", f"{self.id} began in {os.getpid()}")
        self.work()
        self.redis.rpush("errands", f"{self.id} ended in {os.getpid()}")

    def work(self):
        gevent.sleep(self.seconds)


class Gated(Errand):
    """Ends once its gate is open."""

    NAME = "gated"

    def work(self):
        while not self.redis.exists(f"gate of {self.id}"):
            gevent.sleep(0.05)


app = PyTask()
app.add_tasks(Errand, Gated, Monitor, Cleanup)
'''

FOR_EVER = 1000


@pytest.fixture
def errands(redis_server: RedisServer) -> Callable[[], list[str]]:
    """What the tasks have said."""
    client = redis_server.client(decode_responses=True)
    return lambda: client.lrange("errands", 0, -1)


@pytest.fixture
def begin(folder: Path, redis_server: RedisServer) -> Callable[..., SupervisorProcess]:
    """Start a supervisor with the app."""
    (folder / "errands.py").write_text(ERRANDS)
    words = ["--app", "errands:app", "--redis", redis_server.url]
    return lambda *more: SupervisorProcess(folder, *words, *more)


def titles(supervisor: SupervisorProcess) -> str:
    return " ".join(supervisor.titles())


def test_a_short_task_ends_where_it_began_while_new_ones_begin_in_the_successor(
    begin: Callable[..., SupervisorProcess], helpers: PyTaskHelpers, errands: Callable[[], list[str]]
) -> None:
    with begin("--workers", "1", "--drain-timeout", "60") as supervisor:
        supervisor.wait_ready(1)
        old = supervisor.workers()[1]
        helpers.start_task("gated", "short")
        wait_until(errands)
        supervisor.send(signal.SIGHUP)
        wait_until(lambda: "(draining, 1 running)" in titles(supervisor))
        helpers.start_task("errand", "new")
        wait_until(lambda: len(errands()) == 3)
        helpers.redis.set("gate of short", "open")
        wait_until(lambda: len(errands()) == 4)
        wait_until(lambda: old not in supervisor.children(), message="the predecessor to leave as soon as it can")
        new = supervisor.workers()[1]
        assert errands() == [
            f"short began in {old}",
            f"new began in {new}",
            f"new ended in {new}",
            f"short ended in {old}",
        ]
        assert supervisor.stop() == 0
        assert supervisor.lines("WARNING") == []


def test_a_worker_is_recycled_without_cutting_short_what_it_had_begun(
    begin: Callable[..., SupervisorProcess], helpers: PyTaskHelpers, errands: Callable[[], list[str]]
) -> None:
    with begin("--workers", "2", "--max-tasks", "10", "--drain-timeout", "20") as supervisor:
        supervisor.wait_ready(2)
        before = set(supervisor.workers().values())
        ids = [f"errand-{number}" for number in range(100)]
        for task_id in ids:
            helpers.start_task("errand", task_id, seconds=0.5)
        wait_until(lambda: {state for [state] in helpers.get_tasks(ids, ["state"])} == {"SUCCESS"}, 30)  # type: ignore[misc]
        supervisor.wait_for("tasks have ended there", 2, timeout=20)
        wait_until(lambda: not before & set(supervisor.children()), 20)
        assert supervisor.stop() == 0
    said = [line.split(" in ") for line in errands()]
    assert sorted(line for line, _ in said) == sorted(f"{each} {what}" for each in ids for what in ("began", "ended"))


def test_what_runs_for_ever_moves_on_when_the_time_for_draining_is_over(
    begin: Callable[..., SupervisorProcess], helpers: PyTaskHelpers, errands: Callable[[], list[str]]
) -> None:
    with begin("--workers", "1", "--drain-timeout", "2") as supervisor:
        supervisor.wait_ready(1)
        old = supervisor.workers()[1]
        helpers.start_task("errand", "long", seconds=FOR_EVER)
        wait_until(errands)
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("from now on")
        wait_until(lambda: len(errands()) == 2)
        assert errands() == [f"long began in {old}", f"long began in {supervisor.workers()[1]}"]
        assert supervisor.stop() == 0


def test_a_worker_that_cannot_hear_that_it_is_to_drain_is_asked_to_stop_all_the_same(
    begin: Callable[..., SupervisorProcess], helpers: PyTaskHelpers, errands: Callable[[], list[str]]
) -> None:
    """It is frozen until its time is over."""
    with begin("--workers", "1", "--drain-timeout", "2", "--hang-timeout", "60") as supervisor:
        supervisor.wait_ready(1)
        old = supervisor.workers()[1]
        helpers.start_task("errand", "long", seconds=FOR_EVER)
        wait_until(errands)
        supervisor.expected = ["given no sign of life"]
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("is about to be replaced")
        os.kill(old, signal.SIGSTOP)
        supervisor.wait_for("from now on")
        # SIGINT waits for it when it wakes; what the loop is told does too.
        wait_until(lambda: "SigPnd:\t0000000000000002" in _status(old) or "ShdPnd:\t0000000000000002" in _status(old))
        os.kill(old, signal.SIGCONT)
        wait_until(lambda: len(errands()) == 2)
        wait_until(lambda: old not in supervisor.children())
        assert supervisor.stop() == 0


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def test_a_stop_does_not_wait_for_a_worker_that_drains(
    begin: Callable[..., SupervisorProcess], helpers: PyTaskHelpers, errands: Callable[[], list[str]]
) -> None:
    with begin("--workers", "1", "--drain-timeout", "60") as supervisor:
        supervisor.wait_ready(1)
        helpers.start_task("errand", "long", seconds=FOR_EVER)
        wait_until(errands)
        supervisor.send(signal.SIGHUP)
        wait_until(lambda: "(draining, 1 running)" in titles(supervisor))
        # Quiet and not quiet any more, which is not meant for who drains.
        supervisor.send(signal.SIGUSR2)
        supervisor.wait_for("workers are quiet")
        supervisor.send(signal.SIGUSR2)
        supervisor.wait_for("claim again")
        began = time.monotonic()
        assert supervisor.stop() == 0
        assert time.monotonic() - began < 15
        assert helpers.get_task("long")["state"] == "WAIT"
