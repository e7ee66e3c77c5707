"""Messages on control channels, in numbers that only malice or a loop gone wrong sends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.waiting import wait_until

Start = Callable[..., SupervisorProcess]

NUDGES = 30_000
#: Bytes by which the worker may grow.
MOST_GROWTH = 30 << 20


@pytest.mark.parametrize("word", ["stop {owner}", "reload {owner}", "restart {owner}", "stop other:1", "word"])
@pytest.mark.parametrize("count", [5, 500])
def test_thirty_thousand_nudges_cost_their_tasks_and_their_neighbours_nothing(
    start: Start, folder: Path, helpers: PyTaskHelpers, word: str, count: int
) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        ids = helpers.start_tasks([("forever", {}) for _ in range(count)])
        tasks = {}

        def all_run() -> bool:
            late = [each for each in ids if tasks.get(each, {}).get("state") != "RUNNING"]
            tasks.update({each: helpers.get_task(each) for each in late})
            return all(task["state"] == "RUNNING" for task in tasks.values())

        wait_until(all_run, 20)
        [worker] = [psutil.Process(pid) for pid in supervisor.workers().values()]
        before = worker.memory_info().rss
        pipe = helpers.redis.pipeline(transaction=False)
        for task_id, _ in zip(cycle(ids), range(NUDGES), strict=False):
            pipe.publish(f"task-{task_id}-control", word.format(owner=tasks[task_id]["owner"]))
        pipe.execute()
        hello = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(hello)["state"] == "SUCCESS", 5, "a neighbour")
        assert worker.memory_info().rss - before < MOST_GROWTH
        assert {helpers.get_task(each)["owner"] for each in ids[:50]} == {tasks[each]["owner"] for each in ids[:50]}
        assert "No lease could be renewed" not in supervisor.text
        assert len(supervisor.text) < 10_000
        assert supervisor.stop() == 0
