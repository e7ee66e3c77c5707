"""``make bench``: how many no-op tasks a second, beside what Redis itself allows.

Three ways to take the same ids from the new queue to the end queue, with the same writes and events, on one server:

- ``pytask``: one worker process that runs each task;
- ``limit``: a loop that runs nothing, with a script to claim and a script to finish a hundred ids a call;
- ``pipeline``: a loop that runs nothing, with plain commands, a hundred ids a pipeline.

Seconds differ from machine to machine; the ratios are what to compare. The server is the one of the tests
(``SERVER=redis-server`` for another).
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from pytask_core import PyTaskHelpers
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

TASKS = int(os.environ.get("BENCH_TASKS", "20000"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
BATCH = 100
EVENT = '{"event": "success", "data": 1}'

WORKER = """
from gevent import monkey
monkey.patch_all()
import logging
from pytask_core import PyTask, Task

class Noop(Task):
    NAME = "noop"

    def __init__(self, number):
        pass

    def start(self):
        return 1

logging.getLogger("pytask").setLevel("ERROR")  # a full pool is what we want here
app = PyTask()
app.add_task(Noop)
app.run()
"""

CLAIM = """
local ids = redis.call('RPOP', KEYS[1], ARGV[1]) or {}
local found = {}
for _, id in ipairs(ids) do
  redis.call('HSET', 'task-' .. id, 'state', 'RUNNING', 'last_update', ARGV[2])
  found[#found + 1] = {id, redis.call('HMGET', 'task-' .. id, 'task', 'data', 'cleanup')}
end
if #ids > 0 then redis.call('SADD', KEYS[2], unpack(ids)) end
return found
"""

FINISH = """
for _, id in ipairs(ARGV) do
  redis.call('HSET', 'task-' .. id, 'state', 'SUCCESS', 'output', '1')
  redis.call('PUBLISH', 'task-' .. id, '{"event": "success", "data": 1}')
end
redis.call('SREM', KEYS[2], unpack(ARGV))
redis.call('LPUSH', KEYS[1], unpack(ARGV))
"""


def limit(client: redis.Redis) -> None:
    """The same transitions by scripts over a batch, running nothing."""
    claim, finish = client.register_script(CLAIM), client.register_script(FINISH)
    while found := claim(keys=["new-task", "tasks"], args=[BATCH, time.time()]):
        finish(keys=["end-task", "tasks"], args=[row[0] for row in found])


def pipeline(client: redis.Redis) -> None:
    """The same transitions by plain commands, running nothing."""
    while ids := client.rpop("new-task", BATCH):
        pipe = client.pipeline(transaction=False)
        for task_id in ids:
            pipe.hset(b"task-" + task_id, mapping={"state": "RUNNING", "last_update": time.time()})
            pipe.hmget(b"task-" + task_id, "task", "data", "cleanup")
            pipe.sadd("tasks", task_id)
        pipe.execute()
        for task_id in ids:
            pipe.hset(b"task-" + task_id, mapping={"state": "SUCCESS", "output": "1"})
            pipe.srem("tasks", task_id)
            pipe.lpush("end-task", task_id)
            pipe.publish(b"task-" + task_id, EVENT)
        pipe.execute()


def pytask(client: redis.Redis) -> None:
    """One worker runs them; it waits for work already, which appears all at once."""
    client.rename("waiting", "new-task")
    wait_until(lambda: client.llen("end-task") == TASKS, timeout=300, interval=0.002)


def fill(client: redis.Redis, queue: str) -> None:
    """Write the tasks and queue them, under a name of which no worker knows."""
    client.flushall()
    helpers = PyTaskHelpers(client, new_queue=queue)
    helpers.start_tasks(("noop", {"number": number}) for number in range(TASKS))
    helpers.close()


def measure(run: Callable[[redis.Redis], None], client: redis.Redis) -> tuple[float, float]:
    """Tasks a second, and microseconds of the server's CPU a task."""
    before, began = server_cpu(client), time.perf_counter()
    run(client)
    seconds, cpu = time.perf_counter() - began, server_cpu(client) - before
    assert client.llen("end-task") == TASKS
    return TASKS / seconds, cpu / TASKS * 1e6


def server_cpu(client: redis.Redis) -> float:
    info: dict[str, Any] = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def measure_worker(server: RedisServer, client: redis.Redis) -> tuple[float, float]:
    """As ``measure``, with a worker process of its own, started before and stopped after."""
    fill(client, "waiting")
    environ = {**os.environ, "PYTASK_REDIS_URL": server.url}
    worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environ, cwd=Path(__file__).parents[2])
    try:
        wait_until(lambda: client.zcard("{tasks}:workers") == 1, message="the worker")
        time.sleep(0.5)  # it settles down to wait
        return measure(pytask, client)
    finally:
        worker.send_signal(signal.SIGINT)
        worker.wait()


def main() -> None:
    results: dict[str, list[tuple[float, float]]] = {"pytask": [], "limit": [], "pipeline": []}
    with RedisServer() as server:
        client = server.client()
        for _ in range(RUNS):
            results["pytask"].append(measure_worker(server, client))
            for run in (limit, pipeline):
                fill(client, "new-task")
                results[run.__name__].append(measure(run, client))
        info = client.info("server")
        client.close()
    middle = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()}
    version = info.get("valkey_version") or info["redis_version"]
    print(f"\n{TASKS:,} no-op tasks, median of {RUNS} runs, {info.get('server_name', 'redis')} {version}\n")
    print(f"{'':10}{'tasks/s':>10}{'of limit':>10}{'of pipeline':>13}{'server µs/task':>16}{'of limit':>10}")
    for name, (rate, cpu) in middle.items():
        ratios = rate / middle["limit"][0], rate / middle["pipeline"][0], cpu / middle["limit"][1]
        print(f"{name:10}{rate:10,.0f}{ratios[0]:10.2f}{ratios[1]:13.2f}{cpu:16.1f}{ratios[2]:10.2f}")


if __name__ == "__main__":
    main()
