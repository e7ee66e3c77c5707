"""Figures: what is counted, in what bounds, and that nothing is counted twice."""

from __future__ import annotations

import json

from pytask_core.worker.stats import BOUNDS, MOST_NAMES, OTHER, WorkerStats


def test_what_was_counted_is_told_once() -> None:
    figures = WorkerStats({"a", "b"})
    figures.claimed("a", 0.3)
    figures.claimed("a", None)
    figures.ended("a", "SUCCESS", 0.004)
    figures.ended("a", "ERROR", 7200.0)
    figures.ended("b", "STOPPED", None)

    told = json.loads(json.dumps(figures.take()))

    assert told["claimed"] == 2
    assert told["tasks"]["a"]["ended"] == {"SUCCESS": 1, "ERROR": 1}
    assert told["tasks"]["b"]["ended"] == {"STOPPED": 1}
    run = told["tasks"]["a"]["run"]
    assert (run["sum"], run["counts"]["0.005"], run["counts"]["+Inf"], sum(run["counts"].values())) == (
        7200.004,
        1,
        1,
        2,
    )
    assert told["tasks"]["a"]["queue"]["counts"]["0.5"] == 1
    assert figures.take() == {"claimed": 0, "tasks": {}}


def test_a_time_on_a_bound_counts_below_it() -> None:
    figures = WorkerStats({"a"})
    for bound in BOUNDS:
        figures.ended("a", "SUCCESS", bound)
    counts = figures.take()["tasks"]["a"]["run"]["counts"]
    assert counts == {**{str(bound): 1 for bound in BOUNDS}, "+Inf": 0}


def test_all_bounds_are_told_the_first_time_and_then_only_what_was_counted() -> None:
    figures = WorkerStats({"a"})
    figures.ended("a", "SUCCESS", 1)
    assert len(figures.take()["tasks"]["a"]["run"]["counts"]) == len(BOUNDS) + 1
    figures.ended("a", "SUCCESS", 1)
    assert figures.take()["tasks"]["a"]["run"]["counts"] == {"1.0": 1}


def test_names_that_no_class_has_and_those_beyond_the_bound_are_one() -> None:
    known = {f"task-{number}" for number in range(MOST_NAMES + 50)}
    figures = WorkerStats(known)
    for name in sorted(known):
        figures.ended(name, "SUCCESS", 1)
    for number in range(1000):
        figures.ended(f"unheard-of-{number}", "EXCEPTION", 0)
    figures.claimed(None, 1)

    tasks = figures.take()["tasks"]

    assert len(tasks) == MOST_NAMES + 1
    assert tasks[OTHER]["ended"] == {"SUCCESS": 50, "EXCEPTION": 1000}
    running = figures.by_name([*known, None, "unheard-of", "task-0", "task-0"])
    assert (len(running), running[OTHER], running["task-0"]) == (MOST_NAMES + 1, 52, 3)
