"""As process 1 of a container: a real process-id namespace, where orphans come to us and the kernel spares us."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess, is_zombie
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

STRANGERS = '''
import subprocess
import sys

from jobs import app
from pytask_core import Task

# Each is forked twice, so that its parent is gone: half of them end before that, half of them after.
FORKS = """
import os, time
for number in range(1000):
    if os.fork() == 0:
        parent = os.getpid()
        if os.fork() == 0:
            while number % 2 and os.getppid() == parent:
                time.sleep(0.001)
            os._exit(number % 256)
        os._exit(0)
    os.wait()
"""


class Strangers(Task):
    NAME = "strangers"

    def start(self):
        return subprocess.run([sys.executable, "-c", FORKS]).returncode


app.add_task(Strangers)
'''


class Contained(SupervisorProcess):
    """The master is process 1 of a namespace of its own; here it is known by its number outside."""

    @property
    def pid(self) -> int:
        (master,) = psutil.Process(self.process.pid).children()
        return master.pid


Run = Callable[..., Contained]


@pytest.fixture(scope="session")
def namespace() -> list[str]:
    """The command that makes one, or a skip that says why there is none."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare on this machine")
    words = [unshare, "--pid", "--fork", "--mount-proc"]
    # Who is not root may still be root of a user namespace.
    words += [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    probe = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"the kernel allows no process-id namespace: {probe.stderr.strip()}")
    return words


@pytest.fixture
def contained(folder: Path, redis_server: RedisServer, namespace: list[str]) -> Run:
    """Start a supervisor as process 1."""
    (folder / "strangers.py").write_text(STRANGERS)

    def run(*arguments: str) -> Contained:
        words = ["--app", "strangers:app", "--redis", redis_server.url, *arguments]
        return Contained(folder, *words, launcher=namespace)

    return run


def test_it_reaps_a_thousand_strangers_and_takes_none_for_a_worker(
    contained: Run, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """F14: whatever they exit with."""
    with contained("--workers", "2", "--pidfile", "here.pid") as supervisor:
        supervisor.wait_ready(2)
        assert (supervisor.folder / "here.pid").read_text() == "1\n"
        master, workers = supervisor.pid, supervisor.workers()
        task_id = helpers.start_task("strangers")
        wait_until(lambda: helpers.get_task(task_id).get("state") not in (None, "WAIT", "RUNNING"), 30)
        assert helpers.get_task(task_id)["output"] == "0"
        # All that is left below us is our own workers, and none of them is dead.
        wait_until(lambda: sorted(supervisor.children()) == sorted(workers.values()), 5)
        assert not any(map(is_zombie, supervisor.children()))
        assert supervisor.workers() == workers
        assert supervisor.lines("WARNING") == []
        os.kill(master, signal.SIGTERM)
        assert supervisor.wait(10) == 0


def test_a_stop_of_the_container_is_graceful_and_puts_every_task_back(
    contained: Run, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """F14: as ``docker stop`` does: SIGTERM to process 1, which ignores what it does not handle."""
    with contained("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        ids = helpers.start_tasks([("forever", {})] * 20)
        client = redis_server.client(decode_responses=True)
        wait_until(lambda: client.llen("new-task") == 0)
        os.kill(supervisor.pid, signal.SIGTERM)
        assert supervisor.wait(10) == 0
        assert sorted(client.lrange("new-task", 0, -1)) == sorted(ids)
        assert {client.hget(f"task-{one}", "state") for one in ids} == {"WAIT"}


def test_a_worker_killed_in_a_container_is_replaced(contained: Run, redis_server: RedisServer) -> None:
    with contained("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_ready(1, times=2)
        os.kill(supervisor.pid, signal.SIGTERM)
        assert supervisor.wait(10) == 0
