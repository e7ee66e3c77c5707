"""How the cost of a task grows: with the queue, the workers, what runs beside it, and its payload.

Cost is CPU, of the server and of ours, in microseconds a task: seconds would tell more of the machine's other work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from pytask_core import PyTaskHelpers
from pytask_core.connection import RedisSource, disconnect
from pytask_core.keys import RedisKeys
from pytask_core.store import Ending, WorkerStore
from tests.bench import limit, records
from tests.bench.contenders import OURS
from tests.bench.stage import ServerClock, Stage
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

#: A curve whose last cost is no more than so many times its first, or its cheapest, does not grow.
FLAT = 1.5

#: The cost at a length of the queue is the least of so many parts, each of so many rounds of so many tasks.
PARTS, ROUNDS, AT_ONCE = 8, 60, 10


@dataclass(frozen=True)
class Curve:
    """Cost at each point."""

    name: str
    along: str  #: what the points count
    #: Whether design says that it must not grow.
    is_to_be_flat: bool
    #: Where, µs of the server, µs of ours; and, where it was measured, µs of the server for the limit loop.
    points: list[tuple[float, ...]]
    #: What the reader must know of it besides.
    note: str = ""

    @property
    def growth(self) -> float:
        """How many times as much the last point costs as the cheapest, server and ours together."""
        sums = [server + ours for _, server, ours, *_ in self.points]
        return sums[-1] / min(sums)

    @property
    def sentence(self) -> str:
        """Whether it grows, in words."""
        (first, *_), (last, *_) = self.points[0], self.points[-1]
        span = f"from {first:,.0f} to {last:,.0f} {self.along}"
        words = f"It does not grow {span}: ×{self.growth:.2f}."
        if self.growth > FLAT:
            words = f"It grows {span}: ×{self.growth:.2f}" + (", which it must not." if self.is_to_be_flat else ".")
        return f"{words} {self.note}".strip()


def with_queue(most: int) -> Curve:
    """The curve that must not grow."""
    return Curve("Queue", "waiting tasks", True, _lengths(most, None))


def with_other_malloc(most: int) -> Curve:
    """The same on the server as the wheel has it."""
    note = "The same with the C library's malloc, which the wheel's server is built with."
    return Curve("Allocator", "waiting tasks", False, _lengths(most, ""), note)


def _lengths(most: int, preload: str | None) -> list[tuple[float, ...]]:
    """Start, claim and end a task while so many wait before it: through the store, ten at a time.

    Each point has a server of its own, so that none finds the memory as another left it.
    """
    points = []
    length = 10
    while length <= most:
        with RedisServer(tcp=True, preload=preload) as server:
            ours = _at_length(server, length)
        with RedisServer(tcp=True, preload=preload) as server:
            points.append((float(length), *ours, _limit_at_length(server, length)))
        length *= 10
    return points


def _least(turn: Callable[[], None], clock: ServerClock) -> tuple[float, float]:
    """µs of the server and of ours for a task, of turns with ``AT_ONCE`` tasks each."""
    costs = []
    for _ in range(PARTS):
        cpu, ours = clock.read(), time.process_time()
        for _ in range(ROUNDS):
            turn()
        costs.append((clock.read() - cpu, time.process_time() - ours))
    tasks = ROUNDS * AT_ONCE
    # What else the machine does can only add.
    return min(server for server, _ in costs) / tasks * 1e6, min(ours for _, ours in costs) / tasks * 1e6


def _at_length(server: RedisServer, length: int) -> tuple[float, float]:
    client, keys = RedisSource(server.url).store_client(2), RedisKeys()
    helpers, clock = PyTaskHelpers(server.url), ServerClock(server)
    store = WorkerStore(client, client, keys, "bench")
    store.register(["noop"])
    helpers.start_tasks(("noop", {"number": number}) for number in range(length))
    tokens = (f"bench:{number}" for number in count(1))

    def turn() -> None:
        for number in range(AT_ONCE):
            helpers.start_task("noop", number=number)
        token = next(tokens)
        claims = store.claim(token, AT_ONCE, insist=True)
        store.report([], [Ending(task.id, token, "SUCCESS", "1") for task in claims.tasks], [], [])

    cost = _least(turn, clock)
    helpers.close()
    clock.close()
    disconnect(client)
    return cost


def _limit_at_length(server: RedisServer, length: int) -> float:
    """The same by the limit loop: what of it is the server's own."""
    client: Any = server.client()
    clock = ServerClock(server)
    limit.enqueue(client, length)
    numbers = count(length)
    claim, finish = client.register_script(limit.CLAIM), client.register_script(limit.FINISH)

    def turn() -> None:
        for _ in range(AT_ONCE):
            limit.enqueue_one(client, next(numbers))
        found = claim(keys=["new-task", "tasks"], args=[AT_ONCE, time.time()])
        finish(keys=["end-task", "tasks"], args=[row[0] for row in found])

    cost, _ = _least(turn, clock)
    clock.close()
    client.close()
    return cost


