"""A folder with an app of tasks that behave and tasks that do not, and supervisors in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer

JOBS = '''
import os
import re
import subprocess
import time

import gevent

from pytask_core import Cleanup, Monitor, PyTask, Task


class Hello(Task):
    NAME = "hello"

    def __init__(self, text="world"):
        self.text = text

    def start(self):
        return f"{self.text} from {os.getpid()}"


class Forever(Task):
    NAME = "forever"

    def start(self):
        while True:
            gevent.sleep(60)


class Slow(Task):
    """Takes a second to stop."""

    NAME = "slow"

    def start(self):
        gevent.sleep(1000)

    def stop(self):
        gevent.sleep(1)


class Dawdler(Task):
    """Takes longer to stop than anybody waits."""

    NAME = "dawdler"

    def start(self):
        gevent.sleep(1000)

    def stop(self):
        gevent.sleep(1000)


class Stubborn(Task):
    """Swallows whatever is thrown at it."""

    NAME = "stubborn"

    def start(self):
        while True:
            try:
                gevent.sleep(60)
            except BaseException:
                pass


class Blocker(Task):
    """Computes for ever and never gives way."""

    NAME = "blocker"

    def start(self):
        while True:
            pass


class Brooder(Task):
    """Computes for a while, in a greenlet that it has spawned."""

    NAME = "brooder"

    def __init__(self, seconds):
        self.seconds = seconds

    def start(self):
        gevent.spawn(self.brood).get()

    def brood(self):
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            pass


class Sealed(Task):
    """Native code that keeps the interpreter's lock."""

    NAME = "sealed"

    def start(self):
        re.match("(a+)+$", "a" * 60 + "b")


class Glutton(Task):
    """Takes memory until it has so many MiB, and keeps it."""

    NAME = "glutton"

    def __init__(self, megabytes):
        self.megabytes = megabytes

    def start(self):
        self.hoard = []
        for _ in range(self.megabytes):
            self.hoard.append(bytearray(os.urandom(1024)) * 1024)
            gevent.sleep(0.002)
        gevent.sleep(1000)


class Parent(Task):
    """Has a program of its own running."""

    NAME = "parent"

    def start(self):
        child = subprocess.Popen(["sleep", "1000"], stderr=subprocess.DEVNULL)
        self.redis.set("program", child.pid)
        child.wait()


class Orphan(Task):
    """Leaves a program behind whose parent is gone."""

    NAME = "orphan"

    def start(self):
        words = ["sh", "-c", "sleep 0.3 & echo $!"]
        output = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        self.redis.set("orphan", int(output))


class Vanish(Task):
    """Ends the process behind everybody's back, the first time it runs."""

    NAME = "vanish"

    def start(self):
        if self.redis.incr("vanished") == 1:
            os._exit(0)


class Environment(Task):
    """Tells which variables it sees."""

    NAME = "environment"

    def start(self):
        return sorted(os.environ)


def make():
    app = PyTask()
    app.add_tasks(Environment)
    app.add_tasks(Monitor, Cleanup)
    app.add_tasks(Hello, Forever, Slow, Dawdler, Stubborn, Blocker, Brooder, Sealed, Glutton, Parent, Orphan, Vanish)
    return app


app = make()
'''

Start = Callable[..., SupervisorProcess]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The supervisor's current directory, with ``jobs.py`` in it."""
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


@pytest.fixture
def helpers(redis_server: RedisServer) -> Iterator[PyTaskHelpers]:
    """The client's side, on ``redis_server``."""
    with closing(PyTaskHelpers(redis_server.client(decode_responses=True))) as made:
        yield made


@pytest.fixture
def start(folder: Path, redis_server: RedisServer) -> Start:
    """Start a supervisor in ``folder`` on ``redis_server``; ``app=None`` names none."""

    def start_one(*arguments: str, app: str | None = "jobs:app", redis: str | None = None, **more: object):  # type: ignore[no-untyped-def]
        words = list(arguments)
        if app is not None:
            words += ["--app", app]
        words += ["--redis", redis or redis_server.url]
        return SupervisorProcess(folder, *words, **more)  # type: ignore[arg-type]

    return start_one
