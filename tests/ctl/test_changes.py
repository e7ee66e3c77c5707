"""``pytaskctl workers reload|restart --wait``: it ends when it is known what became of it, and the exit code tells."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from pytask_supervisor.ctl.control_client import ask
from tests.support.processes.control import NAME, Control
from tests.support.processes.ctl_process import CtlProcess
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

#: The app is not loaded while there is a file named ``hold``; a stubborn task swallows whatever is thrown at it.
JOBS = """
import os, time
import gevent
from pytask_core import Cleanup, Monitor, PyTask, Task

while os.path.exists("hold"):
    time.sleep(0.02)

class Stubborn(Task):
    NAME = "stubborn"

    def start(self):
        while True:
            try:
                gevent.sleep(60)
            except BaseException:
                pass

app = PyTask()
app.add_tasks(Monitor, Cleanup, Stubborn)
"""

each_way = pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preloaded"])

Start = Callable[..., SupervisorProcess]
Run = Callable[..., AbstractContextManager[SupervisorProcess]]
Ctl = Callable[..., CtlProcess]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


@pytest.fixture
def control(folder: Path) -> Control:
    return Control(folder / NAME)


@pytest.fixture
def start(folder: Path, redis_server: RedisServer, control: Control) -> Start:
    words = ["--app", "jobs:app", "--redis", redis_server.url, *control.words]
    return lambda *more: SupervisorProcess(folder, *words, *more)


@pytest.fixture
def hold(folder: Path) -> Path:
    """While this file is there, the app is not loaded."""
    return folder / "hold"


@pytest.fixture
def run(start: Start, hold: Path) -> Run:
    """A supervisor that is ready; ``held``: no app is loaded after that. It is stopped at the end."""

    @contextmanager
    def running(
        workers: int, *more: str, held: bool = False, expected: Sequence[str] = ()
    ) -> Iterator[SupervisorProcess]:
        with start("--workers", str(workers), *more) as supervisor:
            supervisor.expected = list(expected)
            supervisor.wait_ready(workers)
            if held:
                hold.touch()
            yield supervisor
            assert supervisor.stop() == 0

    return running


@pytest.fixture
def ctl(control: Control) -> Iterator[Ctl]:
    """Begin ``pytaskctl workers`` with these words, as a process."""
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(CtlProcess("unix:///nowhere", "workers", *words, *control.words))


def ended(process: CtlProcess) -> tuple[int, str, str]:
    """Its exit code and what it wrote."""
    out, err = process.process.communicate(timeout=60)
    return process.process.returncode, out, err


def break_code(folder: Path) -> None:
    jobs = folder / "jobs.py"
    jobs.write_text(f"import nosuchthing\n{JOBS}")
    later = jobs.stat().st_mtime + 10
    os.utime(jobs, (later, later))


def wait_state(control: Control, *states: str) -> None:
    wait_until(lambda: [change["state"] for change in control.ask(do="show")["changes"]] == list(states), 20)


@each_way
@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_it_ends_well_once_every_worker_is_replaced_and_the_old_ones_are_gone(
    run: Run, ctl: Ctl, verb: str, preload: tuple[str, ...]
) -> None:
    with run(2, *preload) as supervisor:
        before = set(supervisor.workers().values())
        code, out, err = ended(ctl(verb, "--wait"))
        assert (code, out.splitlines()[-1], err) == (0, "2 workers replaced", "")
        assert len(supervisor.workers()) == 2
        assert not before & set(supervisor.children())


def test_it_waits_for_one_worker_where_one_was_named(run: Run, ctl: Ctl) -> None:
    with run(2) as supervisor:
        before = supervisor.workers()
        assert ended(ctl("restart", "2", "--wait"))[0] == 0
        assert {slot for slot, pid in supervisor.workers().items() if pid != before[slot]} == {2}
        assert ended(ctl("restart", "7", "--wait")) == (1, "", "pytaskctl: there is no worker 7; there are: 1, 2\n")


@each_way
def test_code_that_cannot_be_loaded_is_exit_code_1_and_says_why(
    run: Run, ctl: Ctl, folder: Path, preload: tuple[str, ...]
) -> None:
    with run(2, *preload, expected=["is given up"]):
        break_code(folder)
        code, _, err = ended(ctl("reload", "--wait"))
        assert code == 1
        assert err.startswith("pytaskctl: the reload is given up")
        assert "nosuchthing" in err
        (folder / "jobs.py").write_text(JOBS)
        assert ended(ctl("reload", "--wait"))[0] == 0


def test_a_configuration_that_cannot_be_used_is_exit_code_1(run: Run, ctl: Ctl, folder: Path) -> None:
    with run(1):
        (folder / "pyproject.toml").write_text("[tool.pytask-supervisor]\ngraceful-timeout = 'soon'\n")
        code, out, err = ended(ctl("reload", "--wait"))
        assert (code, out) == (1, "")
        assert "the configuration cannot be used, so nothing changes" in err


@each_way
def test_an_app_that_hangs_while_it_is_loaded_is_exit_code_1_once_it_is_given_up(
    run: Run, ctl: Ctl, folder: Path, preload: tuple[str, ...]
) -> None:
    with run(1, "--hang-timeout", "2", *preload, held=True, expected=["is given up", "hangs and is killed"]):
        code, _, err = ended(ctl("reload", "--wait"))
        assert code == 1
        assert "is given up" in err


def test_an_old_worker_that_does_not_stop_is_waited_for_until_it_is_killed(
    start: Start, ctl: Ctl, redis_server: RedisServer
) -> None:
    with start("--workers", "1", "--graceful-timeout", "2", "--drain-timeout", "1") as supervisor:
        supervisor.expected = ["stubborn"]
        supervisor.wait_ready(1)
        helpers = PyTaskHelpers(redis_server.client(decode_responses=True))
        task_id = helpers.start_task("stubborn")
        wait_until(lambda: helpers.get_task(task_id, "state") == "RUNNING")
        (before,) = supervisor.workers().values()
        assert ended(ctl("restart", "--wait"))[0] == 0
        assert before not in supervisor.children()
        helpers.stop_task(task_id)
        supervisor.stop()


def test_what_is_not_known_in_time_is_exit_code_3_and_goes_on(run: Run, ctl: Ctl, hold: Path) -> None:
    with run(1, held=True):
        code, _, err = ended(ctl("restart", "--wait", "--timeout", "0.6"))
        assert (code, err) == (3, "pytaskctl: the restart has not finished in time, and goes on (0 of 1 replaced)\n")
        waiting = ctl("restart", "--wait", "--timeout", "20")
        hold.unlink()
        assert ended(waiting)[0] == 0


def test_a_supervisor_that_stops_meanwhile_is_exit_code_1(start: Start, ctl: Ctl, hold: Path) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        hold.touch()
        waiting = ctl("reload", "--wait")
        supervisor.wait_for("is about to be replaced")
        assert supervisor.stop(signal.SIGTERM) == 0
        code, _, err = ended(waiting)
        assert code == 1
        assert "the supervisor was told to stop" in err or "the supervisor ended before" in err


def test_a_supervisor_that_is_killed_meanwhile_is_exit_code_1(start: Start, ctl: Ctl, hold: Path) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        hold.touch()
        waiting = ctl("reload", "--wait")
        supervisor.wait_for("is about to be replaced")
        supervisor.send(signal.SIGKILL)
        assert ended(waiting)[::2] == (1, "pytaskctl: the supervisor ended before the reload did\n")
        hold.unlink()
        supervisor.wait()


def test_another_supervisor_that_took_its_place_meanwhile_is_exit_code_3(
    start: Start, ctl: Ctl, hold: Path, control: Control
) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        hold.touch()
        waiting = ctl("restart", "--wait")
        supervisor.wait_for("is about to be replaced")
        os.kill(waiting.process.pid, signal.SIGSTOP)
        supervisor.send(signal.SIGKILL)
        supervisor.wait()
        hold.unlink()
        with start("--workers", "1") as successor:
            successor.wait_ready(1, times=2)
            os.kill(waiting.process.pid, signal.SIGCONT)
            code, _, err = ended(waiting)
            assert (code, "the result of the restart is not known" in err) == (3, True)
            assert successor.stop() == 0


def test_a_supervisor_that_is_silent_for_a_while_is_waited_for(run: Run, ctl: Ctl, hold: Path) -> None:
    with run(1, held=True) as supervisor:
        waiting = ctl("restart", "--wait")
        supervisor.wait_for("is about to be replaced")
        supervisor.send(signal.SIGSTOP)
        hold.unlink()
        # Longer than an answer may take.
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 6 or waiting.process.poll() is not None, 10)
        supervisor.send(signal.SIGCONT)
        assert ended(waiting)[0] == 0


@each_way
def test_all_who_wait_learn_how_the_last_one_ends_that_took_over(
    run: Run, ctl: Ctl, hold: Path, control: Control, preload: tuple[str, ...]
) -> None:
    """Two that wait, and a signal between them."""
    with run(2, *preload, held=True) as supervisor:
        first = ctl("reload", "--wait")
        wait_until(lambda: len(control.ask(do="show")["changes"]) == 1)
        supervisor.send(signal.SIGHUP)
        wait_until(lambda: len(control.ask(do="show")["changes"]) == 2)
        second = ctl("reload", "--wait")
        wait_state(control, "superseded", "superseded", "asked" if preload else "rolling")
        hold.unlink()
        assert [ended(each)[0] for each in (first, second)] == [0, 0]
        assert [change["by"] for change in control.ask(do="show")["changes"]] == [
            "pytaskctl workers reload",
            "SIGHUP",
            "pytaskctl workers reload",
        ]
        wait_state(control, "replaced", "replaced", "replaced")


def test_one_that_is_superseded_by_one_that_is_given_up_is_given_up(
    run: Run, ctl: Ctl, folder: Path, control: Control
) -> None:
    with run(2, held=True, expected=["is given up"]) as supervisor:
        waiting = ctl("restart", "--wait")
        wait_state(control, "rolling")
        break_code(folder)
        supervisor.send(signal.SIGHUP)
        code, _, err = ended(waiting)
        assert (code, "nosuchthing" in err) == (1, True)
        wait_state(control, "given_up", "given_up")


def test_a_restart_of_one_worker_while_all_are_reloaded_ends_neither(
    run: Run, ctl: Ctl, hold: Path, control: Control
) -> None:
    with run(3, held=True):
        all_of_them = ctl("reload", "--wait", "--json")
        wait_state(control, "rolling")
        one = ctl("restart", "3", "--wait", "--json")
        wait_state(control, "rolling", "asked")
        hold.unlink()
        (code, out, err), (code_of_one, out_of_one, _) = ended(all_of_them), ended(one)
        assert (code, code_of_one, err) == (0, 0, "")
        told, told_of_one = json.loads(out), json.loads(out_of_one)
        assert (told["change"]["workers"], told["change"]["replaced"]) == (3, 2)
        assert told["change"]["superseded_by"] == told_of_one["change"]["id"]


def test_a_worker_that_is_stopped_for_good_meanwhile_is_not_waited_for(
    run: Run, ctl: Ctl, hold: Path, control: Control
) -> None:
    with run(2, held=True):
        one = ctl("restart", "1", "--wait")
        wait_state(control, "rolling")
        both = ctl("reload", "--wait", "--json")
        wait_state(control, "superseded", "rolling")
        ask(control.path, do="stop", slot=1)
        hold.unlink()
        code, out, _ = ended(both)
        assert (code, json.loads(out)["change"]["replaced"]) == (0, 1)
        assert ended(one)[0] == 0
        hold.touch()
        ask(control.path, do="scale", workers=2)
        code, _, err = ended(ctl("restart", "1", "--wait", "--timeout", "0.5"))
        assert code == 3
        last = ctl("restart", "1", "--wait")
        wait_until(lambda: len(control.ask(do="show")["changes"]) == 4)
        ask(control.path, do="stop", slot=1)
        code, _, err = ended(last)
        assert (code, "were stopped for good" in err) == (1, True)
        hold.unlink()


@pytest.mark.parametrize("is_broken", [False, True], ids=["well", "broken"])
def test_a_worker_that_was_not_there_counts_once_its_place_is_filled(
    start: Start, ctl: Ctl, folder: Path, hold: Path, control: Control, is_broken: bool
) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.expected = ["nosuchthing"]
        supervisor.wait_ready(2)
        hold.touch()
        # The second death in a row is followed by a pause.
        for deaths in (1, 2):
            wait_until(lambda: 2 in supervisor.workers())
            supervisor.send(signal.SIGKILL, slot=2)
            wait_until(lambda count=deaths: len(control.ask(do="deaths")) == count)  # type: ignore[misc]
        assert "empty" in control.stages()
        if is_broken:
            break_code(folder)
        waiting = ctl("restart", "2", "--wait")
        wait_state(control, "rolling")
        hold.unlink()
        assert ended(waiting)[0] == (1 if is_broken else 0)
        (folder / "jobs.py").write_text(JOBS)
        supervisor.stop()


def test_programs_get_one_document_with_the_same_keys_whatever_comes_of_it(run: Run, ctl: Ctl, folder: Path) -> None:
    with run(1, expected=["is given up"]):
        told = {}
        for name, words in {"asked": [], "replaced": ["--wait"], "given_up": ["--wait"]}.items():
            if name == "given_up":
                break_code(folder)
            code, out, err = ended(ctl("reload", "--json", *words))
            assert (code == 0) == (name != "given_up") == (err == "")
            told[name] = json.loads(out)
            assert told[name]["done"] is (code == 0)
        assert {tuple(document) for document in told.values()} == {("done", "said", "change")}
        assert {tuple(document["change"]) for document in told.values()} == {
            ("id", "by", "asked", "state", "why", "workers", "replaced", "superseded_by")
        }
        assert [document["change"]["state"] for document in told.values()] == list(told)


def test_ctrl_c_leaves_it_to_go_on(run: Run, ctl: Ctl, hold: Path, control: Control) -> None:
    with run(1, held=True):
        waiting = ctl("restart", "--wait")
        assert waiting.out.readline() == "1 worker to be replaced, one after another\n"
        waiting.ctrl_c()
        code, _, err = ended(waiting)
        assert (code, err) == (130, "pytaskctl: the restart goes on\n")
        hold.unlink()
        wait_state(control, "replaced")
