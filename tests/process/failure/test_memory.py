"""Memory: the kernel's kills are told as such, and workers that grow are replaced before that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.cgroups import own_cgroup
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

LIMIT = 250 * 1024**2


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup below ours with a memory limit; where we may make none, there is nothing to test."""
    with own_cgroup("memory", "memory.limit_in_bytes", "memory.max", str(LIMIT)) as made:
        yield made


def test_a_kill_for_want_of_memory_is_told_and_the_third_ends_the_task(
    cgroup: Path, folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """F7: as the cgroup's counter tells it."""
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="confined", environ={"CONFINED_TO": str(cgroup)}) as supervisor:
        supervisor.wait_ready(2)
        supervisor.expected = ["Workers die under these tasks"]
        other = helpers.start_task("forever")
        task_id = helpers.start_task("glutton", megabytes=2000)
        supervisor.wait_for("was killed by the kernel: its cgroup is out of memory (oom_kill +1)", 3, timeout=60)
        wait_until(lambda: helpers.get_task(task_id).get("state") == "EXCEPTION", 20)
        wait_until(lambda: helpers.get_task(other).get("state") == "RUNNING", 20)
        assert supervisor.stop() == 0


def test_a_worker_that_grows_is_recycled_in_peace(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """F8: before it is killed for it."""
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url, "--max-memory", "150M"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2)
        before = supervisor.workers()
        ids = helpers.start_tasks([("forever", {})] * 10)
        task_id = helpers.start_task("glutton", megabytes=150)
        supervisor.wait_for("was recycled: its memory is ", timeout=40)
        helpers.stop_task(task_id)
        wait_until(lambda: len(supervisor.children()) == 2)
        assert len(set(before.values()) & set(supervisor.workers().values())) == 1
        wait_until(lambda: {state for [state] in helpers.get_tasks(ids, ["state"])} == {"RUNNING"}, 15)  # type: ignore[misc]
        assert supervisor.stop() == 0
        assert supervisor.lines("WARNING", "master") == []


def test_workers_are_recycled_for_their_tasks_and_every_task_ends(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url, "--max-tasks", "100"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2)
        before = set(supervisor.workers().values())
        ids = helpers.start_tasks([("hello", {})] * 500)
        wait_until(lambda: {state for [state] in helpers.get_tasks(ids, ["state"])} == {"SUCCESS"}, 20)  # type: ignore[misc]
        supervisor.wait_for("tasks have ended there", 2, timeout=20)
        wait_until(lambda: len(supervisor.children()) == 2)
        assert not before & set(supervisor.workers().values())
        assert supervisor.stop() == 0
        assert supervisor.lines("WARNING") == []
