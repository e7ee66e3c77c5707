"""Descriptors that tasks open and leave to Python."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

APP = """
from pytask_core import PyTask, Task


class Opens(Task):
    NAME = "opens"

    def __init__(self, how):
        self.how = how
        self.file = open("/dev/null")

    def start(self):
        mine = open("/dev/null")
        if self.how == "fails":
            raise ValueError("a bug of the app")
        if self.how == "error":
            raise self.Error("as expected")
        return mine.fileno() and 1


app = PyTask()
app.add_tasks(Opens)
"""


def test_eighteen_hundred_tasks_that_open_files_never_run_out_of_a_thousand_descriptors(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    (tmp_path / "opening.py").write_text(APP)
    words = ["--workers", "1", "--app", "opening:app", "--redis", redis_server.url]
    limit = ["bash", "-c", 'ulimit -n 1024; exec "$@"', "limit"]
    with (
        closing(PyTaskHelpers(redis_server.client(decode_responses=True))) as helpers,
        SupervisorProcess(tmp_path, *words, launcher=limit) as supervisor,
    ):
        supervisor.expected = ["ended as", "Traceback", "ValueError", "raise "]
        supervisor.wait_ready(1)
        for how, state in (("ends", "SUCCESS"), ("error", "ERROR"), ("fails", "EXCEPTION")):
            # In turns, as they come: together they would hold too many at once.
            for _ in range(3):
                ids = helpers.start_tasks([("opens", {"how": how})] * 200)
                wait_until(lambda ids=ids: all(helpers.get_task(each, "output") for each in ids), 30)
                assert {helpers.get_task(each, "state") for each in ids} == {state}
        assert "Too many open files" not in supervisor.text
        assert supervisor.stop() == 0
