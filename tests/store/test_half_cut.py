"""Many slots: a worker that reaches the node of the queue, and not one that has a task's hash.

A cluster of its own with the default names, whatever the set-up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from pytask_core.connection import disconnect
from pytask_core.keys import RedisKeys
from tests.store.conftest import Desk
from tests.support.redis_cluster import Node, ServerCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServerCluster]:
    with ServerCluster(timeout=60_000) as cluster:
        yield cluster


@pytest.fixture
def away(cluster: ServerCluster) -> Iterator[Desk]:
    cluster.flush()
    desk = Desk(cluster, RedisKeys())  # type: ignore[arg-type] # it has what a desk needs
    yield desk
    disconnect(desk.redis)
    cluster.close_clients()


def parted(desk: Desk) -> tuple[Node, list[str], list[str]]:
    """A node that has no shared key; ids whose hashes lie there, and as many elsewhere."""
    cluster, keys = desk.server, desk.keys
    assert isinstance(cluster, ServerCluster)
    shared = {cluster.master_of(key) for key in (keys.task_set, keys.new_queue)}
    lost = next(node for node in cluster.nodes if node not in shared)
    ids = [f"t{number}" for number in range(40)]
    there = [each for each in ids if cluster.master_of(keys.task(each)) is lost]
    return lost, there[:5], [each for each in ids if each not in there][:5]


def test_what_a_worker_cannot_claim_goes_back_to_the_front_of_the_queue(away: Desk) -> None:
    lost, there, elsewhere = parted(away)
    ids = [each for pair in zip(there, elsewhere, strict=True) for each in pair]
    half_cut, whole = away.worker("half-cut"), away.worker("whole")
    away.start(*ids, "last")
    token = away.token(half_cut)

    lost.pause()
    began = time.monotonic()
    try:
        with pytest.raises((redis.ConnectionError, redis.TimeoutError), match=f"{lost.port}"):
            half_cut.claim(token, 4, insist=True)
    finally:
        lost.resume()

    assert time.monotonic() - began < 8
    assert away.new == [*ids, "last"], "in their order"
    assert away.redis.llen(away.keys.inbox("half-cut")) == 0
    assert {task.id for task in away.drain(whole).tasks} == {*ids, "last"}
    # It has noted them, and lets go of what it did not get.
    assert half_cut.claim(token, 4, again=True).tasks == []
    assert away.held("half-cut") == set()
    assert away.held("whole") == {*ids, "last"}
    assert away.running == len(ids) + 1


def test_a_worker_that_does_not_reach_every_node_is_not_registered(away: Desk) -> None:
    lost, *_ = parted(away)
    worker = away.stores.worker(away.redis, away.redis, away.keys, "half-cut")
    away.redis.ping()

    lost.pause()
    try:
        with pytest.raises((redis.ConnectionError, redis.TimeoutError), match=f"{lost.port}"):
            worker.register(["job"])
    finally:
        lost.resume()

    assert away.redis.zrange(away.keys.workers, 0, -1) == []
