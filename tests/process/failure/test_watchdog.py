"""Workers that hang: who blocks them is named, they are killed, and their other tasks run elsewhere."""

from __future__ import annotations

import re
import signal
import time

import psutil

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


def occupy(redis_server: RedisServer, helpers: PyTaskHelpers, count: int) -> list[str]:
    """Tasks for ever, all of which run."""
    ids = helpers.start_tasks([("forever", {})] * count)
    wait_until(lambda: redis_server.client().llen("new-task") == 0)
    return ids


def held_by(redis_server: RedisServer, supervisor: SupervisorProcess) -> dict[int, int]:
    """How many tasks each living worker holds, by its process id."""
    client = redis_server.client(decode_responses=True)
    found = dict.fromkeys(supervisor.workers().values(), 0)
    for key in client.keys("{tasks}:held:*"):
        pid = int(key.rsplit("-", 2)[1])
        if pid in found:
            found[pid] = client.scard(key)
    return found


def test_what_blocks_the_loop_is_named_and_after_the_timeout_the_rest_runs_elsewhere(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2", "--hang-timeout", "3", "--graceful-timeout", "1") as supervisor:
        supervisor.wait_ready(2)
        occupy(redis_server, helpers, 20)
        task_id = helpers.start_task("blocker")
        began = time.monotonic()
        supervisor.wait_for(f"task '{task_id}' (blocker) blocks the loop at ")
        assert time.monotonic() - began < 3
        named = next(line for line in supervisor.text.splitlines() if "blocks the loop at" in line)
        assert re.search(r"WARNING \[worker \d\] .*/jobs\.py:\d+ in start: for \d\.\d s no other task", named)
        assert "executor.py" not in named
        helpers.stop_task(task_id)  # It cannot hear it now, but must not block the next worker.

        supervisor.wait_for("hangs and is killed: task ")
        supervisor.wait_for("back in the queue: ")
        # The stacks of all came before the kill.
        dumped = supervisor.text.partition("hangs and is killed")[0]
        assert re.search(r"\d+ tasks stand: '[^:]*, at\n  \S+jobs\.py:\d+ in start\n    gevent\.sleep\(60\)", dumped)
        assert re.search(rf"Task '{task_id}' \(blocker\) stands at\n  \S+jobs\.py:\d+ in start\n", dumped)
        assert f"hung and was killed: task '{task_id}' (blocker) blocks" in supervisor.text
        wait_until(lambda: sum(held_by(redis_server, supervisor).values()) == 20, 15)
        assert helpers.get_task(task_id)["state"] == "STOPPED"
        assert supervisor.stop() == 0


def test_a_task_that_blocks_in_a_greenlet_of_its_own_is_named_too(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "1", "--hang-timeout", "0") as supervisor:
        supervisor.wait_ready(1)
        task_id = helpers.start_task("brooder", seconds=2.2)
        supervisor.wait_for(f"task '{task_id}' (brooder) blocks the loop at ")
        # Once the loop runs again nothing is held against it.
        wait_until(lambda: helpers.get_task(task_id).get("state") == "SUCCESS")
        assert supervisor.stop() == 0
        assert supervisor.text.count("blocks the loop") == 1


def test_native_code_that_keeps_the_lock_is_found_by_its_silence_and_its_stack_is_written(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2", "--hang-timeout", "7") as supervisor:
        supervisor.wait_ready(2)
        occupy(redis_server, helpers, 10)
        task_id = helpers.start_task("sealed")
        supervisor.wait_for("it runs, but native code keeps the interpreter's lock; it is killed after 7 s")
        wait_until(lambda: re.search(r'File ".*/jobs\.py", line \d+ in start', supervisor.text), 2)
        assert "hangs and is killed" not in supervisor.text
        helpers.stop_task(task_id)
        supervisor.wait_for("hangs and is killed: it runs, but native code")
        assert len(re.findall(r'File ".*/jobs\.py", line \d+ in start', supervisor.text)) == 2
        supervisor.wait_for("back in the queue: ")
        wait_until(lambda: sum(held_by(redis_server, supervisor).values()) == 10, 15)
        assert supervisor.stop() == 0


def test_a_stopped_worker_is_named_killed_and_its_tasks_run_elsewhere(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2", "--hang-timeout", "5") as supervisor:
        supervisor.wait_ready(2)
        occupy(redis_server, helpers, 20)
        before = supervisor.workers()
        supervisor.send(signal.SIGSTOP, slot=1)
        began = time.monotonic()
        supervisor.wait_for(f"worker 1 (pid {before[1]}) has given no sign of life for ")
        assert "it is stopped (SIGSTOP" in supervisor.text
        assert time.monotonic() - began < 6
        supervisor.wait_for("worker 1 hangs and is killed", 0)
        supervisor.wait_ready(2, times=2)
        assert supervisor.workers()[2] == before[2]
        wait_until(lambda: sum(held_by(redis_server, supervisor).values()) == 20, 15)
        assert supervisor.stop() == 0
        assert "hung and was killed: it is stopped" in supervisor.text


def test_a_worker_that_is_stopped_for_a_moment_is_left_alone(start: Start) -> None:
    with start("--workers", "1", "--hang-timeout", "20") as supervisor:
        supervisor.wait_ready(1)
        before = supervisor.workers()
        supervisor.send(signal.SIGSTOP, slot=1)
        supervisor.wait_for("has given no sign of life for ")
        supervisor.send(signal.SIGCONT, slot=1)
        supervisor.wait_for("gives signs of life again")
        supervisor.send(signal.SIGTTIN)
        supervisor.wait_ready(2)
        assert supervisor.workers()[1] == before[1]
        assert supervisor.stop() == 0


def test_a_master_that_was_stopped_for_longer_than_the_timeout_blames_nobody(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """F5: the tasks go on meanwhile, and new ones begin."""
    with start("--workers", "2", "--hang-timeout", "2") as supervisor:
        supervisor.wait_ready(2)
        occupy(redis_server, helpers, 20)
        held, before = held_by(redis_server, supervisor), supervisor.workers()
        supervisor.send(signal.SIGSTOP)
        time.sleep(3.5)  # More than the timeout is what is tested.
        quick = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(quick).get("state") == "SUCCESS")
        supervisor.send(signal.SIGCONT)
        supervisor.wait_for("the supervisor itself did not run for")
        supervisor.send(signal.SIGTTIN)
        # Also not a while later, when it has looked at them often.
        supervisor.wait_ready(3)
        wait_until(lambda: psutil.Process(before[1]).status() != psutil.STATUS_ZOMBIE)
        supervisor.send(signal.SIGTTOU)
        wait_until(lambda: len(supervisor.workers()) == 2)
        assert supervisor.workers() == before
        assert held_by(redis_server, supervisor) == held
        assert "the supervisor itself did not run for" in supervisor.text
        assert supervisor.stop() == 0
        assert "hangs" not in supervisor.text


def test_usr1_tells_where_each_task_stands(start: Start, redis_server: RedisServer, helpers: PyTaskHelpers) -> None:
    with start("--workers", "2", "--hang-timeout", "0") as supervisor:
        supervisor.wait_ready(2)
        ids = occupy(redis_server, helpers, 10)
        blocker = helpers.start_task("blocker")
        supervisor.wait_for("(blocker) blocks the loop")
        supervisor.send(signal.SIGUSR1)
        supervisor.wait_for(f"Task '{blocker}' (blocker) stands at\n")

        def untold() -> list[str]:
            # Workers may be faster than the master's own line about the signal.
            return [one for one in ids if f"'{one}' (forever)" not in supervisor.text]

        wait_until(lambda: not untold())
        supervisor.wait_for("gevent.sleep(60)", 2)
        supervisor.send(signal.SIGINT)
        supervisor.wait_for("SIGINT: stopping")
        assert supervisor.stop() == 6


def test_a_worker_without_tasks_says_so(start: Start) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        supervisor.send(signal.SIGUSR1)
        supervisor.wait_for("[worker 1] There is no task here")
        assert supervisor.stop() == 0
