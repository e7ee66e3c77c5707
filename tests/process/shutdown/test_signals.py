"""What each signal does to a running supervisor, and that none is lost at any moment."""

from __future__ import annotations

import os
import pty
import random
import signal
import time
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_int_and_term_stop_it_with_exit_code_0(start: Start, signum: int) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        assert supervisor.stop(signum, timeout=3) == 0
        assert f"{signal.Signals(signum).name}: stopping 2 workers" in supervisor.text
        assert supervisor.lines("INFO", "master")[-1] == "all workers have left"


def test_ctrl_c_in_a_terminal_reaches_each_worker_once(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """The terminal sends INT to its whole foreground group: that must be the master alone."""
    controller, terminal = pty.openpty()
    words = ["--app", "jobs:app", "--workers", "3", "--redis", redis_server.url]
    supervisor = SupervisorProcess(folder, *words, stage="own_terminal", stdin=terminal)
    os.close(terminal)
    with supervisor:
        supervisor.wait_ready(3)
        helpers.start_tasks([("forever", {})] * 30)
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        # Whoever is in the terminal's foreground group is hit by the terminal and by the master.
        assert os.tcgetpgrp(controller) == os.getpgid(supervisor.pid)
        assert os.getpgid(supervisor.pid) not in map(os.getpgid, supervisor.workers().values())
        os.write(controller, b"\x03")
        assert supervisor.wait(3) == 0
        assert supervisor.text.count("Stopping. ") == 3
        assert supervisor.text.count("SIGINT: ") == 1
        assert redis_server.client().llen("new-task") == 30
    os.close(controller)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_kills_what_is_left(
    start: Start, redis_server: RedisServer, second: int, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        helpers.start_task("blocker")
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        supervisor.send(signal.SIGINT)
        # The one without the blocking task leaves; the other cannot.
        supervisor.wait_for("Stopped after")
        wait_until(lambda: len(supervisor.children()) == 1)
        supervisor.send(second)
        assert supervisor.wait(2) == 6
        assert "killing what is left: 1 worker" in supervisor.text


def test_a_second_signal_when_all_have_left_is_no_kill(start: Start) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        for _ in range(20):
            supervisor.send(signal.SIGINT)
            time.sleep(0.001)
            if supervisor.process.poll() is not None:
                break
        # How far the workers had come is chance; what is said of it must be true.
        code = supervisor.wait(3)
        assert code == 0 or (code == 6 and "killing" in supervisor.text)


def test_quit_requeues_at_once_without_waiting_for_stop(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        client = redis_server.client()
        helpers.start_tasks([("dawdler", {})] * 20)
        wait_until(lambda: client.llen("new-task") == 0)
        began = time.monotonic()
        assert supervisor.stop(signal.SIGQUIT) == 0
        # A stop() is given ten seconds.
        assert time.monotonic() - began < 5
        assert client.llen("new-task") == 20
        assert "SIGQUIT: stopping 2 workers at once" in supervisor.text
        assert supervisor.lines("WARNING") == []


def test_quit_after_a_stop_hurries_it(start: Start, redis_server: RedisServer, helpers: PyTaskHelpers) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        helpers.start_task("dawdler")
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        supervisor.send(signal.SIGTERM)
        supervisor.wait_for("Stopping. ")
        assert supervisor.stop(signal.SIGQUIT, timeout=4) == 0
        assert redis_server.client().llen("new-task") == 1


def test_quit_kills_a_worker_that_cannot_hear_it(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        helpers.start_task("blocker")
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        assert supervisor.stop(signal.SIGQUIT, timeout=10) == 6
        assert "did not stop within 4 s and is killed" in supervisor.text


def test_ttin_adds_a_worker_and_ttou_takes_one_away_down_to_one(start: Start) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        supervisor.send(signal.SIGTTOU)
        supervisor.wait_for("SIGTTOU: it stays at 1 worker")
        supervisor.send(signal.SIGTTIN)
        supervisor.wait_for("SIGTTIN: one more, 2 workers now")
        supervisor.send(signal.SIGTTIN)
        supervisor.wait_ready(3)
        assert sorted(supervisor.workers()) == [1, 2, 3]
        # Two at once would be one: the kernel does not count signals.
        for left in ("2 workers", "1 worker"):
            supervisor.send(signal.SIGTTOU)
            supervisor.wait_for(f"SIGTTOU: one fewer, {left} now")
        wait_until(lambda: sorted(supervisor.workers()) == [1])
        assert supervisor.stop() == 0


def test_the_tasks_of_a_worker_taken_away_run_in_another(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        helpers.start_tasks([("forever", {})] * 40)
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        supervisor.send(signal.SIGTTOU)
        wait_until(lambda: sorted(supervisor.workers()) == [1])
        wait_until(lambda: "40 running" in " ".join(supervisor.titles()))
        assert supervisor.stop() == 0


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_what_is_meant_for_the_master_does_not_harm_a_worker(start: Start, signum: int) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        before = supervisor.workers()
        supervisor.send(signum, slot=1)
        supervisor.send(signal.SIGTTIN)
        supervisor.wait_ready(2)
        assert supervisor.workers()[1] == before[1]
        assert supervisor.stop() == 0
        assert supervisor.lines("WARNING") == []


def test_usr2_makes_all_quiet_and_a_second_one_ends_that(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        client = redis_server.client()
        held = helpers.start_task("forever")
        wait_until(lambda: helpers.get_task(held).get("state") == "RUNNING")
        supervisor.send(signal.SIGUSR2)
        supervisor.wait_for("SIGUSR2: workers are quiet")
        # A worker that is born now is told as well.
        supervisor.send(signal.SIGTTIN)
        supervisor.wait_ready(3)
        wait_until(lambda: not waiting_for_work(redis_server), message="no take is under way")
        ids = helpers.start_tasks([("hello", {})] * 20)
        time.sleep(1.5)  # More than a take lasts: nothing may happen meanwhile.
        assert client.llen("new-task") == 20
        assert helpers.get_task(held)["state"] == "RUNNING"
        supervisor.send(signal.SIGUSR2)
        supervisor.wait_for("SIGUSR2: workers claim again")
        wait_until(lambda: {helpers.get_task(one)["state"] for one in ids} == {"SUCCESS"})
        assert supervisor.stop() == 0


def waiting_for_work(redis_server: RedisServer) -> list[dict[str, str]]:
    """The connections on which a worker waits for something to claim."""
    clients = redis_server.client(decode_responses=True).client_list()
    return [one for one in clients if one["name"].startswith("pytask-take-") and "b" in one["flags"]]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_somebody_asked_to_stop_leaves_cleanly_and_is_replaced(
    start: Start, redis_server: RedisServer, signum: int, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        helpers.start_tasks([("forever", {})] * 5)
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        supervisor.send(signum, slot=1)
        supervisor.wait_ready(1, times=2)
        assert "told by a signal that was not ours; the next one starts" in supervisor.text
        assert "back in the queue:" not in supervisor.text
        wait_until(lambda: "5 running" in " ".join(supervisor.titles()))
        assert supervisor.stop() == 0


def test_a_stopped_and_continued_master_changes_nothing(start: Start) -> None:
    """F5: the signal that came meanwhile is obeyed."""
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        before = supervisor.workers()
        supervisor.send(signal.SIGSTOP)
        supervisor.send(signal.SIGTERM)
        time.sleep(1.5)  # Time for beats to pile up, which is what is tested.
        assert all(Path(f"/proc/{pid}").exists() for pid in before.values())
        supervisor.send(signal.SIGCONT)
        assert supervisor.wait(3) == 0


SLOW_IMPORT = """
import sys, time
from jobs import app
print("importing", file=sys.stderr)
time.sleep(30)
"""

SWALLOWING_IMPORT = """
import sys, time
from jobs import app
print("importing", file=sys.stderr)
for _ in range(3):
    try:
        time.sleep(0.5)
    except BaseException:
        pass
"""


@pytest.mark.parametrize("code", [SLOW_IMPORT, SWALLOWING_IMPORT])
def test_a_stop_while_the_app_is_being_imported_is_prompt_and_clean(folder: Path, start: Start, code: str) -> None:
    (folder / "slow.py").write_text(code)
    with start("--workers", "2", app="slow:app") as supervisor:
        supervisor.wait_for("importing", 2)
        assert supervisor.stop(signal.SIGTERM, timeout=4) == 0
        assert supervisor.lines("WARNING") == []


def test_a_stop_at_the_very_moment_of_the_fork_is_not_lost(folder: Path, redis_server: RedisServer) -> None:
    """Each child is sent TERM before its first line runs, so each must leave, and none get ready."""
    words = ["--app", "jobs:app", "--workers", "1", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="struck_at_birth") as supervisor:
        supervisor.expected = ["giving up: worker"]
        assert supervisor.wait(60) == 5
        assert "died 10 times in a row before it had been ready for a second" in supervisor.text
        assert "the last one left by itself (exit code 0)" in supervisor.text
        assert "Worker " not in supervisor.text


STRUCK_AFTER_LOADING = """
import os, signal
from pytask_core import PyTask

class Struck(PyTask):
    def create_worker(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().create_worker(*arguments, **options)

app = Struck()
"""


def test_a_stop_between_loading_and_running_is_not_lost(folder: Path, redis_server: RedisServer) -> None:
    (folder / "struck.py").write_text(STRUCK_AFTER_LOADING)
    words = ["--app", "struck:app", "--workers", "1", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="hasty") as supervisor:
        supervisor.expected = ["giving up: worker"]
        assert supervisor.wait(60) == 5
        assert "died 10 times in a row before it had been ready for a second" in supervisor.text
        assert "the last one left by itself (exit code 0)" in supervisor.text
        assert "ready" not in supervisor.text.replace("had been ready", "")


@pytest.mark.parametrize("seed", range(3))
def test_a_stop_at_any_moment_of_the_start_ends_with_0_and_nothing_left(
    folder: Path, redis_server: RedisServer, seed: int
) -> None:
    dice = random.Random(seed)
    words = ["--app", "jobs:app", "--workers", "3", "--redis", redis_server.url]
    for _ in range(15):
        (folder / "supervisor.log").unlink(missing_ok=True)
        with SupervisorProcess(folder, *words) as supervisor:
            supervisor.wait_for("starts 3 workers")
            # The moment is the test's point, so it is a span of time and not a condition.
            time.sleep(dice.choice([0, dice.uniform(0, 0.02), dice.uniform(0, 0.8)]))
            signum = dice.choice([signal.SIGTERM, signal.SIGINT])
            assert supervisor.stop(signum, timeout=5) == 0, supervisor.text
            assert supervisor.lines("WARNING") == []


def test_as_process_1_it_reaps_strangers(folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers) -> None:
    """A grandchild whose parent died becomes ours, as everybody's in a container does."""
    words = ["--app", "jobs:app", "--workers", "1", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="subreaper") as supervisor:
        supervisor.wait_ready(1)
        helpers.start_task("orphan")
        wait_until(lambda: redis_server.client().get("orphan"))
        stranger = int(redis_server.client().get("orphan") or 0)
        wait_until(lambda: not Path(f"/proc/{stranger}").exists(), message="the stranger is reaped")
        assert supervisor.stop() == 0
