"""Tasks that run for ever: their memory, their renewal, how a burst of them spreads and stops. And how a start goes."""

from __future__ import annotations

import signal
import time
from typing import Any

import psutil

from pytask_core import PyTaskHelpers
from tests.bench import records
from tests.bench.contenders import OURS, SUPERVISED
from tests.bench.results import Results
from tests.bench.stage import Stage
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

MEMORY, RENEWING, SHARE = (
    "KiB of memory per for-ever task",
    "% of a core to renew them",
    "% on the fullest of 4 workers",
)
STOP, STOP_LEFT = "s to stop 4 workers", "of their tasks not WAIT and queued"

#: Seconds over which renewals are watched; they come every 5.
WATCH = 15.0


def memory_and_renewing(server: RedisServer, count: int, results: Results) -> None:
    """``count`` tasks for ever in one worker."""
    with Stage(server, OURS, concurrency=count + 100) as stage:
        stage.start()
        stage.ready()
        # The first thousand has the allocator and the caches grow that all others share.
        before = stage.memory()
        rows = records.count(stage.rows)
        stage.client("many", "forever", count)
        stage.wait_rows(rows + count + 1)  # and the no-op by which the client warms up
        time.sleep(2.0)
        results.add(MEMORY, OURS.name, (stage.memory() - before) / count / 1024)
        cost = stage.cost()
        time.sleep(WATCH)
        used = stage.cost().since(cost)
        results.add(RENEWING, OURS.name, used.workers / used.at * 100)


def burst(server: RedisServer, count: int, results: Results) -> None:
    """``count`` tasks for ever, all at once, on four idle workers; then all of them are asked to stop."""
    with Stage(server, SUPERVISED, concurrency=count) as stage:
        stage.start()
        client: Any = server.client(decode_responses=True)
        wait_until(lambda: client.zcard("{tasks}:workers") == SUPERVISED.processes, 30, "four workers")
        stage.ready()
        rows = records.count(stage.rows)
        stage.client("many", "forever", count)
        stage.wait_rows(rows + count + 1)
        held = [client.scard(f"{{tasks}}:held:{worker}") for worker in client.zrange("{tasks}:workers", 0, -1)]
        results.add(SHARE, OURS.name, max(held) / count * 100)
        began = time.monotonic()
        stage.processes[0].send_signal(signal.SIGTERM)
        stage.processes[0].wait(60)
        results.add(STOP, OURS.name, time.monotonic() - began)
        helpers = PyTaskHelpers(server.url)
        waiting = helpers.get_new_task_ids()
        states = helpers.get_tasks(waiting, ["state"])
        results.add(STOP_LEFT, OURS.name, count - sum(row == ["WAIT"] for row in states))
        helpers.close()
        client.close()


START, MASTER = "s until 4 workers are ready", "MiB of the master"


def start(server: RedisServer, results: Results) -> None:
    """How soon a supervisor and four workers are ready, and how large the master is."""
    with Stage(server, SUPERVISED) as stage:
        client: Any = server.client()
        began = time.monotonic()
        stage.start()
        wait_until(lambda: client.zcard("{tasks}:workers") == SUPERVISED.processes, 60, "four workers", 0.002)
        results.add(START, OURS.name, time.monotonic() - began)
        time.sleep(0.5)
        rss = psutil.Process(stage.processes[0].pid).memory_info().rss
        results.add(MASTER, OURS.name, rss / 2**20)
        client.close()
