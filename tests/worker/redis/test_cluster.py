"""What a cluster asks of clients: to find the nodes, to find them again, and to share few connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import redis

from pytask_core import PyTaskException, PyTaskHelpers
from pytask_core.connection import RedisSource, disconnect, outage
from pytask_core.worker.claiming import claimer
from tests.support.core_apps import Echo, Forever
from tests.support.machine.descriptors import CLOSE_WAIT, tcp_states
from tests.support.servers.redis_cluster import Node, ServerCluster
from tests.support.servers.redis_server import free_port
from tests.support.servers.setups import TAGGED
from tests.support.servers.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until
from tests.worker.conftest import Make
from tests.worker.redis.test_failover import patiently, run_on_after

#: A key for each of three masters with equal parts of the slots.
KEYS = ["b", "a", "c"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServerCluster]:
    """Three masters with a replica each, for all tests of this file: a node that a test kills, it starts again."""
    Forever.forget()
    with ServerCluster(replicas=1) as made:
        yield made


@pytest.fixture
def source(cluster: ServerCluster) -> Iterator[RedisSource]:
    made = RedisSource(cluster.url)
    yield made
    made.close()


WAYS: dict[str, Callable[[ServerCluster], Any]] = {
    "url of one node": lambda cluster: f"redis+cluster://127.0.0.1:{cluster.nodes[4].port}",
    "url of all nodes": lambda cluster: cluster.url,
    "list of tuples": lambda cluster: [node.address for node in cluster.nodes],
    "list of dicts": lambda cluster: [{"host": "127.0.0.1", "port": node.port} for node in cluster.nodes[:2]],
    "client": lambda cluster: cluster.client(),
    "client that answers text": lambda cluster: cluster.client(decode_responses=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_name_a_cluster_works(cluster: ServerCluster, way: str) -> None:
    helpers = PyTaskHelpers(WAYS[way](cluster), **TAGGED)

    task_id = helpers.start_task("job", text="é")

    assert helpers.get_task(task_id)["data"] == '{"text": "\\u00e9"}'
    assert helpers.redis.get("nothing") is None
    helpers.remove_task(task_id)
    helpers.close()
    cluster.close_clients()


@pytest.mark.parametrize(
    ("instance", "word"),
    [
        ("redis+cluster://:hunter2@host", "server 1"),
        ("redis+cluster://:hunter2@host:1,host:x", "server 2"),
        ("redis+cluster://:hunter2@host:1?hunter2=1&x=y", "does not know option"),
        ([("host", 1), ("host", "x")], "x"),
        ([{"host": "host", "port": 1, "what": 2}, {"host": "host", "port": 2}], "'what'"),
    ],
)
def test_what_names_no_cluster_is_refused_with_a_sentence(instance: Any, word: str) -> None:
    with pytest.raises((PyTaskException, ValueError), match=word) as caught:
        RedisSource(instance)

    assert ":hunter2" not in str(caught.value)


def test_a_client_can_be_made_before_any_node_can_be_reached() -> None:
    client = RedisSource([("127.0.0.1", free_port()), ("127.0.0.1", free_port())]).store_client(2)

    with pytest.raises(redis.ConnectionError) as caught:
        client.ping()

    assert outage(caught.value) is not None


def test_ids_that_are_no_utf_8_pass_through_a_cluster(source: RedisSource) -> None:
    client = source.store_client(2)
    odd = b"{pytask}\xff\xfe".decode("utf-8", "surrogateescape")

    client.set(odd, "x\udcff")

    assert client.get(odd) == "x\udcff"
    assert odd in list(client.scan_iter())
    client.delete(odd)
    disconnect(client)


def test_a_thousand_greenlets_share_few_connections_to_each_node(cluster: ServerCluster, source: RedisSource) -> None:
    def use(number: int) -> None:
        for key in KEYS:
            source.client.set(f"{{{key}}}{number}", number)
        pipe = source.client.pipeline(transaction=False)
        for key in KEYS:
            pipe.get(f"{{{key}}}{number}")
        assert pipe.execute() == [str(number).encode()] * 3

    greenlets = [gevent.spawn(use, number) for number in range(1_000)]
    seen = 0
    while not all(greenlet.ready() for greenlet in greenlets):
        seen = max(seen, len(cluster.other_clients()))
        gevent.sleep(0.01)

    for greenlet in greenlets:
        greenlet.get()
    assert 3 < seen <= 3 * 64
    cluster.flush()


def test_a_slot_that_moved_is_followed(cluster: ServerCluster, source: RedisSource) -> None:
    client = source.store_client(2)
    client.set("{move}a", "1")
    client.delete("{move}a")
    old = cluster.master_of("{move}a")
    new = next(node for node in cluster.masters if node is not old)

    for node in (new, old, *cluster.nodes):
        if node.role == "master":
            node.ask("CLUSTER", "SETSLOT", node.ask("CLUSTER", "KEYSLOT", "{move}"), "NODE", new.id)

    client.set("{move}a", "2")
    pipe = client.pipeline(transaction=False)
    pipe.get("{move}a")
    assert pipe.execute() == ["2"]
    assert new.ask("GET", "{move}a") == "2"
    disconnect(client)


def test_when_all_known_nodes_are_gone_the_start_nodes_lead_to_the_others(tmp_path: Path) -> None:
    front = tmp_path / "front.sock"
    with ServerCluster() as first, ServerCluster() as second:
        front.symlink_to(first.nodes[0].socket)
        with TcpProxy(str(front)) as proxy:
            client = RedisSource(proxy.url.replace("redis:", "redis+cluster:")).store_client(2)
            client.set("a", "1")
            front.unlink()
            front.symlink_to(second.nodes[0].socket)
            first.kill()
            proxy.cut_all()

            wait_until(patiently(lambda: client.set("a", "2")), 10, "the other cluster to be found")

            assert second.master_of("a").ask("GET", "a") == "2"
            # The ends of connections to nodes that are gone are not left to the collector.
            assert not [node.port for node in first.nodes if CLOSE_WAIT in tcp_states(node.port)]
            disconnect(client)


def test_a_worker_on_a_cluster_stops_at_once_though_it_waits_for_work(
    cluster: ServerCluster, make_live: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimer, "TAKE_TIMEOUT", 4.0)
    live = make_live(cluster, TAGGED)
    worker = live.worker(Echo)
    live.run("echo")
    wait_until(lambda: any(row["cmd"] == "blmove" for row in cluster.other_clients()))

    began = time.monotonic()
    live.end(worker)

    assert time.monotonic() - began < 2, "the blocking take would last for four seconds"


def test_tasks_run_on_when_the_master_of_the_queue_is_killed(cluster: ServerCluster, make_live: Make) -> None:
    killed = cluster.master_of("{pytask}")

    run_on_after(make_live(cluster, TAGGED), killed.kill)

    killed.start()
    cluster.until_well()


def test_tasks_run_on_when_the_node_that_tells_of_commands_is_killed(cluster: ServerCluster, make_live: Make) -> None:
    listening = []

    def kill() -> None:
        def those_that_tell() -> list[Node]:
            return [node for node in cluster.nodes if any(row["psub"] == "1" for row in node.other_clients())]

        listening.extend(wait_until(those_that_tell))
        for node in listening:
            node.close_clients()
            node.kill()

    run_on_after(make_live(cluster, TAGGED), kill)

    assert len(listening) == 1
    listening[0].start()
    cluster.until_well()
