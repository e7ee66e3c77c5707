"""A round of Monitor over very many active tasks, and how soon a killed worker's tasks run again."""

from __future__ import annotations

import time
from typing import Any

from pytask_core.connection import RedisSource, disconnect
from pytask_core.connection.link import RedisLink
from pytask_core.keys import RedisKeys
from pytask_core.maintenance.monitor import MonitorService, Patience
from pytask_core.store import KeeperStore
from tests.bench import recovery
from tests.bench.contenders import OURS
from tests.bench.results import Results
from tests.soak.figures import percentile
from tests.support.servers.redis_server import RedisServer

ROUND, AGAIN_P50, AGAIN_P99 = "ms a round of Monitor", "ms until they run again, p50", "ms until they run again, p99"

ROUNDS = 50
PAGE = 1000


def monitor(server: RedisServer, count: int, workers: int, results: Results) -> None:
    """Rounds over so many tasks, in the hands of so many workers that are all alive."""
    server.flush()
    client, keys = RedisSource(server.url).store_client(2), RedisKeys()
    _fill(client, keys, count, workers)
    link = RedisLink("the server", lambda: None, lambda: 30.0)
    link.begin()
    patience = Patience(interval=0.001, task_timeout=60.0, unpromised=60.0, unknown_timeout=86_400.0)
    service = MonitorService(KeeperStore(client, keys), link, patience)
    for _ in range(ROUNDS):
        time.sleep(0.01)
        began = time.perf_counter()
        service.check()
        results.add(ROUND, OURS.name, (time.perf_counter() - began) * 1000)
    assert client.llen(keys.new_queue) == 0, "none of them was overdue"
    disconnect(client)
    server.flush()


def _fill(client: Any, keys: RedisKeys, count: int, workers: int) -> None:
    now = time.time() + 3600  # beats of the future: nobody is overdue while we measure
    client.zadd(keys.workers, {f"worker-{number}": now * 1000 for number in range(workers)})
    for start in range(0, count, PAGE):
        worker = f"worker-{start // PAGE % workers}"
        ids = [f"{number:036d}" for number in range(start, min(count, start + PAGE))]
        pipe = client.pipeline(transaction=False)
        for task_id in ids:
            fields = {"task": "forever", "data": "{}", "state": "RUNNING", "owner": f"{worker}:1", "last_update": now}
            pipe.hset(keys.task(task_id), mapping=fields)
        pipe.sadd(keys.task_set, *ids)
        pipe.sadd(keys.held(worker), *ids)
        pipe.execute()
    client.set(keys.running, count)


def kills(count: int, results: Results) -> None:
    """``kill -9`` of one worker of four, so many times. ``make bench-recovery`` does it two hundred times."""
    measured = recovery.measure(count, 4, 400, 1, recovery.PAUSE)
    assert not measured.disturbed, "tasks of siblings began again"
    results.add(AGAIN_P50, OURS.name, percentile(measured.times, 0.5) * 1000)
    results.add(AGAIN_P99, OURS.name, percentile(measured.times, 0.99) * 1000)
