"""Who is recycled, why, and that it is one at a time, with figures and a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.master.death_log import Kind
from pytask_supervisor.master.recycling import LONGEST_GRACE, Recycling
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.shared.respawn import LONG_RUN
from tests.support.master_world import World

MIB = 1024**2


class Yard(World):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.part = 1.0
        self.recycling = Recycling(self.state, self.pool, self.rolling, self.said.append, self.clock, lambda: self.part)

    def turn(self, **limits: float) -> None:
        self.state.tried = SupervisorConfig(workers=1, **limits)  # type: ignore[arg-type]
        self.recycling.turn()
        self.rolling.turn()

    def beat(self, worker: WorkerHandle, memory: int = 0, done: int = 0) -> None:
        worker.hear({"beat": {"running": 0, "done": done, "memory": memory, "lag": 0.0}})

    def successors(self) -> list[int]:
        return [worker.slot for worker in self.pool.workers if worker.stage is Stage.STARTED]


@pytest.fixture
def yard() -> Iterator[Yard]:
    made = Yard()
    yield made
    made.close()


def test_without_limits_nobody_is_replaced(yard: Yard) -> None:
    (worker,) = yard.staff(1)
    yard.beat(worker, memory=10**12, done=10**9)
    yard.now += 10**9
    yard.turn()
    assert yard.successors() == []


def test_who_is_over_a_limit_is_replaced_one_at_a_time_with_the_reason_in_words(yard: Yard) -> None:
    workers = yard.staff(3)
    yard.now += LONG_RUN
    for worker in (workers[0], workers[2]):
        yard.beat(worker, memory=600 * MIB)
    yard.beat(workers[1], memory=500 * MIB)
    for _ in range(3):
        yard.turn(max_memory=512 * MIB)
    assert yard.successors() == [1]
    for expected in (1, 3):
        (new,) = (worker for worker in yard.pool.workers if worker.stage is Stage.STARTED)
        assert new.slot == expected
        new.hear({"ready": True})
        yard.turn(max_memory=512 * MIB)
        (old,) = (worker for worker in yard.pool.workers if worker.stage is Stage.STOPPING)
        assert len(yard.pool.ready) == 3
        old.hear({"left": True})
        yard.die(old, 0)
        yard.turn(max_memory=512 * MIB)
    assert not yard.rolling
    assert yard.death_log.counts[Kind.RECYCLED] == 2
    assert yard.death_log.deaths[-1].cause == "was recycled: its memory is 600 MiB, and 512 MiB its limit"


def test_tasks_and_age_count_too_each_with_a_part_of_its_own(yard: Yard) -> None:
    (worker,) = yard.staff(1)
    yard.part = 0.0
    yard.beat(worker, done=89)
    yard.turn(max_tasks=100, max_age=1000)
    assert yard.successors() == []
    yard.beat(worker, done=90)
    yard.turn(max_tasks=100, max_age=1000)
    assert yard.successors() == [1]


def test_an_old_worker_is_replaced(yard: Yard) -> None:
    (worker,) = yard.staff(1)
    yard.now += 999
    yard.turn(max_age=1000)
    assert yard.successors() == []
    yard.now += 1
    yard.turn(max_age=1000)
    assert yard.successors() == [worker.slot]


def test_a_worker_that_needs_more_from_the_start_is_not_replaced_at_once(yard: Yard) -> None:
    (worker,) = yard.staff(1)
    yard.beat(worker, memory=600 * MIB)
    yard.turn(max_memory=512 * MIB)
    assert yard.successors() == []


def live(yard: Yard, need: int, limit: int) -> float:
    """Have the only worker take so many MiB from its start until it is replaced; how long it had been ready."""
    (worker,) = yard.pool.workers
    while worker.stage is Stage.READY:
        assert worker.ready_for < LONGEST_GRACE + 2
        yard.now += 1
        yard.beat(worker, memory=need * MIB)
        yard.turn(max_memory=limit * MIB)
        for successor in set(yard.pool.workers) - {worker}:
            successor.hear({"ready": True})
        yard.rolling.turn()
    lived = worker.ready_for
    worker.hear({"left": True})
    yard.die(worker, 0)
    yard.turn(max_memory=limit * MIB)
    return lived


def test_an_app_that_needs_more_than_the_limit_is_replaced_ever_more_rarely_and_told_of_once(yard: Yard) -> None:
    yard.staff(1)
    assert [live(yard, 600, 512) for _ in range(8)] == [10, 20, 40, 80, 160, 320, LONGEST_GRACE, LONGEST_GRACE]
    (said,) = yard.said
    assert said.startswith("worker 1 takes 600 MiB 20 s after it was ready, and --max-memory is 512 MiB: its successor")
    # Another limit is another matter, and so is a worker that grows slowly.
    assert [live(yard, 600, 560) for _ in range(2)] == [10, 20]
    assert len(yard.said) == 2
    yard.now += 100
    yard.turn(max_memory=560 * MIB)
    assert live(yard, 600, 560) == 101
    assert live(yard, 600, 560) == 10


def test_after_a_successor_that_failed_the_next_try_waits(yard: Yard) -> None:
    (worker,) = yard.staff(1)
    yard.now += 2000
    yard.turn(max_age=1000)
    (new,) = set(yard.pool.workers) - {worker}
    yard.die(new, 3 << 8)
    yard.turn(max_age=1000)
    assert yard.pool.workers == [worker]
    assert yard.said == [
        "worker 1 is not recycled yet: the new one could not load the app (exit code 3); again in 0.1 s"
    ]
    yard.now += 0.2
    yard.turn(max_age=1000)
    assert yard.successors() == [1]
