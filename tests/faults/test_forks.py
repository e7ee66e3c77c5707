"""What a task forks is not a second worker, and does what it would in any program that gevent has patched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytask_core import PyTaskHelpers
from pytask_core.connection import RedisSource
from pytask_core.keys import RedisKeys
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

KEYS = RedisKeys()
ROOT = Path(__file__).parents[2]

APP = '''
from gevent import monkey

monkey.patch_all()

import os

#: Sent to each copy before anything else runs there.
EARLY = []
os.register_at_fork(after_in_child=lambda: [os.kill(os.getpid(), each) for each in EARLY])

import concurrent.futures
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

import gevent

from pytask_core import PyTask, Task, run_loop

log = logging.getLogger("forks")


class Beat(Task):
    """Says twenty times a second in which process it is."""

    NAME = "beat"

    def start(self):
        run_loop(lambda: self.redis.rpush("beats", os.getpid()), 0.05)


class Short(Task):
    """Says in which process it was run."""

    NAME = "short"

    def start(self):
        return os.getpid()


def crunch(redis, seconds=1.5):
    """Does what gives way in a program of gevent's: sleeps, prints, logs, has greenlets and sockets of its own."""
    print("printed by a copy", flush=True)
    log.info("logged by a copy")
    ours, theirs = socket.socketpair()
    reader = gevent.spawn(ours.recv, 10)
    theirs.send(b"hello")
    assert reader.get(timeout=5) == b"hello"
    try:
        with gevent.Timeout(0.05):
            gevent.sleep(10)
    except gevent.Timeout:
        pass
    time.sleep(seconds)
    redis.rpush("crunched", os.getpid())


def fork_and_wait(function, *args):
    pid = os.fork()
    if pid == 0:
        function(*args)
        sys.exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


POOL = None


class Forks(Task):
    NAME = "forks"

    def __init__(self, how):
        self.how = how

    def start(self):
        return {
            "process": self.process,
            "fork": self.fork,
            "fork and return": self.fork_and_return,
            "fork and raise": self.fork_and_raise,
            "fork in a greenlet": self.fork_in_a_greenlet,
            "forkpty": self.forkpty,
            "grandchild": self.grandchild,
            "program": self.program,
            "context": self.context,
            "emit": self.emit_in_copy,
            "pool": self.pool,
            "executor": self.executor,
        }[self.how]()

    def process(self):
        child = multiprocessing.get_context("fork").Process(target=crunch, args=(self.redis,))
        child.start()
        child.join()
        return child.exitcode

    def fork(self):
        return fork_and_wait(crunch, self.redis)

    def fork_and_return(self):
        pid = os.fork()
        if pid == 0:
            crunch(self.redis)
            return "by the copy"
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def fork_and_raise(self):
        pid = os.fork()
        if pid == 0:
            crunch(self.redis)
            raise ValueError("by the copy")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def fork_in_a_greenlet(self):
        return gevent.spawn(fork_and_wait, crunch, self.redis).get()

    def forkpty(self):
        pid, fd = os.forkpty()
        if pid == 0:
            crunch(self.redis)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        os.close(fd)
        return os.waitstatus_to_exitcode(status)

    def grandchild(self):
        return fork_and_wait(fork_and_wait, crunch, self.redis)

    def program(self):
        def ahead():
            time.sleep(0.01)

        subprocess.run(["true"], check=True)
        subprocess.run(["true"], check=True, preexec_fn=ahead)
        crunch(self.redis)
        return 0

    def context(self):
        found = []
        for name in ("spawn", "forkserver"):
            child = multiprocessing.get_context(name).Process(target=int, args=("1",))
            child.start()
            child.join()
            found.append(child.exitcode)
        crunch(self.redis)
        return sum(found)

    def emit_in_copy(self):
        pid = os.fork()
        if pid == 0:
            try:
                self.emit("said")
            except Exception as error:
                self.redis.set("refused", str(error))
            crunch(self.redis)
            sys.exit("a sentence, so the exit code is 1")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def pool(self):
        with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            assert pool.submit(int, "3").result() == 3
        crunch(self.redis)
        return 0

    def executor(self):
        global POOL
        POOL = POOL or concurrent.futures.ProcessPoolExecutor(2)
        assert POOL.submit(sum, range(10)).result() == 45
        crunch(self.redis)
        return 0


