"""Whom the watchdog blames, and whom not, with a clock and processes of the test's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.host.thread_times import Sample, explain
from pytask_supervisor.master.death_log import Kind
from pytask_supervisor.master.watchdog import LAST_LOOK, LOADING, MARGIN, SILENT_AFTER, Watchdog
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from tests.support.master_world import World

TIMEOUT = 30.0


class Kennel(World):
    """A world with a watchdog that looks once a second."""

    def __init__(self) -> None:
        super().__init__()
        self.letter = "T"
        self.watchdog = Watchdog(self.state, self.pool, self.clock, lambda _pid: self.letter)

    def turn(self, timeout: float = TIMEOUT) -> None:
        self.state.tried = SupervisorConfig(workers=1, hang_timeout=timeout)
        self.watchdog.turn()

    def look(self, seconds: float, *alive: WorkerHandle, timeout: float = TIMEOUT) -> None:
        """Let time pass, in which only these give signs of life."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1)
            for worker in alive:
                worker.hear({"pulse": 0.0})
            self.turn(timeout)


@pytest.fixture
def kennel() -> Iterator[Kennel]:
    made = Kennel()
    yield made
    made.close()


def test_a_stopped_worker_is_named_once_and_killed_after_the_timeout(
    kennel: Kennel, caplog: pytest.LogCaptureFixture
) -> None:
    stopped, alive = kennel.staff(2)
    kennel.look(SILENT_AFTER - 1, alive)
    assert caplog.text == ""
    kennel.look(TIMEOUT - SILENT_AFTER, alive)
    assert caplog.text.count("has given no sign of life for 4 s: it is stopped") == 1
    assert stopped.stage is Stage.READY
    kennel.look(1, alive)
    assert kennel.kills == [(stopped.pid, signal.SIGKILL), (-stopped.pid, signal.SIGKILL)]
    kennel.die(stopped)
    assert kennel.death_log.deaths[-1].kind is Kind.HANG
    assert alive.stage is Stage.READY


def test_a_silent_worker_that_runs_is_asked_for_its_stack_at_once_and_before_it_is_killed(kennel: Kennel) -> None:
    kennel.letter = "R"
    (worker,) = kennel.staff(1)
    kennel.look(SILENT_AFTER)
    assert kennel.kills == [(worker.pid, signal.SIGUSR1)]
    kennel.look(TIMEOUT - SILENT_AFTER)
    assert kennel.kills == [(worker.pid, signal.SIGUSR1)] * 2
    kennel.look(LAST_LOOK)
    assert kennel.kills[2:] == [(worker.pid, signal.SIGKILL), (-worker.pid, signal.SIGKILL)]


def test_nobody_is_blamed_for_the_time_in_which_the_master_was_away(kennel: Kennel) -> None:
    workers = kennel.staff(2)
    kennel.look(2, *workers)
    kennel.now += 1000
    kennel.turn()
    kennel.look(60, *workers)
    assert kennel.kills == []
    assert all(worker.stage is Stage.READY for worker in workers)


def test_a_loop_that_its_thread_calls_hung_is_killed_with_its_words(kennel: Kennel) -> None:
    (worker,) = kennel.staff(1)
    worker.hear({"hung": "task 'x' (y) blocks the loop at z.py:3", "seconds": 30.2})
    kennel.look(1, timeout=0)
    assert kennel.kills == []
    kennel.look(1)
    kennel.die(worker)
    assert (
        kennel.death_log.deaths[-1].cause == "hung and was killed: task 'x' (y) blocks the loop at z.py:3, for 30.2 s"
    )


def test_a_loop_that_was_hung_and_runs_again_when_we_hear_of_it_is_left_alone(kennel: Kennel) -> None:
    (worker,) = kennel.staff(1)
    worker.hear({"hung": "task 'x' (y) blocks the loop at z.py:3", "seconds": 30.2})
    worker.hear({"pulse": 0.1})
    kennel.look(2, worker)
    assert kennel.kills == []


def test_a_blocked_loop_of_which_the_thread_tells_nothing_more_is_killed_a_little_later(kennel: Kennel) -> None:
    (worker,) = kennel.staff(1)
    worker.hear({"pulse": TIMEOUT + MARGIN - 0.1})
    kennel.turn()
    assert kennel.kills == []
    worker.hear({"pulse": TIMEOUT + MARGIN})
    kennel.turn()
    assert worker.stage is Stage.KILLED


def test_a_timeout_of_0_names_and_kills_nobody(kennel: Kennel, caplog: pytest.LogCaptureFixture) -> None:
    kennel.staff(1)
    kennel.look(500, timeout=0)
    assert kennel.kills == []
    assert "nothing is done, since --hang-timeout is 0" in caplog.text


def test_loading_may_take_ten_times_as_long(kennel: Kennel) -> None:
    kennel.pool.grow()
    kennel.pool.turn()
    (worker,) = kennel.pool.workers
    kennel.look(LOADING * TIMEOUT - 1, worker)
    assert kennel.kills == []
    kennel.look(1, worker)
    assert worker.stage is Stage.KILLED


@pytest.mark.parametrize(
    ("ran", "waited", "thread_waited", "words"),
    [
        (2.4, 0.0, 0.0, "native code keeps the interpreter's lock"),
        (0.5, 1.9, 0.0, "native code keeps the interpreter's lock"),
        (0.0, 0.0, 0.0, "native code keeps the interpreter's lock"),
        (0.1, 2.0, 0.3, "gets too little CPU"),
        (0.0, 0.0, 2.0, "gets too little CPU"),
    ],
)
def test_a_thread_that_waits_for_a_cpu_is_told_from_one_that_waits_for_the_lock(
    ran: float, waited: float, thread_waited: float, words: str
) -> None:
    assert words in explain(Sample(0, 5, 5, 5), Sample(2.5, 5 + ran, 5 + waited, 5 + thread_waited))


def test_what_the_kernel_does_not_tell_is_left_open() -> None:
    assert "or the machine has too little CPU" in explain(None, None)


def test_a_silent_worker_of_which_the_thread_has_told_who_blocks_it_is_killed_with_those_words(kennel: Kennel) -> None:
    kennel.letter = "R"
    (worker,) = kennel.staff(1)
    worker.hear({"blocked": "task 'x' (y) blocks the loop at z.py:3", "culprit": "x"})
    for _ in range(2):
        kennel.look(TIMEOUT)
    assert worker.culprit == "x"
    kennel.die(worker)
    assert kennel.death_log.deaths[-1].cause == "hung and was killed: task 'x' (y) blocks the loop at z.py:3"
