"""A task that holds all file descriptors of its worker for a while: afterwards all is as before."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.waiting import wait_until

Start = Callable[..., SupervisorProcess]

HOARD = """
import os

import gevent

from pytask_core import PyTask, Task


class Hoard(Task):
    NAME = "hoard"

    def start(self):
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        try:
            gevent.sleep(3)
        finally:
            for fd in held:
                os.close(fd)


class Noarg(Task):
    NAME = "noarg"

    def start(self):
        return 1


app = PyTask()
app.add_tasks(Hoard, Noarg)
"""

FEW = ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"]


def read(supervisor: SupervisorProcess, path: str) -> tuple[int, str]:
    """Status and text of a page of the metrics port."""
    line = next(line for line in supervisor.text.splitlines() if "metrics at " in line)
    url = line.partition("metrics at ")[2].partition("/metrics")[0]
    try:
        with urllib.request.urlopen(url + path, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("is_fresh", [True, False], ids=["at its first task", "later"])
def test_a_worker_that_had_no_descriptor_left_for_three_seconds_is_as_before(
    start: Start,
    folder: Path,
    helpers: PyTaskHelpers,
    is_fresh: bool,
) -> None:
    (folder / "hoard.py").write_text(HOARD)
    words = ["--workers", "1", "--max-tasks", "50", "--metrics-port", "0"]
    with start(*words, app="hoard:app", launcher=FEW) as supervisor:
        supervisor.expected += ["out of file descriptors"]
        supervisor.wait_ready(1)
        if not is_fresh:
            good = helpers.start_task("noarg")
            wait_until(lambda: helpers.get_task(good)["state"] == "SUCCESS")
        hoard = helpers.start_task("hoard")
        wait_until(lambda: helpers.get_task(hoard)["state"] == "RUNNING")
        wait_until(lambda: helpers.get_task(hoard)["state"] != "RUNNING", 20)
        wait_until(lambda: read(supervisor, "/healthz")[0] == 200, 10)
        [before] = supervisor.workers().values()
        for _ in range(70):
            helpers.start_task("noarg")
        wait_until(lambda: "was recycled" in supervisor.text or list(supervisor.workers().values()) != [before], 20)
        wait_until(
            lambda: 'pytask_tasks_ended_total{name="noarg",state="SUCCESS"} 7' in read(supervisor, "/metrics")[1]
        )
        wait_until(lambda: read(supervisor, "/healthz")[0] == 200, 10)
        assert supervisor.text.count(" is away") == 0
        assert supervisor.text.count("out of file descriptors") <= 3
        assert supervisor.text.count("Traceback") == 0
        assert supervisor.stop() == 0
