"""A task that hangs one worker after the other, long after it began: it is charged, and nothing beside it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.waiting import wait_until

SPIN = """
import time

import gevent

from pytask_core import Cleanup, Monitor, PyTask, Task


class Spin(Task):
    NAME = "spin"

    def start(self):
        gevent.sleep(1.5)
        total = 0
        while True:
            total += 1


class Forever(Task):
    NAME = "forever"

    def start(self):
        gevent.sleep(10_000)


app = PyTask(poison_window=0.3)
app.add_tasks(Spin, Forever, Monitor, Cleanup)
"""


def test_a_task_that_hangs_workers_later_than_the_window_ends_after_three_and_its_output_says_what_helps(
    start: Start, folder: Path, helpers: PyTaskHelpers
) -> None:
    (folder / "spinning.py").write_text(SPIN)
    with start("--workers", "2", "--hang-timeout", "2", app="spinning:app") as supervisor:
        supervisor.expected = ["Workers hang by task"]
        supervisor.wait_ready(2)
        near = helpers.start_tasks([("forever", {})] * 10)
        wait_until(lambda: {row[0] for row in helpers.get_tasks(near, ["state"]) if row} == {"RUNNING"})
        task_id = helpers.start_task("spin")

        wait_until(lambda: helpers.get_task(task_id).get("state") == "EXCEPTION", 60)

        output = json.loads(helpers.get_task(task_id)["output"])
        assert re.search(r"killed 3 times because it hung by this task.*/spinning\.py:\d+ in start", output)
        assert "gevent.sleep(0)" in output
        assert "native code" not in output
        assert "native code" not in supervisor.text
        assert supervisor.text.count("hangs and is killed") == 3
        supervisor.wait_for(f"Workers hang by task '{task_id}'")
        wait_until(lambda: {row[0] for row in helpers.get_tasks(near, ["state"]) if row} == {"RUNNING"}, 20)
        assert not any({"charges", "hangs", "deaths"} & set(helpers.get_task(each)) for each in near)
        assert supervisor.stop() == 0
