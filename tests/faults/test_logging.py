"""What an app does with ``logging``: from native threads, and by configurations of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]

APP = """
from gevent import monkey

monkey.patch_all()

import logging
import logging.config
import logging.handlers
import socket
import time

import gevent

from pytask_core import PyTask, Task

CONFIG = {
    "version": 1,
    "formatters": {"plain": {"format": "%(name)s %(levelname)s %(message)s"}},
    "handlers": {"c": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "INFO", "handlers": ["c"]},
}
if WHEN == "import":
    logging.config.dictConfig(CONFIG)
log = logging.getLogger("theirs")
real_sleep = monkey.get_original("time", "sleep")


class Native(Task):
    NAME = "native"

    def start(self):
        def work():
            for number in range(1500):
                log.info("native %d", number)
                logging.getLogger(f"native.{self.id}.{number % 50}").debug("nothing")
                real_sleep(0)

        gevent.get_hub().threadpool.apply(work)


class Green(Task):
    NAME = "green"

    def start(self):
        for number in range(1500):
            log.info("green %d", number)
            logging.getLogger(f"green.{self.id}.{number % 50}").debug("nothing")
            time.sleep(0)


class Configures(Task):
    NAME = "configures"

    def start(self):
        logging.config.dictConfig(CONFIG)


class AddsHandlers(Task):
    NAME = "adds-handlers"

    def start(self):
        class Own(logging.StreamHandler):
            def emit(self, record):  # It gives way, as what sends over a network does.
                assert not self.is_inside, "one record at a time"
                self.is_inside = True
                time.sleep(0)
                self.is_inside = False

        own = Own()
        own.is_inside = False
        for handler in (logging.FileHandler("theirs.log"), own):
            log.addHandler(handler)


class Deaf(Task):
    NAME = "deaf"

    def start(self):
        logging.raiseExceptions = False
        ours, self.theirs = socket.socketpair()
        handler = logging.handlers.SocketHandler("127.0.0.1", 1)
        handler.sock = ours
        deaf = logging.getLogger("deaf")
        deaf.propagate, deaf.handlers = False, deaf.handlers or [handler]
        while True:
            deaf.info("x" * 50_000)
            time.sleep(0)

    def stop(self):
        self.theirs.close()


class Broken(Task):
    NAME = "broken"

    def start(self):
        raise ValueError("a bug of the app")


app = PyTask()
app.add_tasks(Native, Green, Configures, AddsHandlers, Deaf, Broken)
if __name__ == "__main__":
    logging.config.dictConfig(CONFIG)
    app.run()
"""


@pytest.fixture
def helpers(redis_server: RedisServer) -> Iterator[PyTaskHelpers]:
    with closing(PyTaskHelpers(redis_server.client(decode_responses=True))) as made:
        yield made


def _write(folder: Path, when: str) -> None:
    (folder / "talking.py").write_text(APP.replace("WHEN", repr(when)))


def _talk(helpers: PyTaskHelpers) -> None:
    """Eight native threads and eight greenlets log without a pause, and all end."""
    ids = helpers.start_tasks([("native", {})] * 8 + [("green", {})] * 8)

    def states() -> set[object]:
        return {helpers.get_task(task_id, "state") for task_id in ids}

    wait_until(lambda: states() == {"SUCCESS"}, 60, "all sixteen to end")


@pytest.mark.parametrize("when", ["never", "import"])
def test_native_threads_and_greenlets_log_side_by_side_under_the_supervisor(
    tmp_path: Path, redis_server: RedisServer, helpers: PyTaskHelpers, when: str
) -> None:
    _write(tmp_path, when)
    words = ["--workers", "1", "--app", "talking:app", "--redis", redis_server.url]
    with SupervisorProcess(tmp_path, *words) as supervisor:
        supervisor.wait_ready(1)
        _talk(helpers)
        assert supervisor.stop() == 0


def test_native_threads_and_greenlets_log_side_by_side_in_a_worker_by_itself(
    tmp_path: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    _write(tmp_path, "never")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTASK_REDIS_URL": redis_server.url}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "talking.py"], cwd=tmp_path, env=environ, stdout=log, stderr=log)
    try:
        _talk(helpers)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()


def test_native_threads_and_greenlets_log_side_by_side_by_handlers_that_a_task_has_made(
    tmp_path: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    _write(tmp_path, "never")
    words = ["--workers", "1", "--app", "talking:app", "--redis", redis_server.url]
    with SupervisorProcess(tmp_path, *words) as supervisor:
        supervisor.wait_ready(1)
        task_id = helpers.start_task("adds-handlers")
        wait_until(lambda: helpers.get_task(task_id, "state") == "SUCCESS")
        _talk(helpers)
        assert supervisor.stop() == 0
    assert len((tmp_path / "theirs.log").read_text().splitlines()) == 16 * 1500


def test_a_handler_that_keeps_all_waiting_is_named_with_the_task_whose_record_it_sends(
    tmp_path: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    _write(tmp_path, "never")
    words = ["--workers", "1", "--app", "talking:app", "--redis", redis_server.url]
    with SupervisorProcess(tmp_path, *words) as supervisor:
        supervisor.wait_ready(1)
        helpers.start_tasks([("deaf", {}, "a"), ("deaf", {}, "b")])
        supervisor.wait_for("The log handler SocketHandler has been busy with one record for 10 s")
        assert "the record is of task '" in supervisor.text
        assert supervisor.stop() == 0


@pytest.mark.parametrize("when", ["import", "task"])
def test_a_configuration_of_the_apps_silences_nothing_of_ours(
    tmp_path: Path, redis_server: RedisServer, helpers: PyTaskHelpers, when: str
) -> None:
    _write(tmp_path, when)
    words = ["--workers", "1", "--app", "talking:app", "--redis", redis_server.url]
    with SupervisorProcess(tmp_path, *words) as supervisor:
        supervisor.expected = ["ended as EXCEPTION", "Traceback", "ValueError"]
        supervisor.wait_ready(1)
        if when == "task":
            task_id = helpers.start_task("configures")
            wait_until(lambda: helpers.get_task(task_id, "state") == "SUCCESS")
        helpers.start_task("broken", task_id="b")
        supervisor.wait_for("pytask.runner ERROR Task 'b' (broken) ended as EXCEPTION")
        assert supervisor.stop() == 0
        # The end of the task may still be on its way to Redis, so how many go back is not asked here.
        assert "pytask.worker INFO Stopping. Tasks that go back to the queue: " in supervisor.text
