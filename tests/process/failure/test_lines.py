"""What task code can write to the lines between its worker and the master: the worker dies of it, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.control import NAME, Control
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.waiting import wait_until

Start = Callable[..., SupervisorProcess]

EVIL = r'''
import json
import os
import socket
import stat
import subprocess
import sys

import gevent

from pytask_core import PyTask, Task


def lines():
    """The descriptors of our lines to the master: the loop's, the thread's."""
    found = []
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        if not os.path.exists(f"/proc/self/fd/{fd}") or not stat.S_ISSOCK(os.stat(f"/proc/self/fd/{fd}").st_mode):
            continue
        with socket.socket(fileno=os.dup(fd)) as end:
            try:
                if end.family == socket.AF_UNIX and end.getsockname() == "" == end.getpeername():
                    found.append(fd)
            except OSError:
                pass
    return found


class Sleep(Task):
    NAME = "sleep"

    def start(self):
        self.redis.incr(f"runs-{self.id}")
        gevent.sleep(1000)


class Say(Task):
    """Writes to the line, once in all."""

    NAME = "say"

    def __init__(self, text, times=1, die=False, line=0):
        self.text, self.times, self.die, self.line = text, times, die, line

    def start(self):
        if self.redis.incr(f"said-{self.id}") > 1:
            return
        os.set_blocking(lines()[self.line], True)
        for _ in range(self.times):
            os.write(lines()[self.line], self.text.encode())
        if self.die:
            os._exit(9)
        gevent.sleep(1000)


class Impersonate(Task):
    """Calls its worker by the id of a sibling, and ends it."""

    NAME = "impersonate"

    def __init__(self, sibling):
        self.sibling = sibling

    def start(self):
        if self.redis.hget(f"task-{self.id}", "owner").decode().startswith(self.sibling):
            return
        os.write(lines()[0], json.dumps({"worker": self.sibling}).encode() + b"\n")
        os._exit(9)


class Close(Task):
    """Ends what its worker can say on a line, once in all."""

    NAME = "close"

    def __init__(self, line):
        self.line = line

    def start(self):
        if self.redis.incr("closed") > 1:
            return
        with socket.socket(fileno=os.dup(lines()[self.line])) as end:
            end.shutdown(socket.SHUT_WR)
        gevent.sleep(1000)


class Flood(Task):
    """Programs that write without pause and without end, once in all."""

    NAME = "flood"

    def __init__(self, text, programs=3):
        self.text, self.programs = text, programs

    def start(self):
        if self.redis.incr("flooded") > 1:
            return
        fd = os.dup(lines()[1])
        socket.socket(fileno=os.dup(fd)).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        loop = f"while True: os.write({fd}, {self.text!r}.encode() * 10_000)"
        words = [sys.executable, "-c", f"import os; os.set_blocking({fd}, True)\n{loop}"]
        for _ in range(self.programs):
            subprocess.Popen(words, pass_fds=[fd], start_new_session=True, stderr=subprocess.DEVNULL)
        gevent.sleep(1000)


def make():
    app = PyTask()
    app.add_tasks(Sleep, Say, Close, Flood, Impersonate)
    return app


app = make()
'''

#: Seconds within which the master answers, whatever its children say. It is to be a tenth; machines are busy.
PROMPT = 1.0


@pytest.fixture
def evil(folder: Path) -> str:
    (folder / "evil.py").write_text(EVIL)
    return "evil:app"


def survives(supervisor: SupervisorProcess, control: Control, slots: int = 1, kind: str = "breach") -> None:
    """The line was written to, the worker died of it, and another sits in its place."""
    supervisor.expected += ["said what a worker never says"]
    supervisor.wait_for("said what a worker never says")
    wait_until(lambda: control.ask(do="show")["deaths"][kind] == 1, 15)
    control.wait_stages(*["ready"] * slots)
    assert supervisor.process.poll() is None


def beat(figure: str) -> str:
    return f'{{"beat": {{"running": {figure}}}}}\n'


@pytest.mark.parametrize(
    ("text", "die"),
    [
        ("[" * 200_000 + "\n", False),
        ('{"tally":{"claimed":1e999,"cpu":0,"tasks":{}}}\n', False),
        (beat('"x"'), True),
        ('{"beat": {"at": "x", "lag": "y", "memory": [], "cpu": {}, "rate": null}}\n', False),
        (beat("NaN"), False),
        ("hello\n", False),
        ('{"beat": {"names": {"\\ud800": 1}}}\n', False),
        ("x" * 1_000_000, False),
    ],
    ids=["nested", "infinite", "a text and death", "texts", "nan", "no JSON", "half a character", "no end"],
)
def test_no_line_that_a_task_writes_ends_the_master(
    start: Start, evil: str, folder: Path, helpers: PyTaskHelpers, text: str, die: bool
) -> None:
    control = Control(folder / NAME)
    with start("--workers", "1", *control.words, app=evil) as supervisor:
        supervisor.wait_ready(1)
        good = helpers.start_task("sleep")
        wait_until(lambda: helpers.get_task(good)["state"] == "RUNNING")
        helpers.start_task("say", text=text, die=die)
        survives(supervisor, control, kind="exit" if die else "breach")
        # Its tasks were handed back, as for any death.
        wait_until(lambda: helpers.redis.get(f"runs-{good}") == "2")
        assert max(map(len, supervisor.text.splitlines())) < 2000
        assert supervisor.stop() == 0


@pytest.mark.parametrize("text", ["x", beat("1"), '{"pulse": 0}\n'], ids=["no message", "the other line's", "a flood"])
def test_programs_that_write_on_the_line_neither_fill_nor_hold_up_the_master(
    start: Start, evil: str, folder: Path, helpers: PyTaskHelpers, text: str
) -> None:
    control = Control(folder / NAME)
    with start("--workers", "1", *control.words, app=evil) as supervisor:
        supervisor.wait_ready(1)
        master = psutil.Process(supervisor.pid)
        before = master.memory_info().rss
        helpers.start_task("flood", text=text)
        slowest = most = 0.0
        while "said what a worker never says" not in supervisor.text:
            slowest = max(slowest, timed(control))
            most = max(most, master.memory_info().rss)
        survives(supervisor, control)
        kill_writers(folder)
        for _ in range(20):
            slowest = max(slowest, timed(control))
        assert most - before < 16 << 20, "bytes more"
        assert slowest < PROMPT, "seconds for an answer of the master"
        assert supervisor.stop() == 0


@pytest.mark.parametrize("line", [0, 1], ids=["the loop's", "the thread's"])
def test_a_worker_that_lives_with_a_line_closed_is_replaced(
    start: Start, evil: str, folder: Path, helpers: PyTaskHelpers, line: int
) -> None:
    control = Control(folder / NAME)
    with start("--workers", "1", "--hang-timeout", "0", *control.words, app=evil) as supervisor:
        supervisor.expected += ["has closed a line to the supervisor"]
        supervisor.wait_ready(1)
        good = helpers.start_task("sleep")
        wait_until(lambda: helpers.get_task(good)["state"] == "RUNNING")
        helpers.start_task("close", line=line)
        wait_until(lambda: helpers.redis.get(f"runs-{good}") == "2", 20)
        # Where the thread finds its line closed, it takes the supervisor for dead, and has the worker leave.
        kind = "breach" if line == 0 else "asked"
        wait_until(lambda: control.ask(do="show")["deaths"][kind] == 1)
        control.wait_stages("ready")
        assert supervisor.stop() == 0


def timed(control: Control) -> float:
    """Seconds that the master takes to answer."""
    began = time.monotonic()
    control.ask(do="show")
    return time.monotonic() - began


def kill_writers(folder: Path) -> None:
    """The programs, which have a session of their own and so outlive the worker's group."""
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == str(folder) and "os.set_blocking" in " ".join(process.info["cmdline"] or ()):
            process.kill()
            wait_until(lambda process=process: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_a_child_that_calls_itself_as_its_sibling_is_killed_and_only_its_own_tasks_are_handed_back(
    start: Start, evil: str, folder: Path, helpers: PyTaskHelpers
) -> None:
    control = Control(folder / NAME)
    with start("--workers", "2", *control.words, app=evil) as supervisor:
        supervisor.wait_ready(2)
        ids = [helpers.start_task("sleep") for _ in range(8)]
        wait_until(lambda: {helpers.get_task(each)["state"] for each in ids} == {"RUNNING"})
        owners = {each: helpers.get_task(each)["owner"].rpartition(":")[0] for each in ids}
        assert len(set(owners.values())) == 2
        victim = owners[ids[0]]

        def is_said() -> bool:
            task_id = helpers.start_task("impersonate", sibling=victim)
            wait_until(lambda: helpers.get_task(task_id).get("state") in {"SUCCESS", "RUNNING"})
            return "said what a worker never says" in supervisor.text

        wait_until(is_said)
        supervisor.expected += ["said what a worker never says"]
        theirs = [each for each in ids if owners[each] != victim]
        # Its successor may have been told to do the same.
        wait_until(lambda: all(int(helpers.redis.get(f"runs-{each}")) > 1 for each in theirs), 20)
        assert {helpers.redis.get(f"runs-{each}") for each in ids if each not in theirs} == {"1"}
        assert supervisor.stop() == 0


def test_of_many_warnings_a_hundred_are_told(start: Start, evil: str, folder: Path, helpers: PyTaskHelpers) -> None:
    with start("--workers", "1", app=evil) as supervisor:
        supervisor.wait_ready(1)
        warnings = [json.dumps({"warning": f"this is warning {number}"}) + "\n" for number in range(150)]
        helpers.start_task("say", text="".join(warnings), times=2)
        supervisor.wait_for("no more of them are told")
        assert 90 < supervisor.text.count("this is warning") <= 100, "a few are the app's own"
        assert supervisor.stop() == 0