class Busy(Task):
    """Gives a pool in a global something that takes longer than anybody waits."""

    NAME = "busy"

    def start(self):
        global POOL
        POOL = concurrent.futures.ProcessPoolExecutor(1)
        POOL.submit(time.sleep, 600)
        time.sleep(0.5)


class Lingers(Task):
    """Leaves a copy behind that lives on, in a session of its own or not, and tells what it is."""

    NAME = "lingers"

    def __init__(self, session=True, sleep="gevent"):
        self.session = session
        self.sleep = sleep

    def start(self):
        pid = os.fork()
        if pid == 0:
            if self.session:
                os.setsid()
            names = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"]
            redis = self.redis
            redis.hset("signals", mapping={name: str(signal.getsignal(getattr(signal, name))) for name in names})
            redis.connection_pool.disconnect()
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            time.sleep(60)
            os._exit(0)
        self.redis.set("lingerer", pid)
        return pid


class Hit(Task):
    NAME = "hit"

    def start(self):
        ends = []
        for number in (signal.SIGTERM, signal.SIGINT):
            EARLY[:] = [number]
            # Not gevent's, which misses the end of a child that dies at once.
            pid = monkey.get_original("os", "fork")()
            if pid == 0:
                time.sleep(2)
                os._exit(9)
            EARLY.clear()
            ends.append(os.waitstatus_to_exitcode(monkey.get_original("os", "waitpid")(pid, 0)[1]))
        return ends


class Terminates(Task):
    NAME = "terminates"

    def start(self):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        time.sleep(0.3)
        child.terminate()
        child.join()
        return child.exitcode


app = PyTask()
app.add_tasks(Beat, Busy, Hit, Short, Forks, Lingers, Terminates)
if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s [worker 1] %(message)s")
    app.run()
