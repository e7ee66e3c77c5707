"""What a client ordered and the network delivers late changes nothing: the caller knows of a failure, and went on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from pytask_core import PyTaskHelpers
from pytask_core.connection import disconnect
from pytask_core.connection.deadlines import Deadlines
from pytask_core.connection.nodes import ask
from pytask_core.store.calls import Calls
from pytask_core.store.sender import command
from tests.store.conftest import Desk
from tests.support.servers.held_wire import HeldWire
from tests.support.servers.redis_cluster import ServerCluster

#: Orders that a client gives in one go; in many slots each is a step of its own.
STEPS = 5


@dataclass(frozen=True)
class Order:
    """What is ordered, of a task in which state, and what is ordered after it failed."""

    before: Callable[[Desk, str], object]
    give: Callable[[PyTaskHelpers, str], object]
    after: Callable[[Desk, str], object]


def runs(desk: Desk, task_id: str) -> None:
    desk.run(desk.worker(f"of-{task_id}"), task_id)


def ended(desk: Desk, task_id: str) -> None:
    worker = desk.worker(f"of-{task_id}")
    desk.end(worker, task_id, desk.run(worker, task_id))


def waits(desk: Desk, task_id: str) -> None:
    desk.start(task_id)


def begins_again(desk: Desk, task_id: str) -> None:
    desk.client.remove(task_id)
    desk.start(task_id)


def runs_again(desk: Desk, task_id: str) -> None:
    desk.client.remove(task_id)
    desk.start(task_id)
    # Whatever else waits, it takes along.
    assert task_id in {task.id for task in desk.drain(desk.worker(f"another-of-{task_id}")).tasks}


def nothing(_desk: Desk, _task_id: str) -> None:
    pass


ORDERS = {
    "start": Order(ended, lambda helpers, task: helpers.start_task("job", task, late=True), nothing),
    "start a new one": Order(nothing, lambda helpers, task: helpers.start_task("job", task, late=True), nothing),
    "start many": Order(
        ended, lambda helpers, task: helpers.start_tasks(("job", {}, f"{task}{end}") for end in ("", "-more")), nothing
    ),
    "restart": Order(ended, lambda helpers, task: helpers.restart_task(task), nothing),
    "restart a running one": Order(runs, lambda helpers, task: helpers.restart_task(task), runs_again),
    "stop": Order(runs, lambda helpers, task: helpers.stop_task(task), runs_again),
    "stop a waiting one": Order(waits, lambda helpers, task: helpers.stop_task(task), begins_again),
    "reload": Order(runs, lambda helpers, task: helpers.reload_task(task), runs_again),
    "write": Order(runs, lambda helpers, task: helpers.set_task(task, "progress", 1), runs_again),
    "remove": Order(waits, lambda helpers, task: helpers.remove_task(task), begins_again),
    "remove a running one": Order(runs, lambda helpers, task: helpers.remove_task(task), runs_again),
}


class Held:
    """An order that never arrives, until it is delivered."""

    def __init__(self, desk: Desk, name: str, step: int, *, cuts: bool) -> None:
        self.id = f"{name}, step {step}".replace(" ", "-")
        self.order = ORDERS[name]
        self._desk = desk
        nodes = desk.server.nodes if isinstance(desk.server, ServerCluster) else [desk.server]
        self.wire = HeldWire([node.socket for node in nodes], step, cuts=cuts)
        self._ports = dict(zip([node.port for node in nodes], self.wire.ports, strict=True))
        self.took = 0.0

    def give(self) -> bool:
        """Give the order in vain; whether it has so many steps."""
        client = self._client()
        helpers = PyTaskHelpers(client, **names_of(self._desk))
        began = time.monotonic()
        try:
            self.order.give(helpers, self.id)
        except (redis.ConnectionError, redis.TimeoutError):
            self.took = time.monotonic() - began
        finally:
            helpers.close()
            client.close()
        return self.wire.holds.is_set()

    def _client(self) -> Any:
        ports = self._ports
        if not isinstance(self._desk.server, ServerCluster):
            return redis.Redis(port=self.wire.ports[0])
        from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - redis-py 3 has none

        start = [ClusterNode("127.0.0.1", port) for port in ports.values()]
        return RedisCluster(startup_nodes=start, address_remap=lambda known: (known[0], ports.get(known[1], known[1])))

    def look(self) -> dict[str, Any]:
        """All that the order could change."""
        keys, client = self._desk.keys, self._desk.redis
        return {
            "hash": client.hgetall(keys.task(self.id)),
            "ttl": client.ttl(keys.task(self.id)) > 0,
            "queue": client.lrange(keys.new_queue, 0, -1).count(self.id),
            "waiting": client.hget(keys.waiting, self.id),
            "spare": client.hexists(keys.spare, self.id),
            "active": client.sismember(keys.task_set, self.id),
            "holders": client.hget(keys.holders, self.id),
        }


def names_of(desk: Desk) -> dict[str, str]:
    keys = desk.keys
    return {name: getattr(keys, name) for name in ("task_set", "task_prefix", "new_queue", "end_queue")}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("cuts", [False, True], ids=["silence", "cut"])
def test_an_order_that_arrives_after_its_failure_was_told_changes_nothing(
    desk: Desk, stack: ExitStack, cuts: bool
) -> None:
    if isinstance(desk.server, ServerCluster):
        pytest.importorskip(
            "redis.cluster", reason="redis-py-cluster sends a command again by itself", exc_type=ImportError
        )
    steps = 1 if desk.atomic else STEPS
    helds = [Held(desk, name, step, cuts=cuts) for name in ORDERS for step in range(steps)]
    for each in helds:
        stack.enter_context(each.wire)
    # What waits comes last, since a claim would take it.
    for each in sorted(helds, key=lambda held: held.order.before is waits):
        each.order.before(desk, each.id)
    with ThreadPoolExecutor(len(helds)) as threads:
        given = list(threads.map(Held.give, helds))
    helds = [each for each, is_held in zip(helds, given, strict=True) if is_held]
    assert {each.id.partition(",")[0] for each in helds} >= {name.replace(" ", "-") for name in ORDERS}
    assert max(each.took for each in helds) < 10, "a caller is not kept for long"
    for each in sorted(helds, key=lambda held: held.order.after is begins_again):
        each.order.after(desk, each.id)
    before = {each.id: each.look() for each in helds}

    for each in helds:
        each.wire.deliver()

    assert {each.id: each.look() for each in helds} == before


def test_a_server_that_was_too_slow_is_asked_again_since_it_has_done_nothing(desk: Desk) -> None:
    ahead = time.monotonic

    def slow() -> float:
        return ahead() - slow.by  # type: ignore[attr-defined]

    slow.by = 0.0  # type: ignore[attr-defined]
    client = desk.stores.client(desk.redis, desk.keys, deadlines=Deadlines(slow))
    assert list(client.enqueue([("first", "job", "{}", True)])) == [("first", True)]
    slow.by = 10.0  # type: ignore[attr-defined] # what is sent now is over by the server's clock

    assert client.stop("first") == 1

    assert desk.state("first") == "STOPPED"


def test_the_clock_of_whoever_answers_a_new_connection_is_looked_at_since_it_may_be_another_server(desk: Desk) -> None:
    if isinstance(desk.server, ServerCluster):
        pytest.skip("one server is enough to see it")

    def looks_of_an_order() -> int:
        desk.redis.config_resetstat()
        desk.client.stop("nothing")
        return int(desk.redis.info("commandstats")["cmdstat_time"]["calls"])

    desk.client.stop("nothing")
    own = looks_of_an_order()

    disconnect(desk.redis)

    assert looks_of_an_order() == own + 1
    assert looks_of_an_order() == own


def test_what_a_client_orders_carries_the_moment_from_when_on_it_is_void(desk: Desk) -> None:
    if not desk.atomic or isinstance(desk.server, ServerCluster):
        pytest.skip("one server is enough to see it")
    desk.start("a")
    stop = Calls(desk.keys).make("stop", task_id="a")
    seconds, _ = desk.redis.time()

    with pytest.raises(redis.ResponseError, match=r"^LATE"):
        ask(desk.redis, (*command(desk.redis, stop, by_sha=False, timed=True)[1], int(seconds) * 1000 - 1))
    answer = ask(desk.redis, (*command(desk.redis, stop, timed=True)[1], int(seconds) * 1000 + 60_000))

    assert answer == "STOPPED"
