"""Workers that die: replaced, their tasks run again, their end explained."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from pytask_supervisor.shared.exits import Exit
from tests.process.conftest import Start
from tests.support.processes.cgroups import own_cgroup
from tests.support.processes.supervisor_process import SupervisorProcess, is_zombie
from tests.support.servers.redis_server import RedisServer
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
            r"worker 1 \(pid \d+\) was killed by SIGKILL \(out of memory, or a kill -9\)"
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


def test_tasks_of_a_worker_that_had_to_leave_while_redis_was_away_come_back_with_it(
    folder: Path, own_server: RedisServer
) -> None:
    """Nobody has died: it said that it could not hand back what it held."""
    words = ["--app", "jobs:app", "--workers", "2", "--redis", own_server.url, "--graceful-timeout", "1"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2)
        occupy(own_server, supervisor, workers=2)
        own_server.close_clients()
        own_server.stop()
        supervisor.expected = ["Redis has not taken back"]
        supervisor.send(signal.SIGTTOU)
        supervisor.wait_for("Redis has not taken back")
        wait_until(lambda: len(supervisor.workers()) == 1)
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
        # Three of each place's equal ends are told, and the tenth is the reason.
        assert 6 <= len(supervisor.lines("WARNING")) <= 7


QUICKLY_DYING = """
import os
import gevent
import setproctitle
from pytask_core import PyTask

class Dying(PyTask):
    def create_worker(self, *arguments, **options):
        with open("births", "a") as births:
            births.write(setproctitle.getproctitle() + "\\n")
        gevent.spawn_later(0.1, os._exit, 7)
        return super().create_worker(*arguments, **options)

app = Dying()
"""


def test_a_crash_loop_has_few_words_and_an_end(folder: Path, redis_server: RedisServer) -> None:
    """F10: how long the pauses are at the real pace is a unit test's; they add half a minute."""
    (folder / "dying.py").write_text(QUICKLY_DYING)
    words = ["--app", "dying:app", "--workers", "4", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="hasty") as supervisor:
        supervisor.expected = ["giving up: worker"]
        assert supervisor.wait(60) == 5
        assert len(supervisor.text.splitlines()) <= 100
        (said,) = supervisor.lines("ERROR")
        assert re.fullmatch(
            r"giving up: worker \d died 10 times in a row .*; the last one ended with exit code 7", said
        )
    forks = Counter(re.findall(r"worker (\d)", (folder / "births").read_text()))
    assert sorted(forks) == ["1", "2", "3", "4"]
    assert max(forks.values()) <= 12


def test_a_bug_in_the_master_ends_it_with_its_traceback_and_exit_code_1_and_its_workers_leave_in_peace(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="faulty") as supervisor:
        supervisor.expected = ["unexpected error in the supervisor", "Traceback"]
        supervisor.wait_ready(2)
        helpers.start_tasks([("forever", {})] * 20)
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        supervisor.send(signal.SIGKILL, slot=1)
        assert supervisor.wait() == Exit.BUG
        assert "RuntimeError: a bug" in supervisor.text
        wait_until(lambda: not supervisor.left())
        # What the dead worker held is a Monitor's; the other one has put its own back.
        assert 0 < redis_server.client().llen("new-task") < 20


def test_where_processes_are_lacking_it_says_which_limit_and_goes_on(folder: Path, redis_server: RedisServer) -> None:
    """F38: no descriptors."""
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.expected = ["cannot be started", "could not be started"]
        supervisor.wait_ready(2)
        # So many descriptors as it has: none for another child.
        most = max(int(name) for name in os.listdir(f"/proc/{supervisor.pid}/fd")) + 1
        before = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (most, before[1]))
        supervisor.send(signal.SIGTTIN)
        limit = f"(Too many open files): RLIMIT_NOFILE (ulimit -n) is {most}"
        supervisor.wait_for(f"worker 3 cannot be started: no more file descriptors {limit}")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("SIGHUP is given up: the new worker 1 could not be started: no more file descriptors")
        resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, before)
        supervisor.wait_for("3 workers are ready", timeout=5)
        assert supervisor.text.count("worker 3 cannot be started") == 1
        assert supervisor.stop() == 0