'''


class Stage:
    """Something that runs the app, in one of the ways in which one may."""

    def __init__(self, helpers: PyTaskHelpers, server: RedisServer, text: Callable[[], str]) -> None:
        self.helpers = helpers
        self.redis: Any = server.client(decode_responses=True)
        self.text = text

    def beats(self) -> set[str]:
        return set(self.redis.lrange("beats", 0, -1))

    def outputs(self, ids: list[str]) -> set[str | None]:
        return {self.redis.hget(f"task-{task_id}", "output") for task_id in ids}

    def end_of(self, name: str, **data: Any) -> tuple[str, Any]:
        """State and output of a task."""
        task_id = self.helpers.start_task(name, **data)
        wait_until(lambda: self.helpers.get_task(task_id, "output") is not None, 30, f"{name} {data} to end")
        state, output = self.helpers.get_task(task_id, ["state", "output"])  # type: ignore[misc] # it is there
        return state, json.loads(output)


@contextmanager
def _supervised(folder: Path, url: str, *words: str) -> Iterator[SupervisorProcess]:
    arguments = ["--workers", "1", "--app", "forking:app", "--redis", url, "--graceful-timeout", "6", *words]
    with SupervisorProcess(folder, *arguments) as supervisor:
        supervisor.expected = ["Traceback", "ValueError: by the copy"]
        supervisor.wait_ready(1)
        yield supervisor
        if supervisor.process.poll() is None:
            assert supervisor.stop() == 0, supervisor.text


@contextmanager
def _alone(folder: Path, url: str) -> Iterator[Path]:
    path = folder / "alone.log"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTASK_REDIS_URL": url}
    with path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "forking.py"], cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: "takes tasks from" in path.read_text(), 15)
        yield path
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, path.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "forking.py").write_text(APP)
    return tmp_path


@pytest.fixture(params=["supervised", "preloaded", "alone"])
def stage(request: pytest.FixtureRequest, folder: Path, redis_server: RedisServer) -> Iterator[Stage]:
    with ExitStack() as stack:
        helpers = stack.enter_context(closing(PyTaskHelpers(redis_server.client(decode_responses=True))))
        if request.param == "alone":
            path = stack.enter_context(_alone(folder, redis_server.url))
            yield Stage(helpers, redis_server, path.read_text)
            return
        words = ["--preload"] if request.param == "preloaded" else []
        supervisor = stack.enter_context(_supervised(folder, redis_server.url, *words))
        yield Stage(helpers, redis_server, lambda: supervisor.text)


HOWS = {
    "process": 0,
    "fork": 7,
    "fork and return": 0,
    "fork and raise": 1,
    "fork in a greenlet": 7,
    "forkpty": 0,
    "grandchild": 7,
    "program": 0,
    "context": 0,
    "emit": 1,
    "pool": 0,
    "executor": 0,
}


def test_what_a_task_forks_runs_no_task_and_does_its_own_work(stage: Stage) -> None:
    stage.helpers.start_task("beat")
    wait_until(stage.beats)
    for how, code in HOWS.items():
        ids = stage.helpers.start_tasks([("short", {})] * 20)
        stage.redis.delete("crunched")
        assert stage.end_of("forks", how=how) == ("SUCCESS", code), (how, stage.text())
        ids += stage.helpers.start_tasks([("short", {})] * 20)
        wait_until(lambda ids=ids: None not in stage.outputs(ids), 15, f"{how}: those beside it to end")
        assert len(stage.beats()) == 1, f"{how}: the beats of one process"
        assert stage.outputs(ids) == stage.beats(), how
        assert stage.redis.llen("crunched") == 1, how
        assert stage.redis.zcard(KEYS.workers) == 1, how
    text = stage.text()
    # What forkpty's says goes to its terminal.
    assert text.count("logged by a copy") == len(HOWS) - 1, text
    assert "is away" not in text
    assert "Stopping" not in text
    assert "is not a worker and cannot emit" in stage.redis.get("refused")


def test_terminating_a_child_of_a_task_stops_that_child_only(stage: Stage) -> None:
    stage.helpers.start_task("beat")
    wait_until(stage.beats)
    assert stage.end_of("terminates") == ("SUCCESS", -signal.SIGTERM)
    count = stage.redis.llen("beats")
    wait_until(lambda: stage.redis.llen("beats") > count + 20, message="the beats go on")
    assert len(stage.beats()) == 1
    assert "Stopping" not in stage.text()


def test_a_signal_in_the_moment_of_the_fork_ends_the_copy_and_makes_no_second_worker(
    folder: Path, redis_server: RedisServer
) -> None:
    """In a worker by itself: there the app is the first to do something in a copy."""
    with (
        closing(PyTaskHelpers(redis_server.client(decode_responses=True))) as helpers,
        _alone(folder, redis_server.url) as path,
    ):
        stage = Stage(helpers, redis_server, path.read_text)
        stage.helpers.start_task("beat")
        wait_until(stage.beats)
        assert stage.end_of("hit") == ("SUCCESS", [-signal.SIGTERM, 1]), stage.text()
        count = stage.redis.llen("beats")
        wait_until(lambda: stage.redis.llen("beats") > count + 20, message="the beats go on")
        assert len(stage.beats()) == 1
        assert "Stopping" not in stage.text()


def test_in_a_copy_signals_mean_what_they_do_in_any_program(stage: Stage) -> None:
    stage.end_of("lingers", session=False)
    wait_until(lambda: stage.redis.hlen("signals") == 5)
    pid = int(stage.redis.get("lingerer"))
    try:
        found = stage.redis.hgetall("signals")
        assert "default_int_handler" in found.pop("SIGINT")
        # A lone worker is born with what its parent ignores, as under nohup.
        ignored = {name for name in found if signal.getsignal(signal.Signals[name]) is signal.SIG_IGN}
        assert {value for name, value in found.items() if name not in ignored} == {str(int(signal.SIG_DFL))}
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not _lives(pid), message="it has died of SIGTERM")
    finally:
        _kill(pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_copy_that_lives_on_holds_up_neither_a_stop_nor_the_recovery_of_a_killed_worker(
    folder: Path, redis_server: RedisServer, end: str, preload: bool
) -> None:
    words = ["--preload"] if preload else []
    with (
        closing(PyTaskHelpers(redis_server.client(decode_responses=True))) as helpers,
        _supervised(folder, redis_server.url, *words) as supervisor,
    ):
        stage = Stage(helpers, redis_server, lambda: supervisor.text)
        stage.helpers.start_task("beat", task_id="b")
        wait_until(stage.beats)
        stage.end_of("lingers")
        wait_until(lambda: stage.redis.hlen("signals") == 5, message="it has a session of its own")
        pid = int(stage.redis.get("lingerer"))
        try:
            if end == "stop":
                began = time.monotonic()
                assert supervisor.stop() == 0
                assert time.monotonic() - began < 4
                assert stage.helpers.get_task("b", "state") == "WAIT"
            else:
                supervisor.expected += ["was killed"]
                supervisor.send(signal.SIGKILL, 1)
                wait_until(lambda: len(stage.beats()) == 2, 5, "its task runs in the next worker")
        finally:
            assert _lives(pid)
            _kill(pid)


def test_a_copy_that_lives_on_does_not_keep_the_embedded_server(folder: Path, tmp_path: Path) -> None:
    where = f"embedded:{tmp_path / 'data'}"
    with _supervised(folder, where) as supervisor, closing(PyTaskHelpers(where)) as helpers:
        task_id = helpers.start_task("lingers")
        wait_until(lambda: helpers.get_task(task_id, "output"))
        pid = int(str(helpers.get_task(task_id, "output")))
        with closing(RedisSource(where).store_client(1)) as redis:
            wait_until(lambda: redis.hlen("signals") == 5, message="it has a session of its own, and has done its part")
        try:
            began = time.monotonic()
            assert supervisor.stop() == 0
            assert time.monotonic() - began < 8
            assert _lives(pid)
        finally:
            _kill(pid)


def test_a_pool_in_a_global_that_is_busy_ends_with_its_worker_in_time(folder: Path, redis_server: RedisServer) -> None:
    with (
        closing(PyTaskHelpers(redis_server.client(decode_responses=True))) as helpers,
        _supervised(folder, redis_server.url) as supervisor,
    ):
        assert Stage(helpers, redis_server, lambda: supervisor.text).end_of("busy") == ("SUCCESS", None)
        began = time.monotonic()
        assert supervisor.stop() == 0
        assert time.monotonic() - began < 6
        assert "has not ended in time, and is not waited for; killed with it: 1 process" in supervisor.text


FORKING_CLIENT = """
import os, sys
from pytask_core import PyTaskHelpers

helpers = PyTaskHelpers(sys.argv[1])
assert helpers.redis.ping()
helpers.start_task("short", task_id="before")
children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        for turn in range(50):
            assert helpers.start_task("short", task_id=f"{number}-{turn}") == f"{number}-{turn}"
            assert helpers.get_task(f"{number}-{turn}", "task") == "short"
            assert helpers.redis.get(f"{number}") is None
        os._exit(0)
    children.append(pid)
for turn in range(50):
    assert helpers.start_task("short", task_id=f"parent-{turn}") == f"parent-{turn}"
    assert helpers.get_task(f"parent-{turn}", "task") == "short"
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
assert codes == [0, 0, 0, 0], codes
assert helpers.get_task("before", "task") == "short"
helpers.close()
"""


@pytest.mark.parametrize("patched", [False, True])
def test_a_client_that_is_used_goes_on_in_processes_that_are_forked(redis_server: RedisServer, patched: bool) -> None:
    """As in a web server that loads the program first and then forks."""
    patch = "from gevent import monkey; monkey.patch_all()\n" if patched else ""
    words = [sys.executable, "-c", patch + FORKING_CLIENT, redis_server.url]
    subprocess.run(words, check=True, timeout=30, cwd=ROOT)
