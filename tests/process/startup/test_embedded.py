"""``--redis embedded``: a server that starts before the workers and outlives them."""

from __future__ import annotations

import os
import re
import signal
from contextlib import closing
from pathlib import Path

import pytest
import redis

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import client_options
from tests.support.waiting import wait_until


@pytest.fixture
def home(folder: Path) -> Path:
    """Where the embedded server lives."""
    return folder / "v"


def client(home: Path) -> redis.Redis:
    """A client of the embedded server; use as a context."""
    return redis.Redis(unix_socket_path=str(home / "valkey.sock"), decode_responses=True, **client_options())


def occupy(mine: redis.Redis, name: str = "forever") -> list[str]:
    """Ten tasks that do not end; their ids."""
    with closing(PyTaskHelpers(mine)) as helpers:
        return helpers.start_tasks([(name, {})] * 10)


def test_the_server_starts_with_the_supervisor_and_stops_after_it(folder: Path, home: Path) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--redis", f"embedded:{home}"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2)
        with client(home) as mine:
            ids = occupy(mine)
            wait_until(lambda: mine.llen("new-task") == 0)
        assert supervisor.stop() == 0
        assert not (home / "valkey.sock").exists()
    # Requeued before the server left, and still there in the next one.
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2, times=2)
        with client(home) as mine:
            wait_until(lambda: all(mine.hget(f"task-{one}", "state") == "RUNNING" for one in ids))
        assert supervisor.stop() == 0


@pytest.fixture
def second_folder(folder: Path) -> Path:
    """Where another supervisor of the same app stands."""
    second = folder / "second"
    second.mkdir()
    (second / "jobs.py").write_text((folder / "jobs.py").read_text())
    return second


def test_a_second_supervisor_finds_the_firsts_server(folder: Path, second_folder: Path, home: Path) -> None:
    words = ["--app", "jobs:app", "--workers", "1", "--redis", f"embedded:{home}"]
    with SupervisorProcess(folder, *words) as first:
        first.wait_ready(1)
        with SupervisorProcess(second_folder, *words) as second:
            second.wait_ready(1)
            assert second.stop() == 0
        with client(home) as mine:
            assert mine.ping()
        assert first.stop() == 0


def test_a_supervisor_whose_server_left_with_another_one_starts_its_own(
    folder: Path, second_folder: Path, home: Path
) -> None:
    words = ["--app", "jobs:app", "--workers", "1", "--redis", f"embedded:{home}"]
    with SupervisorProcess(folder, *words) as first:
        first.wait_ready(1)
        with SupervisorProcess(second_folder, *words) as second:
            second.wait_ready(1)
            assert first.stop() == 0
            second.wait_for("the embedded server, which another supervisor had started, is gone")
            second.wait_for(" is back after ")
            with client(home) as mine:
                mine.hset("task-later", mapping={"task": "hello"})
                mine.lpush("new-task", "later")
                wait_until(lambda: mine.hget("task-later", "state") == "SUCCESS")
            assert second.stop() == 0


def test_workers_of_a_killed_master_requeue_before_the_server_leaves(folder: Path, home: Path) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--redis", f"embedded:{home}"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2)
        with client(home) as mine:
            ids = occupy(mine, "slow")
            wait_until(lambda: mine.llen("new-task") == 0)
        supervisor.send(signal.SIGKILL)
        supervisor.wait()
        wait_until(lambda: not supervisor.left(), 5, "nothing left")
        assert supervisor.text.count("Stopped after") == 2
    (folder / "supervisor.log").unlink()
    with SupervisorProcess(folder, *words, "--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        with client(home) as mine:
            wait_until(lambda: all(mine.hget(f"task-{one}", "state") == "RUNNING" for one in ids))
        assert supervisor.stop() == 0


def test_a_stop_while_the_server_starts_leaves_nothing(folder: Path, home: Path) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--redis", f"embedded:{home}"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_for("starts 2 workers")
        assert supervisor.stop(signal.SIGTERM) == 0


def test_a_guardian_that_is_killed_is_replaced(folder: Path, home: Path) -> None:
    words = ["--app", "jobs:app", "--workers", "1", "--redis", f"embedded:{home}"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.expected = ["the embedded server's guardian died"]
        supervisor.wait_ready(1)
        (guardian,) = set(supervisor.children()) - set(supervisor.workers().values())
        os.kill(guardian, signal.SIGKILL)
        supervisor.wait_for("the embedded server is started again")

        def is_back() -> bool:
            with client(home) as mine:
                try:
                    task_id = "hello-again"
                    mine.hset(f"task-{task_id}", mapping={"task": "hello"})
                    mine.lpush("new-task", task_id)
                    wait_until(lambda: mine.hget(f"task-{task_id}", "state") == "SUCCESS", 5)
                except (redis.ConnectionError, AssertionError):
                    return False
                return True

        wait_until(is_back, 20)
        assert supervisor.stop() == 0


def test_a_folder_that_cannot_be_is_one_line_and_exit_code_2(folder: Path) -> None:
    words = ["--app", "jobs:app", "--redis", "embedded:/proc/nowhere"]
    supervisor = SupervisorProcess(folder, *words)
    assert supervisor.wait() == 2
    assert re.search(r"ERROR \[master\] cannot keep the server's data in /proc/nowhere", supervisor.text)
    assert supervisor.text.count("\n") == 2


def test_embedded_and_an_app_with_its_own_redis_is_a_warning(folder: Path, home: Path, start: Start) -> None:
    (folder / "own.py").write_text(
        "from pytask_core import PyTask\nfrom jobs import Hello\n"
        f"app = PyTask('unix://{home}/valkey.sock')\napp.add_task(Hello)\n"
    )
    with start("--workers", "1", app="own:app", redis=f"embedded:{home}") as supervisor:
        supervisor.wait_ready(1)
        assert "--redis is not used" in supervisor.text
        assert supervisor.stop() == 0
