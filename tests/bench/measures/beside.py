"""What every contender can do, one after the other on one server, run after run with the order turned."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from tests.bench import limit, records
from tests.bench.contenders import Contender
from tests.bench.results import Results
from tests.bench.stage import ServerClock, Stage
from tests.soak.figures import percentile
from tests.support.servers.redis_server import RedisServer

RATE, SERVER, WORKER = "no-op tasks/s", "server µs/task", "worker µs/task"
NAPS, ONE, BULK = "5,000 × 0.1 s: s", "start one by one/s", "start in bulk/s"
IDLE_P50, IDLE_P99, HALF_P50, HALF_P99 = "idle p50 ms", "idle p99 ms", "half load p50 ms", "half load p99 ms"

LIMIT, PIPELINE, RAW = "limit (scripts, runs nothing)", "pipeline (commands, runs nothing)", "raw pipeline (enqueue)"

#: What each part measures.
OF_NOOP, OF_NAPS, OF_ENQUEUE = (RATE, SERVER, WORKER), (NAPS,), (ONE, BULK)
OF_LATENCY = (IDLE_P50, IDLE_P99, HALF_P50, HALF_P99)

#: The naps: how many, at once, and how long. The ideal is ``NAP_COUNT / NAP_AT_ONCE * NAP_SECONDS``.
NAP_COUNT, NAP_AT_ONCE, NAP_SECONDS = 5000, 1000, 0.1


def turns(contenders: Sequence[Contender], runs: int) -> Iterator[Contender]:
    """Each of them ``runs`` times, and nobody always first."""
    for run in range(runs):
        at = run % max(len(contenders), 1)
        yield from (*contenders[at:], *contenders[:at])


def noop(stage: Stage, count: int, results: Results) -> None:
    """How many no-op tasks a second, and what one costs workers and server. The queue is filled before."""
    who = stage.contender
    count = int(count * who.part)
    stage.client(who.bulk or "one", "noop", count)
    stage.quiet()
    stage.start()
    before = stage.cost_at_first_row()
    stage.wait_rows(count + 1)
    time.sleep(0.3)  # the last are still to be confirmed
    cost = stage.cost().since(before)
    times = sorted(row.at for row in stage.read())
    results.add(RATE, who.name, (len(times) - 1) / (times[-1] - times[0]))
    results.add(SERVER, who.name, cost.server / count * 1e6)
    results.add(WORKER, who.name, cost.workers / count * 1e6)


def naps(stage: Stage, results: Results) -> None:
    """How long it takes to run tasks that sleep, many at once."""
    who = stage.contender
    count = NAP_COUNT if who.concurrency > 1 else 50
    stage.client(who.bulk or "one", "nap", count, NAP_SECONDS)
    stage.quiet()
    stage.start()
    stage.wait_rows(2 * count + 1)
    rows = stage.read()
    began = min(row.at for row in rows if row.kind == records.BEGIN)
    took = max(row.at for row in rows if row.kind == records.END) - began
    results.add(NAPS, who.name, took * NAP_COUNT / count)


def enqueue(stage: Stage, count: int, results: Results) -> None:
    """How many tasks a second one client starts, with no worker there."""
    who = stage.contender
    stage.quiet()
    results.add(ONE, who.name, stage.client("one", "noop", count))
    if who.bulk:
        stage.server.flush()
        results.add(BULK, who.name, stage.client(who.bulk, "noop", count * 5 if who.bulk == "many" else count))


def latency(stage: Stage, seconds: float, results: Results) -> None:
    """How long from the call that starts a task to its first line: 50 a second, then half of what it can do."""
    who = stage.contender
    stage.start()
    stage.ready()
    stage.quiet()
    able = [results.median(RATE, who.name), results.median(ONE, who.name)]
    half = min((each for each in able if each), default=0.0) / 2
    for rate, p50, p99 in ((50, IDLE_P50, IDLE_P99), (int(half), HALF_P50, HALF_P99)):
        if rate:
            before = len(stage.read())
            stage.client("rate", "late", rate, seconds)
            stage.wait_rows(before + int(rate * seconds))
            late = [(row.at - row.sent) * 1000 for row in stage.read()[before:]]
            results.add(p50, who.name, percentile(late, 0.5))
            results.add(p99, who.name, percentile(late, 0.99))


def limits(server: RedisServer, count: int, results: Results) -> None:
    """The loops that run nothing."""
    client: Any = server.client()
    clock = ServerClock(server)
    for name, run in ((LIMIT, limit.by_scripts), (PIPELINE, limit.by_commands)):
        server.flush()
        began = time.perf_counter()
        limit.enqueue(client, count)
        results.add(BULK, RAW, count / (time.perf_counter() - began))
        cpu, began = clock.read(), time.perf_counter()
        run(client)
        results.add(RATE, name, count / (time.perf_counter() - began))
        results.add(SERVER, name, (clock.read() - cpu) / count * 1e6)
        assert client.llen("end-task") == count
    clock.close()
    client.close()
