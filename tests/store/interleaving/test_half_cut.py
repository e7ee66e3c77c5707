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
from pytask_core.outcomes import Push
from pytask_core.store.many_slots.steps import Steps
from tests.store.conftest import Desk
from tests.support.servers.redis_cluster import Node, ServerCluster


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


def ended(desk: Desk, task_id: str) -> None:
    worker = desk.worker("w1")
    desk.end(worker, task_id, desk.run(worker, task_id))


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_what_could_not_be_queued_expires_by_itself_unless_it_is_tried_again(away: Desk, verb: str) -> None:
    cluster, keys = away.server, away.keys
    assert isinstance(cluster, ServerCluster)
    queue, tasks = cluster.master_of(keys.new_queue), cluster.master_of(keys.task_set)
    task_id = next(each for each in map(str, range(100)) if cluster.master_of(keys.task(each)) not in {queue, tasks})
    give = {"start": lambda: away.start(task_id), "restart": lambda: away.client.restart(task_id)}[verb]
    if verb == "restart":
        ended(away, task_id)

    queue.pause()
    try:
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            give()
    finally:
        queue.resume()

    assert (away.state(task_id), away.new) == ("WAIT", [])
    assert 0 < away.redis.ttl(keys.task(task_id)) <= 86_400
    away.start(task_id)
    assert away.new == [task_id]
    assert away.redis.ttl(keys.task(task_id)) == -1
    assert away.field(task_id, "unqueued") is None


def test_what_is_claimed_before_its_start_has_come_to_its_last_step_lasts(away: Desk) -> None:
    worker, steps = away.worker(), Steps(away.redis, away.keys)
    steps.one("begin", task_id="a", name="job", data="{}", cleanup="")
    steps.all([steps.pushing([("a", Push.MUST)])])

    _, claims = away.claim(worker, insist=True)

    assert [task.id for task in claims.tasks] == ["a"]
    assert away.redis.ttl(away.keys.task("a")) == -1
    assert away.field("a", "unqueued") is None


def half_started(desk: Desk, task_id: str) -> None:
    """Start as a client that is killed after the first step."""
    Steps(desk.redis, desk.keys).one("begin", task_id=task_id, name="job", data="{}", cleanup="")
    assert desk.redis.ttl(desk.keys.task(task_id)) > 0


def half_restarted(desk: Desk, task_id: str) -> None:
    Steps(desk.redis, desk.keys).one("restart", task_id=task_id)
    assert desk.redis.ttl(desk.keys.task(task_id)) > 0


def lasts(desk: Desk, task_id: str) -> bool:
    return bool(desk.redis.ttl(desk.keys.task(task_id)) == -1 and desk.field(task_id, "unqueued") is None)


def test_a_task_that_is_stopped_between_the_steps_of_its_start_lasts(away: Desk) -> None:
    half_started(away, "a")

    assert away.client.stop("a") == 1

    assert (away.state("a"), away.active) == ("STOPPED", {"a"})
    assert lasts(away, "a")


def test_a_stop_that_breaks_off_between_its_steps_is_made_good_by_the_next(away: Desk) -> None:
    half_started(away, "a")
    Steps(away.redis, away.keys).one("stop", task_id="a", foreign=0)
    assert away.redis.ttl(away.keys.task("a")) > 0, "it stands in no list"

    away.client.stop("a")

    assert (away.state("a"), away.active) == ("STOPPED", {"a"})
    assert lasts(away, "a")


def test_what_a_cleanup_finds_between_the_steps_of_its_restart_is_queued_and_lasts(away: Desk) -> None:
    ended(away, "a")
    half_restarted(away, "a")
    [(task_id, _)] = away.keeper.collect("w1", hashes=False)

    away.keeper.discard("w1", [(task_id, False, "")], 60)

    assert away.new == ["a"]
    assert lasts(away, "a")


def test_what_a_monitor_finds_between_the_steps_of_its_restart_is_queued_and_lasts(away: Desk) -> None:
    away.start("a", cleanup=False)
    worker = away.worker("w1")
    token, _ = away.claim(worker, insist=True)
    away.end(worker, "a", token)
    half_restarted(away, "a")
    away.redis.hset(away.keys.task("a"), "last_update", 1)

    assert away.keeper.sweep(0.001).told == [("a", "waits")]

    assert (away.new, away.active) == (["a"], set())
    assert lasts(away, "a")