def test_where_the_cgroup_has_no_more_processes_it_says_so_and_is_whole_again_soon_after(
    folder: Path, redis_server: RedisServer
) -> None:
    """F38: the cgroup's limit."""
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url]
    with (
        own_cgroup("pids", "pids.max", "pids.max", "max") as cgroup,
        SupervisorProcess(folder, *words, stage="confined", environ={"CONFINED_TO": str(cgroup)}) as supervisor,
    ):
        supervisor.expected = ["cannot be started", "could not be started"]
        supervisor.wait_ready(2)
        occupy(redis_server, supervisor, workers=2)
        (cgroup / "pids.max").write_text("1")
        supervisor.send(signal.SIGTTIN)
        supervisor.wait_for("worker 3 cannot be started: no more processes (Resource temporarily unavailable): ")
        supervisor.wait_for(", the cgroup's pids.max is 1; trying again every few seconds")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("SIGHUP is given up: the new worker 1 could not be started: no more processes")
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_for("worker 1 cannot be started: no more processes")
        # Worker 2 goes on, with what was in the hands of the other.
        wait_until(lambda: running(supervisor) == TASKS)
        (cgroup / "pids.max").write_text("max")
        supervisor.wait_for("3 workers are ready", timeout=5)
        assert supervisor.text.count(" cannot be started") == 2
        assert supervisor.stop() == 0


#: Processes and threads that the user of the next test may have.
MOST = 30


@pytest.fixture
def user() -> list[str]:
    """The words that make a command run as a user that nobody else is, who may read our files all the same."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody else, with setpriv, and the limit does not hold for root")
    number = 100_000 + os.getpid()
    words = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
    return [*words, "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]


@contextmanager
def crowd(user: list[str]) -> Iterator[None]:
    """As many processes of that user's as it may have; gone at the end, zombies and all, which count too."""
    with ExitStack() as stack:
        for _ in range(MOST):
            one = stack.enter_context(subprocess.Popen([*user, "sleep", "1000"]))
            stack.callback(one.kill)
        yield


def test_where_the_user_may_have_no_more_processes_it_says_so_and_goes_on_once_there_are_fewer(
    folder: Path, redis_server: RedisServer, user: list[str]
) -> None:
    """F38: the user's limit."""
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, launcher=["prlimit", f"--nproc={MOST}", *user]) as supervisor:
        supervisor.expected = ["worker 1 cannot be started", "worker 3 cannot be started"]
        supervisor.wait_ready(2)
        occupy(redis_server, supervisor, workers=2)
        with crowd(user):
            supervisor.send(signal.SIGTTIN)
            limit = f"no more processes (Resource temporarily unavailable): RLIMIT_NPROC (ulimit -u) is {MOST}"
            supervisor.wait_for(f"worker 3 cannot be started: {limit}")
            supervisor.send(signal.SIGKILL, slot=1)
            supervisor.wait_for(f"worker 1 cannot be started: {limit}")
            # What it held went to its sibling.
            wait_until(lambda: running(supervisor) == TASKS)
            assert list(supervisor.workers()) == [2]
        supervisor.wait_for("3 workers are ready", timeout=5)
        assert supervisor.text.count("cannot be started") == 2
        assert supervisor.stop() == 0


def test_where_a_process_fits_and_its_thread_does_not_the_limit_is_named_too(
    folder: Path, redis_server: RedisServer
) -> None:
    words = ["--app", "jobs:app", "--workers", "1", "--redis", redis_server.url]
    with (
        own_cgroup("pids", "pids.max", "pids.max", "max") as cgroup,
        SupervisorProcess(folder, *words, stage="confined", environ={"CONFINED_TO": str(cgroup)}) as supervisor,
    ):
        supervisor.expected = ["unexpected error (exit code 1)"]
        supervisor.wait_ready(1)
        room = int((cgroup / "pids.current").read_text()) + 1
        (cgroup / "pids.max").write_text(str(room))
        supervisor.send(signal.SIGTTIN)
        supervisor.wait_for(f"the cgroup's pids.max is {room}")
        (cgroup / "pids.max").write_text("max")
        supervisor.wait_ready(2)
        assert "Traceback" not in supervisor.text
        assert supervisor.stop() == 0


def test_an_app_that_breaks_later_does_not_take_the_working_ones_down(folder: Path, redis_server: RedisServer) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="hasty") as supervisor:
        supervisor.wait_ready(2)
        wait_until(lambda: supervisor.age() > 1.5)
        good = (folder / "jobs.py").read_text()
        (folder / "jobs.py").write_text("import nosuchthing")
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_for("could not load the app (exit code 3)", 3)
        supervisor.wait_for("; the same is not told again")
        assert 2 in supervisor.workers()
        (folder / "jobs.py").write_text(good)
        supervisor.wait_ready(2, times=2)
        assert supervisor.stop() == 0
