"""Moving a slot from one master to another while programs use it. Called by tests.

``move`` does it as every cluster can: key by key, so that for a while some keys are here and some there.
``move_at_once`` is Valkey 9's own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.servers.redis_cluster import Node, ServerCluster
from tests.support.waiting import wait_until

#: Milliseconds that the nodes may take for a step.
PATIENCE_MS = 10_000


def slot_of(cluster: ServerCluster, key: str) -> int:
    """The slot of a key."""
    return int(cluster.alive[0].ask("CLUSTER", "KEYSLOT", key))


def move(cluster: ServerCluster, key: str, *, at_once: int = 1) -> int:
    """Move the slot of a key to the next master, ``at_once`` keys at a time; how many keys that were."""
    with half_way(cluster, key) as carry:
        count = 1
        while moved := carry(at_once):
            count += moved
    return count


@contextmanager
def half_way(cluster: ServerCluster, key: str) -> Iterator[Callable[[int], int]]:
    """The slot of a key is being moved, with one key of it at its new place; afterwards it has been moved.

    Gives what moves so many keys more, and returns how many those were.
    """
    slot, source, target = _route(cluster, key)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def carry(count: int) -> int:
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, count)
        if keys:
            source.ask("MIGRATE", *target.address, "", 0, PATIENCE_MS, "KEYS", *keys)
        return len(keys)

    carry(1)
    yield carry
    while carry(100):
        pass
    # The new owner first: else both could think that it is the other's.
    for node in (target, source, *(node for node in cluster.masters if node not in {target, source})):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
    wait_until(lambda: cluster.master_of(key) is target, 20, "the slot to be the other's")


def move_at_once(cluster: ServerCluster, key: str) -> None:
    """Move the slot of a key to the next master in one step."""
    slot, source, target = _route(cluster, key)
    source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
    wait_until(lambda: _has(target, slot), 20, "the slot to be the other's")


def can_move_at_once(cluster: ServerCluster) -> bool:
    """Whether these servers know how."""
    return "MIGRATESLOTS" in str(cluster.alive[0].ask("CLUSTER", "HELP"))


def _route(cluster: ServerCluster, key: str) -> tuple[int, Node, Node]:
    masters, source = cluster.masters, cluster.master_of(key)
    return slot_of(cluster, key), source, masters[(masters.index(source) + 1) % len(masters)]


def _has(node: Node, slot: int) -> bool:
    ranges: list[Any] = node.ask("CLUSTER", "SLOTS")
    return any(first <= slot <= last and port == node.port for first, last, (_, port, *_), *_ in ranges)