def with_workers(server: RedisServer, counts: Iterable[int], tasks: int) -> Curve:
    """No-op tasks by so many workers."""
    points = []
    for workers in counts:
        with Stage(server, OURS) as stage:
            client: Any = server.client()
            stage.start(workers)
            wait_until(lambda: client.zcard("{tasks}:workers") == workers, 60, "the workers")  # noqa: B023 - called here
            time.sleep(0.5)
            points.append((float(workers), *_run(stage, lambda: stage.client("many", "noop", tasks), tasks)))
            client.close()
    return Curve("Workers", "workers", True, points)


def with_running(server: RedisServer, most: int, tasks: int) -> Curve:
    """No-op tasks in one worker in which so many others run for ever."""
    points = []
    running = 10
    while running <= most:
        with Stage(server, OURS, concurrency=most + 1000) as stage:
            stage.start()
            stage.client("many", "forever", running)
            stage.wait_rows(running + 1)
            time.sleep(1)
            points.append((float(running), *_run(stage, lambda: stage.client("many", "noop", tasks), tasks)))
        running *= 10
    return Curve("Running", "tasks that run for ever beside it", True, points)


def with_payload(server: RedisServer, sizes: Iterable[int], tasks: int) -> Curve:
    """No-op tasks with so many bytes of data."""
    points = []
    for size in sizes:
        with Stage(server, OURS) as stage:
            stage.start()
            stage.ready()
            helpers = PyTaskHelpers(server.url)
            padding = "x" * (size - 30)

            def fill(helpers: PyTaskHelpers = helpers, padding: str = padding) -> None:
                helpers.start_tasks(("noop", {"number": number, "padding": padding}) for number in range(tasks))

            points.append((float(size), *_run(stage, fill, tasks)))
            helpers.close()
    return Curve("Payload", "bytes of data", False, points)


def _run(stage: Stage, fill: Callable[[], object], tasks: int) -> tuple[float, float]:
    """Have tasks run; µs of server and workers for each."""
    rows = records.count(stage.rows)
    before = stage.cost()
    fill()
    stage.wait_rows(rows + tasks)
    time.sleep(0.3)
    cost = stage.cost().since(before)
    return cost.server / tasks * 1e6, cost.workers / tasks * 1e6


def curves(server: RedisServer, *, is_small: bool) -> Iterator[Curve]:
    """All of them, one after the other; ``is_small``: fewer points, to see that it works."""
    size = 0.1 if is_small else 1.0
    most = int(1_000_000 * size**2)
    yield with_queue(most)
    if os.environ.get("PYTASK_TEST_PRELOAD"):
        yield with_other_malloc(most)
    yield with_workers(server, (1, 2) if is_small else (1, 2, 4, 8), int(20_000 * size))
    yield with_running(server, int(10_000 * size), int(10_000 * size))
    yield with_payload(server, (100, 1000) if is_small else (100, 1000, 10_000, 100_000), int(2000 * size))
