"""What a worker reads from Redis: hashes, queues, sets, sorted sets and control channels, with anything in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import RedisError, ResponseError

from pytask_core import PyTaskHelpers
from pytask_core.keys import RedisKeys
from tests.fuzz.shapes import EXAMPLES
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

JOBS = """
from pytask_core import PyTask, Task

class Noarg(Task):
    NAME = "noarg"

    def start(self):
        return 1

app = PyTask()
app.add_tasks(Noarg)
"""

#: Bytes by which a worker may grow, whatever it reads.
MOST_GROWTH = 100 << 20
#: What no log of a healthy worker has in it. That of a task that is given bad data stands in from the margin.
TROUBLE = ("\nTraceback", "A bug in pytask", "unexpected error", "and begins again", "could not be renewed")

ids = st.sampled_from(["a", "b", "c-control", "\x00\n", "d:e", "{f}"]) | st.text(max_size=5)
raw = st.binary(max_size=40) | st.sampled_from(
    [
        b"stop",
        b"reload",
        b"stop x:1",
        b"1e999",
        b"-inf",
        b"nan",
        b"{}",
        b"[" * 2000,
        b"null",
        b"true",
        b"noarg",
        b"\x1b[31m",
    ]
)
fields = st.sampled_from(
    ["task", "data", "state", "last_update", "output", "cleanup", "local", "owner", "deliveries", "command", "options"]
) | st.text(max_size=8)


@st.composite
def writes(draw: st.DrawFn) -> tuple[Any, ...]:
    """One command of a program that can write everything that belongs to tasks."""
    task_id = draw(ids)
    return draw(
        st.sampled_from(
            [
                ("HSET", f"task-{task_id}", draw(fields), draw(raw)),
                ("HSET", f"task-{task_id}", "task", "noarg", "data", draw(raw), "last_update", draw(raw)),
                ("SET", f"task-{task_id}", draw(raw)),
                ("DEL", f"task-{task_id}"),
                ("LPUSH", "new-task", task_id),
                ("LPUSH", "new-task", draw(raw)),
                ("LPUSH", "end-task", draw(raw)),
                ("SADD", "tasks", draw(raw)),
                ("SADD", "tasks", task_id),
                ("SREM", "tasks", task_id),
                ("PUBLISH", f"task-{task_id}-control", draw(raw)),
                ("PUBLISH", f"task-{task_id}-control", b"stop " + draw(raw)),
                ("ZADD", RedisKeys().workers, draw(st.floats(-1e12, 1e12)), draw(raw)),
            ]
        )
    )


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Iterator[SupervisorProcess]:
    folder = tmp_path_factory.mktemp("app")
    Path(folder, "jobs.py").write_text(JOBS)
    with SupervisorProcess(folder, "--app", "jobs:app", "--workers", "1", "--redis", server.url) as made:
        made.wait_ready(1)
        yield made
        made.stop()
        # Tasks are to fail of what they are given.
        made.expected += ["ERROR", "Traceback", "Exception", "EXCEPTION", "Warning"]


@settings(max_examples=max(EXAMPLES // 5, 10), deadline=None, suppress_health_check=list(HealthCheck))
@given(commands=st.lists(writes(), max_size=15))
def test_nothing_in_redis_ends_stalls_or_fills_a_worker(
    server: RedisServer, supervisor: SupervisorProcess, commands: list[tuple[Any, ...]]
) -> None:
    [pid] = supervisor.workers().values()
    before = psutil.Process(pid).memory_info().rss
    size = len(supervisor.text)
    with closing(server.client()) as client:
        for command in commands:
            with suppress(ResponseError):  # A key of another type stands there by now.
                client.execute_command(*command)
        helpers = PyTaskHelpers(client)
        good = helpers.start_task("noarg")
        wait_until(lambda: client.hget(f"task-{good}", "state") == b"SUCCESS", 10, f"a good task, after {commands}")
        with suppress(RedisError):
            client.flushall()
    said = supervisor.text[size:]
    assert not any(words in said for words in TROUBLE), said
    assert list(supervisor.workers().values()) == [pid]
    assert psutil.Process(pid).memory_info().rss - before < MOST_GROWTH
