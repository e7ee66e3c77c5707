"""The sums of what all workers have done, living or dead."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pytask_core.worker.stats import BOUNDS, WorkerStats
from pytask_supervisor.master.stats import MOST_NAMES, OTHER, MasterStats


def told(figures: WorkerStats) -> dict[str, Any]:
    """A worker's message."""
    return {"cpu": 0.5, **figures.take()}


def test_the_sums_are_those_of_all_workers_living_or_dead() -> None:
    stats = MasterStats()
    for seconds in (0.02, 2.0):
        worker = WorkerStats({"job"})
        worker.claimed("job", 0.5)
        worker.ended("job", "SUCCESS", seconds)
        stats.add(told(worker))
        worker.ended("job", "ERROR", seconds)
        stats.add(told(worker))

    assert stats.ended() == {"SUCCESS": 2, "ERROR": 2, "EXCEPTION": 0, "STOPPED": 0}
    assert (stats.claimed, stats.cpu) == (2, 2.0)
    assert stats.names["job"].run.sum == pytest.approx(4.04)
    buckets = dict(stats.names["job"].run.buckets())
    assert list(buckets) == [*BOUNDS, math.inf]
    assert (buckets[0.01], buckets[0.025], buckets[1.0], buckets[2.5], buckets[math.inf]) == (0, 2, 2, 4, 4)


def test_workers_of_two_versions_with_other_bounds_add_up() -> None:
    stats = MasterStats()
    for bound in ("1.0", "2.0"):
        times = {"sum": 0.5, "counts": {bound: 1}}
        stats.add({"cpu": 0, "claimed": 0, "tasks": {"job": {"ended": {}, "run": times, "queue": times}}})
    assert stats.names["job"].run.buckets() == [(1.0, 1), (2.0, 2), (math.inf, 2)]


def test_names_have_a_bound_whatever_workers_say() -> None:
    stats = MasterStats()
    empty = {"sum": 0.0, "counts": {}}
    tasks = {f"job-{n}": {"ended": {"SUCCESS": 1}, "run": empty, "queue": empty} for n in range(MOST_NAMES + 10)}
    for _ in range(2):
        stats.add({"cpu": 0, "claimed": 0, "tasks": tasks})
    assert len(stats.names) == MOST_NAMES + 1
    assert stats.names[OTHER].ended["SUCCESS"] == 20
    assert stats.ended()["SUCCESS"] == 2 * (MOST_NAMES + 10)


@pytest.mark.parametrize(
    "message",
    [{}, {"claimed": 1}, {"cpu": "x", "claimed": 1, "tasks": {}}, {"cpu": 0, "claimed": 0, "tasks": {"a": 1}}],
)
def test_a_message_that_makes_no_sense_raises_what_the_master_expects(message: dict[str, Any]) -> None:
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        MasterStats().add(message)
