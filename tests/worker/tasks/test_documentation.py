"""Each code sample of the documentation, copied; only the package name is another."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import gevent
from flask import Flask, current_app

from pytask_core import PyTaskHelpers, Task
from pytask_core.helpers import run_loop
from tests.support.processes.supervisor_process import ROOT
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.worker.conftest import Live

WORKER = """
# Gevent monkey patching for async tasks
from gevent import monkey
monkey.patch_all()

from pytask_core import PyTask
from mytasks import MyTask

# Create pytask "app"
task_app = PyTask({'host': 'localhost', 'port': 6379})

# Add our task to it
task_app.add_task(MyTask)

# Run the worker
task_app.run()
"""

MYTASKS = """
from pytask_core.task import Task

class MyTask(Task):
    NAME = 'mytask'

    def __init__(self, my_task_option='default'):
        self.option = my_task_option

    def start(self):
        return self.option
"""


def test_starting_workers(tmp_path: Path) -> None:
    with RedisServer(tcp=True) as server:
        # The port is the test's server's.
        (tmp_path / "program.py").write_text(WORKER.replace("6379", str(server.port)))
        (tmp_path / "mytasks.py").write_text(MYTASKS)
        environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(
            [sys.executable, "program.py"], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True
        )
        try:
            redis = server.client(decode_responses=True)
            redis.hset("task-ID", mapping={"task": "mytask", "data": '{"my_task_option": "hi"}'})
            redis.lpush("new-task", "ID")
            wait_until(lambda: redis.hget("task-ID", "state") == "SUCCESS")
            assert redis.hget("task-ID", "output") == '"hi"'

            helpers = PyTaskHelpers([("localhost", server.port)])
            other = helpers.start_task("mytask")
            wait_until(lambda: helpers.get_task(other, "state") == "SUCCESS")
            assert helpers.get_end_task_ids() == [other, "ID"]
            assert helpers.get_active_task_ids() == helpers.get_new_task_ids() == []
            helpers.close()

            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
            _, errors = process.communicate()
        assert errors == ""


def test_data_and_init(live: Live) -> None:
    class MyTask(Task):
        NAME = "mytask"

        def __init__(self, my_task_option="default"):
            self.option = my_task_option

        def start(self):
            return self.option

    live.worker(MyTask)

    assert live.output(live.run("mytask")) == '"default"'
    assert live.output(live.run("mytask", my_task_option={"a": 1})) == '{"a": 1}'


def test_start_and_stop_with_a_separate_greenlet(live: Live) -> None:
    worked = []

    class MyTask(Task):
        NAME = "mytask"

        def start(self):
            self.loop = gevent.spawn(self.work)
            self.loop.get()

        def stop(self):
            self.loop.kill()

        def work(self):
            do_some_work = worked.append
            while True:
                do_some_work(1)
                gevent.sleep(0.01)

    live.worker(MyTask)
    task_id = live.helpers.start_task("mytask")
    wait_until(lambda: worked)

    assert live.helpers.stop_task(task_id)
    live.until(task_id, "STOPPED")
    count = len(worked)
    live.helpers.start_task("mytask-that-nobody-knows")
    wait_until(live.helpers.parked_tasks)
    assert len(worked) == count, "its greenlet works no more"


def test_emitting_events(live: Live) -> None:
    class MyTask(Task):
        NAME = "mytask"

        def start(self):
            self.emit("event-name", {"some": "data"})

    live.worker(MyTask)
    listener = live.listen("a")
    live.helpers.start_task("mytask", task_id="a")

    assert listener.until("success") == [
        {"event": "event-name", "data": {"some": "data"}},
        {"event": "success", "data": None},
    ]


def test_handling_errors(live: Live) -> None:
    class MyTask(Task):
        NAME = "mytask"

        def start(self):
            raise self.Error("Task failz!")

    live.worker(MyTask)
    listener = live.listen("a")
    live.helpers.start_task("mytask", task_id="a")

    assert listener.until("error") == [{"event": "error", "data": "Task failz!"}]
    assert (live.state("a"), live.output("a")) == ("ERROR", '"Task failz!"')


def test_context(live: Live) -> None:
    web_app = Flask("web")
    seen = []

    class MyTask(Task):
        NAME = "mytask"

        @staticmethod
        def provide_context():
            # Wrap task methods in Flask.app_context
            return web_app.app_context()

        def __init__(self):
            seen.append(current_app.name)

        def start(self):
            seen.append(current_app.name)
            gevent.sleep(60)

        def stop(self):
            seen.append(current_app.name)

    live.worker(MyTask)
    task_id = live.helpers.start_task("mytask")
    wait_until(lambda: len(seen) == 2)
    live.helpers.stop_task(task_id)
    live.until(task_id, "STOPPED")

    assert seen == ["web", "web", "web"]


def test_run_loop_as_in_the_helpers(live: Live) -> None:
    class MyTask(Task):
        NAME = "mytask"

        def __init__(self):
            self.count = 0

        def start(self):
            run_loop(self.tick, 0.01)

        def tick(self):
            self.count += 1
            self.emit("tick", self.count)
            if self.count == 3:
                raise ValueError("three is enough")

    live.worker(MyTask)
    listener = live.listen("a")
    live.helpers.start_task("mytask", task_id="a")

    events = listener.until("exception")
    assert [each["event"] for each in events] == ["tick", "tick", "tick", "exception"]
    assert "three is enough" in events[-1]["data"]
    assert "in tick" in live.output("a"), "the traceback names the function"
