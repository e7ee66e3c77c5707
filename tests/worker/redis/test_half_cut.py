"""Many slots: one node of three is silent, or refuses us. A cluster of its own with the default names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from pytask_core import Monitor
from tests.support.core_apps import Echo, Forever
from tests.support.servers.redis_cluster import Node, ServerCluster
from tests.support.waiting import wait_until
from tests.worker.conftest import Live, Make

#: Renewals find quickly what is away.
OPTIONS = {"update_task_interval": 0.3, "task_timeout": 60.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServerCluster]:
    with ServerCluster(timeout=60_000) as made:
        yield made


@pytest.fixture
def live(cluster: ServerCluster, make_live: Make) -> Live:
    cluster.flush()
    Forever.forget()
    return make_live(cluster, {})


def without_shared_keys(live: Live) -> Node:
    """The node that has nothing but hashes of tasks."""
    cluster = live.server
    assert isinstance(cluster, ServerCluster)
    shared = {cluster.master_of(key) for key in (live.keys.task_set, live.keys.new_queue)}
    return next(node for node in cluster.nodes if node not in shared)


def ids_on(live: Live, node: Node, count: int) -> list[str]:
    cluster = live.server
    assert isinstance(cluster, ServerCluster)
    return [each for each in map(str, range(100)) if cluster.master_of(live.keys.task(each)) is node][:count]


@contextmanager
def silent(node: Node) -> Iterator[None]:
    node.pause()
    try:
        yield
    finally:
        node.resume()


@contextmanager
def refusing(node: Node) -> Iterator[None]:
    keeper = node.client()
    keeper.config_set("requirepass", "other")
    keeper.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    try:
        yield
    finally:
        keeper.config_set("requirepass", "")


def knocks(node: Node) -> int:
    """How often a worker has asked a node that is well whether all is."""
    return int(node.ask("INFO", "commandstats")["cmdstat_cluster|info"]["calls"])


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "pytask.link" and each.levelno > logging.INFO]


@pytest.mark.parametrize("ill", [silent, refusing])
def test_a_node_that_is_ill_is_one_line_with_its_name_and_its_return_another(
    live: Live, caplog: pytest.LogCaptureFixture, ill: Callable[[Node], AbstractContextManager[None]]
) -> None:
    live.worker(Forever, Echo, **OPTIONS)
    lost = without_shared_keys(live)
    well = live.server.master_of(live.keys.new_queue)  # type: ignore[attr-defined] # of the cluster
    theirs = ids_on(live, lost, 3)
    for each in theirs:
        live.helpers.start_task("forever", each)
        live.until(each, "RUNNING")

    with ill(lost):
        wait_until(lambda: said(caplog), 15, "the loss to be said")
        before = knocks(well)
        wait_until(lambda: knocks(well) >= before + 3, 20, "three knocks in vain")

    wait_until(lambda: any("is back after" in each for each in said(caplog)), 15, "the return to be said")
    renewed = {live.redis.hget(live.keys.task(each), "last_update") for each in theirs}
    wait_until(lambda: all(live.redis.hget(live.keys.task(each), "last_update") not in renewed for each in theirs))
    assert live.state(live.run("echo", text="x")) == "SUCCESS"
    away, back = said(caplog)
    assert "is away: " in away
    assert f"node 127.0.0.1:{lost.port}: " in away
    assert "is back after" in back


def test_a_round_that_a_monitor_could_not_finish_is_left_to_others(live: Live) -> None:
    lost = without_shared_keys(live)
    [theirs] = ids_on(live, lost, 1)
    dead = live.stores.worker(live.store_client(), live.store_client(), live.keys, "dead")
    dead.register(["job"])
    live.helpers.start_task("job", theirs)
    assert [task.id for task in dead.claim("dead:1", 1, insist=True).tasks] == [theirs]
    app = live.app(Monitor, **OPTIONS)
    app.start_local_task("pytask/monitor", loop_interval=3.0)
    live.begin(app)
    first = wait_until(lambda: live.redis.hget(live.keys.monitor, "round"), 10, "a round in which nobody is overdue")
    live.redis.zadd(live.keys.workers, {"dead": 1})

    with silent(lost):
        wait_until(lambda: live.redis.hget(live.keys.monitor, "round") != first, 10, "the next round")
        wait_until(lambda: not live.redis.hexists(live.keys.monitor, "round"), 20, "the round to be given up")

    live.until(theirs, "WAIT", timeout=20)
