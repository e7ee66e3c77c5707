"""Batches to nodes whose slots have moved, or are moving. A cluster of their own, whatever the set-up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pytask_core.connection import RedisSource, disconnect, nodes, outage
from pytask_core.connection.nodes import Nodes
from pytask_core.store.calls import Call
from pytask_core.store.sender import run
from tests.support.servers import resharding
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.waiting import wait_until

#: Of a renewal.
RENEWAL = Call(
    "renew",
    ["{pytask}workers", "{pytask}leases", "{pytask}monitor", "{pytask}held:w1", "{pytask}running"],
    ["{pytask}task-", "w1", 1000, 0, 60_000, ""],
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServerCluster]:
    with ServerCluster(timeout=15_000) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: ServerCluster) -> Iterator[Any]:
    cluster.flush()
    client = RedisSource(cluster.url).store_client(2)
    client.ping()
    yield client
    disconnect(client)
    cluster.close_clients()


def referrals(cluster: ServerCluster, kind: str) -> int:
    """How often nodes have answered so."""
    rows = [node.ask("INFO", "errorstats") for node in cluster.nodes]
    return sum(int(row.get(f"errorstat_{kind}", {"count": 0})["count"]) for row in rows)


def test_what_has_moved_is_learned_from_the_answers_and_sent_again_in_one_batch(
    cluster: ServerCluster, client: Any
) -> None:
    keys = [f"key-{number}" for number in range(50)]
    for key in keys:
        resharding.move(cluster, key)
    before = referrals(cluster, "MOVED")

    answers = Nodes(client).run([(key, ("SET", key, key)) for key in keys])
    again = Nodes(client).run([(key, ("GET", key)) for key in keys])

    assert answers == ["OK"] * 50
    assert again == keys
    assert referrals(cluster, "MOVED") - before == 50, "each was referred once"


def test_keys_that_are_half_way_are_found_where_they_are(cluster: ServerCluster, client: Any) -> None:
    client.mset_nonatomic({"{half}a": "1", "{half}b": "2"})

    with resharding.half_way(cluster, "{half}a"):
        answers = Nodes(client).run([(key, ("GET", key)) for key in ("{half}a", "{half}b", "{half}none")])

    assert answers == ["1", "2", None]
    assert referrals(cluster, "ASK") > 0


def test_a_script_waits_until_all_keys_are_in_one_place_even_those_it_was_not_told_of(
    cluster: ServerCluster, client: Any
) -> None:
    answers: list[Any] = []
    client.mset_nonatomic({"{pytask}other": "1", "{pytask}one-more": "2"})

    def renew() -> None:
        answers.extend(run(client, RENEWAL))

    thread = threading.Thread(target=renew)
    with resharding.half_way(cluster, "{pytask}workers"):
        before = referrals(cluster, "TRYAGAIN")
        thread.start()
        wait_until(lambda: referrals(cluster, "TRYAGAIN") > before + 2)
        assert answers == []
    thread.join(10)

    assert answers == [[1, [], None]]
    assert client.zrange("{pytask}workers", 0, -1) == ["w1"]


def test_a_slot_that_stays_half_way_for_long_is_an_outage(
    cluster: ServerCluster, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "PATIENCE", 0.1)
    client.set("{pytask}other", "1")

    with (
        resharding.half_way(cluster, "{pytask}workers"),
        pytest.raises(Exception, match="not in one place") as caught,
    ):
        run(client, RENEWAL)

    assert outage(caught.value) is not None
