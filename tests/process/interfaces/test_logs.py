"""Logs of real workers: which task spoke, in text and in JSON; and a log that is gone stops no task (F37)."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

TALKERS = '''
import logging

import gevent

from pytask_core import PyTask, Task

log = logging.getLogger("my.own")


class Talker(Task):
    """Logs from its own greenlet, from one that it spawned, and from stop()."""

    NAME = "talker"

    def start(self):
        log.info("from start of %s", self.id)
        self.loop = gevent.spawn(self.work)
        self.loop.get()

    def work(self):
        log.info("from the loop of %s", self.id)
        gevent.sleep(1000)

    def stop(self):
        log.info("from stop of %s", self.id)
        self.loop.kill()


class Printer(Task):
    """Prints and logs a lot, and counts how far it came."""

    NAME = "printer"

    def start(self):
        while True:
            print("x" * 100)
            log.info("y" * 100)
            self.redis.incr("printed")
            gevent.sleep(0.005)


class Failing(Task):
    NAME = "failing"

    def start(self):
        1 / 0


app = PyTask()
app.add_tasks(Talker, Printer, Failing)
'''


@pytest.fixture
def talkers(folder: Path) -> str:
    """An app of tasks that log."""
    (folder / "talkers.py").write_text(TALKERS)
    return "talkers:app"


def printed(server: RedisServer) -> int:
    return int(server.client().get("printed") or 0)


def test_each_line_of_a_task_names_it_whichever_of_its_greenlets_speaks(
    start: Start, talkers: str, helpers: PyTaskHelpers
) -> None:
    ids = [f"talker-{n}" for n in range(3)]
    with start("--workers", "1", app=talkers) as supervisor:
        supervisor.wait_ready(1)
        helpers.start_tasks([("talker", {}, one) for one in ids])
        supervisor.wait_for("from the loop", 3)
        for one in ids:
            helpers.stop_task(one)
        supervisor.wait_for("from stop", 3)
        assert supervisor.stop() == 0
        for one in ids:
            for where in ("start", "the loop", "stop"):
                assert f"[worker 1] [{one}] from {where} of {one}\n" in supervisor.text


def test_json_is_an_object_a_line_that_names_worker_pid_slot_and_task(
    start: Start, talkers: str, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "2", "--log-format", "json", app=talkers) as supervisor:
        supervisor.expected = ["ZeroDivisionError"]
        supervisor.wait_for('"message": "2 workers are ready"')
        pids = supervisor.workers()
        helpers.start_task("talker", "the-talker")
        helpers.start_task("failing", "the-failing")
        supervisor.wait_for("from the loop")
        supervisor.wait_for("ZeroDivisionError")
        assert supervisor.stop() == 0
        lines = [json.loads(line) for line in supervisor.text.splitlines()]
    # The first: where one worker stops sooner than the other, that one may begin the task once more.
    spoken, *_ = [line for line in lines if line["message"] == "from the loop of the-talker"]
    assert spoken["logger"] == "my.own"
    assert spoken["task"] == "the-talker"
    assert spoken["pid"] == pids[spoken["slot"]]
    assert str(spoken["pid"]) in spoken["worker"]
    (failed,) = [line for line in lines if "ZeroDivisionError" in line["message"]]
    assert failed["task"] == "the-failing"
    assert "slot" not in lines[0]


def test_what_cannot_be_opened_at_the_start_is_told_as_json_too(start: Start, talkers: str, folder: Path) -> None:
    words = ["--log-format", "json", "--control-socket", str(folder / "nowhere" / "x.sock")]
    with start(*words, app=talkers) as supervisor:
        supervisor.expected = ["cannot be opened"]
        assert supervisor.wait() == 2
        last = json.loads(supervisor.text.splitlines()[-1])
    assert last["level"] == "ERROR"
    assert last["message"].startswith("the control socket cannot be opened: ")


def test_a_pipe_that_nobody_reads_any_more_stops_no_task_and_the_loss_is_told(
    folder: Path, talkers: str, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """F37: first nobody reads, then the reader is gone, then there is one again."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    out = os.open(fifo, os.O_WRONLY)
    words = ["--workers", "2", "--app", talkers, "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, stage="into_fifo", environ={"FIFO": str(fifo)}) as supervisor:
        os.close(out)
        wait_until(lambda: len(supervisor.workers()) == 2)
        task_id = helpers.start_task("printer")
        for state in ("nobody reads", "the reader is gone"):
            if state == "the reader is gone":
                os.close(reader)
            goal = printed(redis_server) + 300
            wait_until(lambda goal=goal: printed(redis_server) > goal, message=state)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        heard = bytearray()

        def is_told() -> bool:
            try:
                heard.extend(os.read(reader, 65_536))
            except BlockingIOError:
                return False
            return b"log lines dropped: Broken pipe" in heard

        wait_until(is_told, 5)
        assert helpers.get_task(task_id)["state"] == "RUNNING"
        assert supervisor.stop() == 0
    os.close(reader)


def test_a_full_disk_stops_no_task_and_the_loss_is_told_once_there_is_room(
    start: Start, talkers: str, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """F37: within five seconds."""
    with start("--workers", "2", app=talkers) as supervisor:
        supervisor.wait_ready(2)
        # The limit stands in for the disk: a file can grow no further.
        size = supervisor.log.stat().st_size + 1000
        processes = [psutil.Process(pid) for pid in (supervisor.pid, *supervisor.workers().values())]
        limits = processes[0].rlimit(resource.RLIMIT_FSIZE)
        for process in processes:
            process.rlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        task_id = helpers.start_task("printer")
        wait_until(lambda: printed(redis_server) > 300)
        assert supervisor.log.stat().st_size == size
        assert helpers.get_task(task_id)["state"] == "RUNNING"
        for process in processes:
            process.rlimit(resource.RLIMIT_FSIZE, limits)
        supervisor.wait_for("log lines dropped: File too large", timeout=5)
        assert supervisor.stop() == 0


def test_prints_that_nobody_can_take_are_told_and_counted(
    start: Start, talkers: str, helpers: PyTaskHelpers, redis_server: RedisServer
) -> None:
    """As where stdout is a file on a full disk, and stderr is not."""
    into_full = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
    words = ["--workers", "1", "--metrics-port", "0"]
    with start(*words, app=talkers, launcher=into_full) as supervisor:
        supervisor.wait_ready(1)
        helpers.start_task("printer")
        supervisor.wait_for("dropped: No space left on device")
        assert supervisor.lines("WARNING", "worker 1")[0].partition(" ")[2].startswith("printed line")
        wait_until(lambda: printed(redis_server) > 20)
        found = re.search(r"metrics at (\S+),", supervisor.text)
        assert found is not None

        def lost() -> float:
            with urllib.request.urlopen(found[1], timeout=5) as page:
                (line,) = re.findall(r"^pytask_log_lines_dropped_total (\S+)$", page.read().decode(), re.MULTILINE)
            return float(line)

        wait_until(lambda: lost() > 20)
        assert supervisor.stop() == 0


def test_workers_write_whole_lines_into_one_pipe(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """As under a container's log driver: all JSON can be read, also lines longer than a pipe takes at once."""
    long_lines = TALKERS.replace('"y" * 100', '"y" * 9000').replace('print("x" * 100)', "pass")
    (folder / "long.py").write_text(long_lines)
    words = ["--workers", "4", "--app", "long:app", "--redis", redis_server.url, "--log-format", "json"]
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    with (
        subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE) as reader,
        SupervisorProcess(folder, *words, stage="into_fifo", environ={"FIFO": str(fifo)}) as supervisor,
    ):
        wait_until(lambda: len(supervisor.workers()) == 4)
        helpers.start_tasks([("printer", {})] * 8)
        assert reader.stdout is not None
        lines = [json.loads(reader.stdout.readline()) for _ in range(400)]
        while len({line.get("slot") for line in lines}) < 5 and len(lines) < 100_000:
            lines.append(json.loads(reader.stdout.readline()))
        supervisor.send(signal.SIGTERM)
        lines += [json.loads(line) for line in reader.stdout.read().splitlines()]
        assert supervisor.wait() == 0
    assert len({line.get("slot") for line in lines}) == 5


#: A line of the master's, and what a terminal acts upon.
FORGED = "x\n2026-11-25 00:00:00,000 INFO [master] all workers have left \x1b[31mFORGED\x1b]0;pwned\x07\u202e"


def test_names_ids_and_errors_cannot_forge_lines_or_steer_a_terminal(
    start: Start, talkers: str, folder: Path, helpers: PyTaskHelpers, redis_server: RedisServer
) -> None:
    """By who may only queue tasks, and by a task's own words."""
    (folder / "talkers.py").write_text(TALKERS.replace("1 / 0", f"raise self.Error({FORGED!r})"))
    client = redis_server.client()
    with start("--workers", "1", app=talkers) as supervisor:
        supervisor.expected = ["FORGED"]
        supervisor.wait_ready(1)
        client.hset("task-1", mapping={"task": FORGED, "data": "{"})
        client.hset("task-" + FORGED, mapping={"task": "failing"})
        client.lpush("new-task", "1", FORGED, FORGED + "2")
        supervisor.wait_for("has no hash")
        supervisor.wait_for("ended as ERROR")
        helpers.start_task("failing", "last")
        supervisor.wait_for("'last' (failing) ended as ERROR")
        assert supervisor.stop() == 0
        text = supervisor.text
    assert "FORGED" in text
    assert text.replace("\n", "").isprintable()
    assert all(re.match(r"20\d\d-|  ", line) for line in text.splitlines())
    assert not [line for line in text.splitlines() if line.startswith("2026-11-25 00:00:00,000")]


def test_an_id_that_was_made_to_be_searched_for_passwords_holds_no_worker(
    start: Start, talkers: str, helpers: PyTaskHelpers, redis_server: RedisServer
) -> None:
    """It held one for half a minute, so that it was killed as hung, with all its tasks."""
    client = redis_server.client()
    with start("--workers", "1", app=talkers) as supervisor:
        supervisor.wait_ready(1)
        for number, words in enumerate(("a." * 60_000 + "://", "a://b:" * 20_000, "redis://" + ":@" * 60_000)):
            client.lpush("new-task", words + str(number))
        supervisor.wait_for("has no hash", timeout=8)
        helpers.start_task("talker", "good")
        supervisor.wait_for("from the loop of good", timeout=8)
        assert supervisor.stop() == 0
        assert max(map(len, supervisor.text.splitlines())) < 1_000
