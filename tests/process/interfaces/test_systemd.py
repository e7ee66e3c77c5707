"""What a service manager is told, through a real socket, as systemd makes it."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.control import NAME, Control
from tests.support.processes.notify_socket import NotifySocket
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[NotifySocket]:
    """One that listens in a folder."""
    with NotifySocket(str(tmp_path / "notify")) as made:
        yield made


def told(manager: NotifySocket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.address, **more}


def test_it_is_told_of_ready_workers_of_tasks_and_of_the_stop(
    start: Start, manager: NotifySocket, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2", environ=told(manager)) as supervisor:
        supervisor.wait_ready(2)
        wait_until(lambda: manager.count("READY=1"))
        words = manager.words()
        assert any(word.startswith("EXTEND_TIMEOUT_USEC=") for word in words[: words.index("READY=1")])
        helpers.start_tasks([("forever", {})] * 3)
        wait_until(lambda: manager.count("STATUS=2 of 2 workers ready, 3 tasks running"))
        assert supervisor.stop(signal.SIGTERM) == 0
        words = manager.words()
        assert words.count("READY=1") == words.count("STOPPING=1") == 1
        after = words[words.index("STOPPING=1") :]
        assert any(word.startswith("EXTEND_TIMEOUT_USEC=") for word in after)
        assert any(word.startswith("STATUS=stopping: ") for word in after)
        statuses = [word for word in words if word.startswith("STATUS=")]
        assert all(one != other for one, other in itertools.pairwise(statuses))


def test_ready_is_not_said_before_the_last_worker_is(folder: Path, start: Start, manager: NotifySocket) -> None:
    slow = "import os, time\nwhile os.path.exists('wait') and 'worker 2' in open('/proc/self/cmdline').read():\n"
    (folder / "slow.py").write_text(slow + "    time.sleep(0.01)\nfrom jobs import app\n")
    (folder / "wait").touch()
    with start("--workers", "2", app="slow:app", environ=told(manager)) as supervisor:
        wait_until(lambda: manager.count("STATUS=1 of 2 workers ready, 0 tasks running"))
        assert manager.count("READY=1") == 0
        (folder / "wait").unlink()
        wait_until(lambda: manager.count("READY=1"))
        assert supervisor.stop() == 0


@pytest.mark.parametrize("by", ["HUP", "pytaskctl"])
def test_a_reload_begins_with_reloading_and_ends_with_ready(
    start: Start, folder: Path, manager: NotifySocket, by: str
) -> None:
    control = Control(folder / NAME)
    with start("--workers", "2", *control.words, environ=told(manager)) as supervisor:
        wait_until(lambda: manager.count("READY=1"))
        before, workers = time.monotonic_ns() // 1000, supervisor.workers()
        if by == "HUP":
            supervisor.send(signal.SIGHUP)
        else:
            control.ask(do="reload")
        wait_until(lambda: manager.count("READY=1") == 2)
        words = manager.words()
        at = words.index("RELOADING=1")
        assert before < int(words[at + 1].removeprefix("MONOTONIC_USEC=")) < time.monotonic_ns() // 1000
        assert set(supervisor.workers().values()).isdisjoint(workers.values())
        assert supervisor.stop() == 0


def test_a_socket_in_no_folder_will_do_and_workers_do_not_see_it(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with NotifySocket(f"@pytask-test-{os.getpid()}") as manager:
        environ = told(manager, WATCHDOG_USEC="600000")
        with start("--workers", "1", environ=environ) as supervisor:
            supervisor.wait_ready(1)
            wait_until(lambda: manager.count("WATCHDOG=1") > 2)
            task_id = helpers.start_task("environment")
            wait_until(lambda: helpers.get_task(task_id).get("state") == "SUCCESS")
            assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(helpers.get_task(task_id)["output"].split('"'))
            assert supervisor.stop() == 0


def test_the_watchdog_is_fed_only_while_some_worker_answers(start: Start, manager: NotifySocket) -> None:
    environ = told(manager, WATCHDOG_USEC="900000")
    with start("--workers", "2", environ=environ) as supervisor:
        supervisor.wait_ready(2)
        wait_until(lambda: manager.count("WATCHDOG=1"))
        for slot in (1, 2):
            supervisor.send(signal.SIGSTOP, slot)
        wait_until(lambda: manager.since("WATCHDOG=1") > 2, 20)
        for pid in supervisor.workers().values():
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: manager.since("WATCHDOG=1") < 0.5)
        assert supervisor.stop() == 0


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed(start: Start, manager: NotifySocket) -> None:
    environ = told(manager, WATCHDOG_USEC="300000", WATCHDOG_PID="1")
    with start("--workers", "1", environ=environ) as supervisor:
        wait_until(lambda: manager.count("STATUS=1 of 1 worker ready, 0 tasks running"))
        assert supervisor.stop() == 0
        assert manager.count("WATCHDOG=1") == 0


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1234"])
def test_a_service_manager_that_cannot_be_told_harms_nobody(start: Start, address: str) -> None:
    with start("--workers", "1", environ={"NOTIFY_SOCKET": address}) as supervisor:
        supervisor.wait_ready(1)
        assert supervisor.stop() == 0
        assert len(supervisor.lines("WARNING", "master")) == 1
