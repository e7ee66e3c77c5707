"""``pytaskctl top``: what it shows, and that the terminal is as before, however it ends."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from pytask_core.connection import disconnect
from pytask_core.keys import RedisKeys
from pytask_supervisor.ctl.workers import COLUMNS, row
from tests.ctl.conftest import run_ctl
from tests.store.conftest import Desk
from tests.support.processes.control import NAME, Control
from tests.support.processes.pty_process import PtyProcess
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

PROGRAM = "from pytask_supervisor.ctl import run; run()"

JOBS = """
import gevent
from pytask_core import PyTask, Task

class Nap(Task):
    NAME = "nap"

    def start(self):
        gevent.sleep(0.01)

class Forever(Task):
    NAME = "forever"

    def start(self):
        gevent.sleep(1000)

app = PyTask(concurrency=5)
app.add_tasks(Nap, Forever)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Iterator[SupervisorProcess]:
    """One for all: nobody here changes it."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "jobs.py").write_text(JOBS)
    words = ["--app", "jobs:app", "--workers", "2", "--redis", server.url, *Control(folder / NAME).words]
    with SupervisorProcess(folder, *words) as made:
        made.wait_ready(2)
        helpers = PyTaskHelpers(server.url)
        helpers.start_tasks([("nap", {})] * 20)
        helpers.start_tasks([("forever", {})] * 13)
        control = Control(folder / NAME)
        wait_until(lambda: control.ask(do="show")["ended"]["SUCCESS"] == 20, 15)
        wait_until(lambda: sum(worker["running"] for worker in control.workers()) == 10, 15)
        helpers.close()
        yield made
        assert made.stop() == 0


@pytest.fixture
def environ(supervisor: SupervisorProcess, server: RedisServer) -> dict[str, str]:
    """Where ``top`` finds both."""
    return {"PYTASK_CONTROL_SOCKET": str(supervisor.folder / NAME), "PYTASK_REDIS_URL": server.url}


def test_one_frame_shows_queues_workers_and_what_was_done(
    environ: dict[str, str], supervisor: SupervisorProcess
) -> None:
    done = run_ctl("top", "--once", environ=environ)
    assert (done.code, done.err) == (0, "")
    assert f"(pid {supervisor.pid}) jobs:app, up " in done.out
    assert "2 of 2 workers ready" in done.out
    assert "queues: 3 wait, 10 active, 20 ended" in done.out
    assert "since the start: 20 SUCCESS" in done.out
    for pid in supervisor.workers().values():
        assert re.search(rf"^\d +{pid} +ready +", done.out, re.MULTILINE)
    told = run_ctl("top", "--json", environ=environ).json
    assert told["queues"] == {"new": 3, "active": 10, "end": 20}
    assert [worker["running"] for worker in told["workers"]] == [5, 5]
    assert told["ended"]["SUCCESS"] == 20


def test_it_tells_of_tasks_that_no_worker_knows(environ: dict[str, str], server: RedisServer) -> None:
    desk = Desk(server, RedisKeys(new_queue="other-queue", task_set="other-tasks"))
    desk.park("a", "b", name="mail/send")
    disconnect(desk.redis)
    told = run_ctl("top", "--once", "--new-queue", "other-queue", "--task-set", "other-tasks", environ=environ)
    assert "0 wait, 0 active, 20 ended, 2 parked under names that no worker knows" in told.out


def test_without_redis_it_shows_the_workers_all_the_same(environ: dict[str, str]) -> None:
    done = run_ctl("top", environ={**environ, "PYTASK_REDIS_URL": "redis://:secret@127.0.0.1:1"})
    assert done.code == 0
    assert "queues: cannot use Redis at redis://" in done.out
    assert "secret" not in done.out
    assert "2 of 2 workers ready" in done.out


def test_without_a_supervisor_it_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    done = run_ctl("top", "--control-socket", str(tmp_path / "none.sock"))
    assert (done.code, done.out) == (1, "")
    assert done.err == f"pytaskctl: no supervisor answers at {tmp_path}/none.sock\n"


@pytest.mark.parametrize(("width", "least", "most"), [(120, 11, 11), (60, 8, 10), (40, 5, 7), (16, 3, 3)])
def test_a_narrow_screen_has_fewer_columns_and_all_of_each(
    environ: dict[str, str], supervisor: SupervisorProcess, width: int, least: int, most: int
) -> None:
    with PtyProcess(PROGRAM, "top", environ=environ, size=(40, width)) as top:
        wait_until(lambda: "SLOT" in top.text, 20)
        top.press("q")
        assert top.wait() == 0
        lines = [line.split() for line in top.text.replace("\r", "").split("\n")]
        head, *_ = [line for line in lines if line[:1] == ["SLOT"]]
        assert least <= len(head) <= most
        assert head == list(COLUMNS[: len(head)])
        shown = {(line[0], line[1], line[2]) for line in lines if len(line) > 2 and line[2] == "ready"}
        assert shown == {(str(slot), str(pid), "ready") for slot, pid in supervisor.workers().items()}


def test_what_a_screen_has_no_lines_for_is_counted(environ: dict[str, str]) -> None:
    with PtyProcess(PROGRAM, "top", environ=environ, size=(6, 120)) as top:
        wait_until(lambda: "… 2 more" in top.text, 20)
        top.press("q")
        assert top.wait() == 0


def test_a_worker_that_starts_is_not_said_to_be_cut_off_from_redis() -> None:
    worker = {"slot": 1, "pid": 7, "uptime": 1.0, "running": 0, "done": 0, "restarts": 0, "figures": {"up": False}}
    assert row({**worker, "stage": "started"})[2] == "started"
    assert row({**worker, "stage": "ready"})[2] == "ready, no Redis"


@pytest.mark.parametrize("end", ["q", "\x03", "SIGTERM"])
def test_it_lives_until_it_is_ended_and_leaves_the_terminal_as_it_was(environ: dict[str, str], end: str) -> None:
    with PtyProcess(PROGRAM, "top", "--interval", "0.1", environ=environ) as top:
        # It draws again and again, and keys are its own.
        wait_until(lambda: top.text.count("2 of 2 workers ready") >= 3, 20)
        assert top.modes_now != top.modes
        # A key that Ctrl-C takes back before it is read must not leave it waiting for the next one.
        assert top.modes_now[6][termios.VMIN] == 0
        assert "\x1b[?1049h" in top.screen
        assert "\x1b[?25l" in top.screen
        top.press("x")
        if end == "SIGTERM":
            top.process.send_signal(signal.SIGTERM)
        else:
            top.press(end)
        assert top.wait() == 0
        assert top.modes_now == top.modes
        wait_until(lambda: "\x1b[?1049l" in top.screen and "\x1b[?25h" in top.screen)
        assert "Traceback" not in top.text


def test_it_ends_without_a_word_where_its_terminal_goes_away(environ: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    opener = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    said = tmp_path / "stderr"
    with said.open("wb") as stderr:
        top = subprocess.Popen(
            [sys.executable, "-c", f"{opener}; {PROGRAM}", "top", "--interval", "0.1"],
            env={**os.environ, "TERM": "xterm-256color", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=stderr,
            start_new_session=True,
        )
    os.close(theirs)
    shown = b""
    while b"workers ready" not in shown:
        shown += os.read(ours, 65_536)
    os.close(ours)
    assert top.wait(20) == 0
    assert said.read_text() == ""


def test_it_obeys_at_once_though_the_supervisor_does_not_answer(
    environ: dict[str, str], supervisor: SupervisorProcess
) -> None:
    with PtyProcess(PROGRAM, "top", "--interval", "0.1", environ=environ) as top:
        wait_until(lambda: "2 of 2 workers ready" in top.text, 20)
        supervisor.send(signal.SIGSTOP)
        try:
            top.press("q")
            assert top.wait() == 0
            assert top.modes_now == top.modes
        finally:
            supervisor.send(signal.SIGCONT)


def test_a_supervisor_that_goes_away_is_told_and_waited_for(tmp_path: Path, server: RedisServer) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    control = Control(tmp_path / NAME)
    words = ["--app", "jobs:app", "--workers", "1", "--redis", server.url, *control.words]
    environ = {"PYTASK_CONTROL_SOCKET": str(control.path), "PYTASK_REDIS_URL": server.url}
    with SupervisorProcess(tmp_path, *words) as first:
        first.wait_ready(1)
        with PtyProcess(PROGRAM, "top", "--interval", "0.1", environ=environ) as top:
            wait_until(lambda: "1 of 1 workers ready" in top.text, 20)
            assert first.stop() == 0
            wait_until(lambda: "no supervisor answers at" in top.text, 20)
            with SupervisorProcess(tmp_path, *words) as second:
                wait_until(lambda: f"(pid {second.pid})" in top.text, 20)
                top.press("q")
                assert top.wait() == 0
                second.wait_ready(1, times=2)
                assert second.stop() == 0
