"""``--max-tasks``: no more tasks than that end in a worker, however short they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.waiting import wait_until

WHO = """
import os

import gevent

from pytask_core import Cleanup, Monitor, PyTask, Task


class Who(Task):
    NAME = "who"

    def __init__(self, seconds=0):
        self.seconds = seconds

    def start(self):
        if self.seconds:
            gevent.sleep(self.seconds)
        return os.getpid()


app = PyTask()
app.add_tasks(Who, Monitor, Cleanup)
"""


@pytest.mark.parametrize(("seconds", "count"), [(0, 1000), (0.2, 300)])
def test_no_worker_ends_more_tasks_than_it_may_and_none_is_lost(
    start: Start, folder: Path, helpers: PyTaskHelpers, seconds: float, count: int
) -> None:
    (folder / "who.py").write_text(WHO)
    with start("--workers", "2", "--max-tasks", "100", app="who:app") as supervisor:
        supervisor.wait_ready(2)
        ids = helpers.start_tasks(("who", {"seconds": seconds}) for _ in range(count))
        wait_until(lambda: all(row and row[0] == "SUCCESS" for row in helpers.get_tasks(ids, ["state"])), 60)
        by_pid = Counter(row[0] for row in helpers.get_tasks(ids, ["output"]) if row)
        assert sum(by_pid.values()) == count
        assert max(by_pid.values()) <= 100
        assert len(by_pid) <= count // 100 + 3, "and none is replaced long before"
        assert supervisor.stop() == 0


def test_a_worker_whose_successor_cannot_load_the_app_goes_on(
    start: Start, folder: Path, helpers: PyTaskHelpers
) -> None:
    (folder / "who.py").write_text(WHO)
    with start("--workers", "1", "--max-tasks", "50", app="who:app") as supervisor:
        supervisor.wait_ready(1)
        (folder / "who.py").write_text("1 / 0")
        ids = helpers.start_tasks(("who", {}) for _ in range(200))
        supervisor.wait_for("is not recycled yet")
        wait_until(lambda: all(row and row[0] == "SUCCESS" for row in helpers.get_tasks(ids, ["state"])), 60)
        supervisor.stop()


def test_tasks_for_ever_have_no_worker_replaced(start: Start, folder: Path, helpers: PyTaskHelpers) -> None:
    (folder / "who.py").write_text(WHO)
    with start("--workers", "1", "--max-tasks", "10", app="who:app") as supervisor:
        supervisor.wait_ready(1)
        ids = helpers.start_tasks(("who", {"seconds": 1000}) for _ in range(15))
        wait_until(lambda: sum(row == ["RUNNING"] for row in helpers.get_tasks(ids, ["state"])) == 10)
        wait_until(lambda: sum(row == ["RUNNING"] for row in helpers.get_tasks(ids, ["state"])) == 15, 20)
        assert "recycled" not in supervisor.text
        assert supervisor.stop() == 0
