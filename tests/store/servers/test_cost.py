"""What one call costs the server does not grow with the queue, the task set or the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from tests.store.conftest import Desk
from tests.support.servers.redis_cluster import ServerCluster

SHORT, LONG = 5_000, 200_000
CALLS = 40


def fill(desk: Desk, count: int) -> None:
    """A queue of foreign ids, which have no hash yet."""
    desk.redis.flushall()
    for start in range(0, count, 10_000):
        desk.redis.lpush(desk.keys.new_queue, *[f"filler-{start + number}" for number in range(min(10_000, count))])


def microseconds(desk: Desk, calls: Iterable[Callable[[], object]]) -> float:
    """What all servers say they spent on a call: the median, since any one of them may have had to wait for a CPU."""
    servers = desk.server.nodes if isinstance(desk.server, ServerCluster) else [desk.server]
    clients = [server.client() for server in servers]

    def one(call: Callable[[], object]) -> float:
        for client in clients:
            client.execute_command("CONFIG", "RESETSTAT")
        call()
        rows = [client.info("commandstats") for client in clients]
        return float(
            sum(row[name]["usec"] for row in rows for name in ("cmdstat_evalsha", "cmdstat_eval") if name in row)
        )

    found = median(one(call) for call in calls)
    assert found > 0, "no server has done anything"
    return found


def measure(desk: Desk, length: int) -> dict[str, float]:
    fill(desk, length)
    worker = desk.worker()
    ids = [f"id-{number}" for number in range(CALLS)]
    in_the_middle = [f"filler-{length // 2 + number}" for number in range(CALLS)]
    for each in in_the_middle:
        desk.redis.hset(desk.keys.task(each), mapping={"task": "job", "data": "{}"})
    cost = {}

    def each_of(what: str, ids: list[str], call: Callable[[str], object]) -> None:
        cost[what] = microseconds(desk, [lambda each=each: call(each) for each in ids])

    each_of("start", ids, desk.start)
    each_of("start what waits", ids, desk.start)
    each_of("start what a producer queued by hand", in_the_middle, desk.start)
    each_of("restart what waits", ids, desk.client.restart)
    each_of("stop", ids, desk.client.stop)
    each_of("restart what stopped", ids, desk.client.restart)
    each_of("remove", ids, desk.client.remove)
    each_of("start what was removed", ids, desk.start)
    each_of("claim", ids, lambda _: desk.claim(worker, room=1))
    return cost


def test_no_call_costs_more_with_a_long_queue(desk: Desk) -> None:
    measure(desk, 100)  # the scripts are compiled
    short, long = measure(desk, SHORT), measure(desk, LONG)

    # The queue is 40 times as long: whatever scans it shows by far more than this.
    grown = {what: (short[what], long[what]) for what in short if long[what] > 4 * short[what] + 10}
    assert not grown, f"microseconds with {SHORT:,} and {LONG:,} ids in the queue: {grown}"


def test_a_renewal_and_an_end_cost_the_same_with_many_active_tasks_and_workers(desk: Desk) -> None:
    def cost(others: int) -> float:
        desk.redis.flushall()
        worker = desk.worker()
        ids = [f"id-{number}" for number in range(CALLS)]
        token = desk.run(worker, *ids)
        desk.redis.sadd(desk.keys.task_set, *[f"other-{number}" for number in range(others)])
        desk.redis.zadd(desk.keys.workers, {f"other-{number}": 1e15 for number in range(others // 100)})
        calls = [lambda each=each: worker.renew([(each, token)]) for each in ids]
        ends = [lambda each=each: desk.end(worker, each, token) for each in ids]
        return microseconds(desk, [*calls, *ends])

    cost(100)
    few, many = cost(1_000), cost(100_000)
    assert many < 4 * few + 10, f"microseconds: {few} and {many}"
