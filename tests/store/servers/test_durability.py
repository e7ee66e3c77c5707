"""``durability='wait'``: a start or an end counts only once a replica has it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import redis

from pytask_core import PyTask, PyTaskException, PyTaskHelpers
from pytask_core.connection import RedisSource, disconnect, outage
from pytask_core.keys import RedisKeys
from pytask_core.store import Ending, regime
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer
from tests.support.servers.setups import TAGGED
from tests.support.waiting import wait_until

IDS = [f"id-{number}" for number in range(20)]


class Pair:
    """Masters with replicas that can be frozen, and stores whose writes wait for them."""

    def __init__(self, server: RedisServer | ServerCluster, replicas: list[RedisServer], names: dict[str, str]) -> None:
        self.server, self.replicas, self.names = server, replicas, names
        self.keys = RedisKeys(**names)
        self.helpers = PyTaskHelpers(server.url, **names, durability="wait")
        self.redis: Any = RedisSource(server.url).store_client(4)
        one_slot = self.keys.one_slot or isinstance(server, RedisServer)
        self.worker = regime(one_slot=one_slot).worker(self.redis, self.redis, self.keys, "w1", replicas=1)
        self.worker.register(["job"])

    def on_replicas(self, task_id: str, field: str) -> set[str]:
        """What the replicas have in a field of a task; only one of them has it, on a cluster."""
        found = set()
        for replica in self.replicas:
            client = replica.client(decode_responses=True, single_connection_client=True)
            if isinstance(self.server, ServerCluster):
                client.execute_command("READONLY")
            with suppress(redis.ResponseError):  # it is the replica of another master
                found.add(client.hget(self.keys.task(task_id), field))
            replica.close_clients()
        return found - {None}

    def another(self) -> PyTaskHelpers:
        """Helpers with connections of their own."""
        self.helpers.close()
        self.helpers = PyTaskHelpers(self.server.url, **self.names, durability="wait")
        return self.helpers

    def close(self) -> None:
        for replica in self.replicas:
            replica.resume()
        disconnect(self.redis)
        self.helpers.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServerCluster]:
    with ServerCluster(replicas=1, timeout=15_000) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def couple() -> Iterator[tuple[RedisServer, RedisServer]]:
    with RedisServer(tcp=True) as master, RedisServer() as replica:
        replica.client().replicaof("127.0.0.1", master.port)
        wait_until(lambda: master.client().info("replication").get("connected_slaves") == 1)
        wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        yield master, replica


@pytest.fixture(params=["single", "cluster-tag", "cluster"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "single":
        master, replica = request.getfixturevalue("couple")
        master.flush()
        made = Pair(master, [replica], {})
    else:
        cluster = request.getfixturevalue("cluster")
        cluster.flush()
        replicas = [node for node in cluster.nodes if node not in cluster.masters]
        made = Pair(cluster, replicas, TAGGED if request.param == "cluster-tag" else {})
    yield made
    made.close()


def test_what_was_started_stands_on_a_replica(pair: Pair) -> None:
    pair.helpers.start_tasks(("job", {}, each) for each in IDS)

    assert [pair.on_replicas(each, "state") for each in IDS] == [{"WAIT"}] * len(IDS)


def test_what_has_ended_stands_on_a_replica(pair: Pair) -> None:
    pair.helpers.start_tasks(("job", {}, each) for each in IDS)
    claimed = pair.worker.claim("w1:1", 100, insist=True).tasks
    assert len(claimed) == len(IDS)

    assert pair.worker.report([], [Ending(each, "w1:1", "SUCCESS", "1") for each in IDS], [], []) == []

    assert [pair.on_replicas(each, "state") for each in IDS] == [{"SUCCESS"}] * len(IDS)


def test_a_start_that_no_replica_has_raises_and_can_be_repeated(pair: Pair) -> None:
    for replica in pair.replicas:
        replica.pause()

    with pytest.raises(Exception, match="replicas have confirmed") as caught:
        pair.helpers.start_task("job", task_id="a")
    assert outage(caught.value)
    with pytest.raises(
        Exception, match="replicas have confirmed"
    ):  # though it finds the task waiting, and writes nothing
        pair.another().start_task("job", task_id="a")

    for replica in pair.replicas:
        replica.resume()
    assert pair.helpers.start_task("job", task_id="a") == "a"
    assert pair.helpers.get_new_task_ids() == ["a"]


def test_a_start_that_no_replica_has_is_made_also_where_the_server_does_not_know_the_script(pair: Pair) -> None:
    for replica in pair.replicas:
        replica.pause()
    pair.redis.script_flush()

    with pytest.raises(Exception, match="replicas have confirmed"):
        pair.another().start_task("job", task_id="a")

    assert pair.redis.hget(pair.keys.task("a"), "state") == "WAIT"


def test_what_a_node_waits_for_its_replicas_is_not_taken_from_its_time_to_answer(pair: Pair) -> None:
    assert pair.helpers.get_new_task_ids() == []  # so that the client has opened its connections
    masters = pair.server.masters if isinstance(pair.server, ServerCluster) else [pair.server]
    for replica in pair.replicas:
        replica.pause()

    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        asked = pool.submit(pair.helpers.start_task, "job", task_id="a")
        wait_until(lambda: any(node.client().info("clients")["blocked_clients"] for node in masters))
        for node in masters:
            node.pause()
        # A node of a cluster has two seconds to answer, and a replica one to confirm.
        wait_until(lambda: time.monotonic() - began > 2.3)
        for node in masters:
            node.resume()
        with pytest.raises(Exception, match="replicas have confirmed"):
            asked.result()


def test_an_end_that_no_replica_has_counts_as_not_sent_and_can_be_repeated(pair: Pair) -> None:
    pair.helpers.start_task("job", task_id="a")
    pair.worker.claim("w1:1", 100, insist=True)
    for replica in pair.replicas:
        replica.pause()

    with pytest.raises(Exception, match="replicas have confirmed"):
        pair.worker.report([], [Ending("a", "w1:1", "SUCCESS", "1")], [], [])

    for replica in pair.replicas:
        replica.resume()
    assert pair.worker.report([], [Ending("a", "w1:1", "SUCCESS", "1")], [], []) == []
    assert pair.helpers.get_end_task_ids() == ["a"]


def test_a_durability_that_is_none_is_refused() -> None:
    with pytest.raises(PyTaskException, match="'async' or 'wait', not 'often'"):
        PyTask(durability="often")
