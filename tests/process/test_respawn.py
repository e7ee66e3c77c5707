"""Workers that die: replaced, their tasks run again, their end explained."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import closing
from pathlib import Path

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.redis_server import RedisServer
from tests.support.supervisor_process import SupervisorProcess, is_zombie
from tests.support.waiting import wait_until

#: That many tasks for ever, in the hands of some worker.
TASKS = 40


def occupy(redis_server: RedisServer, supervisor: SupervisorProcess, workers: int) -> None:
    """Give all workers tasks for ever, and wait until the master knows of them."""
    client = redis_server.client()
    with closing(PyTaskHelpers(redis_server.client(decode_responses=True))) as helpers:
        helpers.start_tasks([("forever", {})] * TASKS)
    wait_until(lambda: client.llen("new-task") == 0)
    wait_until(lambda: running(supervisor) == TASKS)
    assert len(supervisor.workers()) == workers


def running(supervisor: SupervisorProcess) -> int:
    """The sum of the workers' own figures."""
    found = re.findall(r"worker \d+ \((\d+) running\)", " ".join(supervisor.titles()))
    return sum(map(int, found))


def test_a_killed_worker_is_replaced_and_its_tasks_run_again_in_a_second(
    start: Start, redis_server: RedisServer
) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        occupy(redis_server, supervisor, workers=2)
        wait_until(lambda: supervisor.age() > 1.5)
        before = supervisor.workers()
        supervisor.send(signal.SIGKILL, slot=1)
        killed = time.monotonic()
        supervisor.wait_for(f"tasks of worker 1 (pid {before[1]})")
        client = redis_server.client()
        wait_until(lambda: client.llen("new-task") == 0)
        recovered = time.monotonic() - killed
        assert recovered < 1
        supervisor.wait_ready(2, times=2)
        after = supervisor.workers()
        assert sorted(after) == [1, 2]
        assert after[1] != before[1]
        assert after[2] == before[2]
        wait_until(lambda: running(supervisor) == TASKS)
        assert re.search(
            r"worker 1 \(pid \d+\) was killed by SIGKILL \(out of memory, or somebody's kill -9\)"
            r", last seen with \d+ tasks running; the next one starts at once",
            supervisor.text,
        )
        assert supervisor.stop() == 0


def test_a_lone_workers_tasks_are_handed_back_by_its_replacement(start: Start, redis_server: RedisServer) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        occupy(redis_server, supervisor, workers=1)
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_for(f"back in the queue: {TASKS} tasks of worker 1")
        wait_until(lambda: running(supervisor) == TASKS)
        assert supervisor.stop() == 0


def test_all_workers_killed_at_once_all_come_back_with_all_tasks(start: Start, redis_server: RedisServer) -> None:
    with start("--workers", "3") as supervisor:
        supervisor.wait_ready(3)
        occupy(redis_server, supervisor, workers=3)
        victims = supervisor.workers()
        for pid in victims.values():
            os.kill(pid, signal.SIGKILL)
        supervisor.wait_for("back in the queue: ", 3)
        supervisor.wait_ready(3, times=2)
        wait_until(lambda: running(supervisor) == TASKS)
        assert not any(is_zombie(pid) for pid in victims.values())
        assert supervisor.stop() == 0
        assert redis_server.client().llen("new-task") == TASKS


def test_tasks_of_a_worker_that_was_killed_while_redis_was_away_come_back_with_it(
    folder: Path, own_server: RedisServer
) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--redis", own_server.url]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2)
        occupy(own_server, supervisor, workers=2)
        own_server.close_clients()
        own_server.stop()
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_for("cannot be reached")
        own_server.start()
        supervisor.wait_for("back in the queue: ")
        wait_until(lambda: running(supervisor) == TASKS, 20)
        assert supervisor.stop() == 0


def test_a_task_that_ends_the_process_with_exit_code_0_loses_nothing(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        task_id = helpers.start_task("vanish")
        wait_until(lambda: helpers.get_task(task_id).get("state") == "SUCCESS")
        assert redis_server.client().get("vanished") == b"2"
        supervisor.wait_ready(2, times=2)
        assert supervisor.stop() == 0


def test_what_a_dead_workers_task_had_started_dies_too(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        client = redis_server.client()
        helpers.start_task("parent")
        wait_until(lambda: client.get("program"))
        program = int(client.get("program") or 0)
        supervisor.send(signal.SIGKILL, slot=1)
        wait_until(lambda: not Path(f"/proc/{program}").exists() or is_zombie(program))
        # It runs again, in the successor, which ends it when it stops.
        wait_until(lambda: int(client.get("program") or 0) != program)
        assert supervisor.stop() == 0


def test_a_worker_that_dies_at_once_again_and_again_ends_it_with_exit_code_5(
    folder: Path, redis_server: RedisServer
) -> None:
    (folder / "dying.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    words = ["--app", "dying:app", "--workers", "2", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="hasty") as supervisor:
        supervisor.expected = ["giving up: worker"]
        assert supervisor.wait(60) == 5
        assert "died 10 times in a row before it had been ready for a second" in supervisor.text
        assert "was killed by SIGSEGV (native code crashed)" in supervisor.text
        assert 10 <= len(supervisor.lines("WARNING")) <= 20


def test_an_app_that_breaks_later_does_not_take_the_working_ones_down(folder: Path, redis_server: RedisServer) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="hasty") as supervisor:
        supervisor.wait_ready(2)
        wait_until(lambda: supervisor.age() > 1.5)
        good = (folder / "jobs.py").read_text()
        (folder / "jobs.py").write_text("import nosuchthing")
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_for("could not load the app (exit code 3)", 11, timeout=60)
        assert 2 in supervisor.workers()
        (folder / "jobs.py").write_text(good)
        supervisor.wait_ready(2, times=2)
        assert supervisor.stop() == 0
