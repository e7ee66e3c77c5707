"""The master dies by kill -9: its workers put their tasks back and leave, and nothing remains."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.control import Control
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


def test_workers_of_a_killed_master_requeue_and_leave_within_a_second(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "3") as supervisor:
        supervisor.wait_ready(3)
        client = redis_server.client(decode_responses=True)
        ids = helpers.start_tasks([("forever", {})] * 100)
        wait_until(lambda: client.llen("new-task") == 0)
        workers = supervisor.workers()

        supervisor.send(signal.SIGKILL)
        supervisor.wait()
        began = time.monotonic()
        wait_until(lambda: not supervisor.left(), 5, f"no worker left of {workers}")
        assert time.monotonic() - began < 1.5

        assert Counter(client.lrange("new-task", 0, -1)) == Counter(ids)
        assert {client.hget(f"task-{one}", "state") for one in ids} == {"WAIT"}
        # Told by kernel, monitor thread and channel alike, each stopped once, without hurry.
        assert supervisor.text.count("Stopping. ") == 3


def test_the_same_command_after_a_kill_9_starts_at_once_and_runs_the_tasks_again(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers, folder: Path
) -> None:
    """The dead master's pidfile and control socket are in the way of nobody, and its workers are not waited for."""
    words = ("--workers", "3", "--pidfile", "here.pid", "--control-socket", "./here.sock")
    with start(*words) as killed:
        killed.wait_ready(3)
        client = redis_server.client()
        ids = helpers.start_tasks([("forever", {})] * 20)
        wait_until(lambda: client.llen("new-task") == 0)
        orphans = killed.children()
        killed.send(signal.SIGKILL)
        killed.wait()
        assert (folder / "here.pid").read_text() == f"{killed.pid}\n"
        assert (folder / "here.sock").exists()
        with start(*words) as supervisor:
            supervisor.wait_for(f"was left behind by process {killed.pid}; it is ours now")
            supervisor.wait_ready(3, times=2)
            assert (folder / "here.pid").read_text() == f"{supervisor.pid}\n"
            asked = Control(folder / "here.sock").ask(do="show")
            assert asked["supervisor"]["pid"] == supervisor.pid
            wait_until(lambda: not any(map(psutil.pid_exists, orphans)), message=f"an orphan of {orphans}")
            wait_until(lambda: {helpers.get_task(one)["state"] for one in ids} == {"RUNNING"})
            assert supervisor.stop() == 0
        assert {helpers.get_task(one)["state"] for one in ids} == {"WAIT"}
        assert Counter(helpers.get_new_task_ids()) == Counter(ids)
        assert not list(folder.glob("here.*"))


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.1, 0.2, 0.3, 0.4])
def test_a_master_killed_while_its_workers_start_leaves_nothing(start: Start, moment: float) -> None:
    with start("--workers", "3") as supervisor:
        supervisor.wait_for("starts 3 workers")
        time.sleep(moment)  # The moment is the point.
        supervisor.send(signal.SIGKILL)
        supervisor.wait()
        wait_until(lambda: not supervisor.left(), 3, "no worker left")


def test_a_worker_that_hangs_ends_itself_when_the_master_is_gone(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2", "--graceful-timeout", "1") as supervisor:
        supervisor.expected = ["it did not stop in time, at "]
        supervisor.wait_ready(2)
        client = redis_server.client()
        helpers.start_task("blocker")
        wait_until(lambda: client.llen("new-task") == 0)
        supervisor.send(signal.SIGKILL)
        supervisor.wait()
        began = time.monotonic()
        wait_until(lambda: not supervisor.left(), 5, "no worker left")
        assert time.monotonic() - began < 1 + 2
        # The log tells where it hung.
        assert "jobs.py:" in "".join(supervisor.lines("ERROR"))


def test_a_master_killed_in_the_middle_of_a_stop_leaves_nothing(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2", "--graceful-timeout", "3") as supervisor:
        supervisor.expected = ["swallows StopTask"]
        supervisor.wait_ready(2)
        client = redis_server.client(decode_responses=True)
        task_id = helpers.start_task("stubborn")
        wait_until(lambda: client.llen("new-task") == 0)
        supervisor.send(signal.SIGTERM)
        supervisor.wait_for("Stopping. ", 2)
        supervisor.send(signal.SIGKILL)
        supervisor.wait()
        wait_until(lambda: not supervisor.left(), 6, "no worker left")
        assert client.lrange("new-task", 0, -1) == [task_id]
