"""Connections that run out, and databases that pub/sub does not know."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Any

import gevent
import pytest
import redis

from pytask_core import PyTask, PyTaskHelpers, Task
from pytask_core.connection import link, pool
from pytask_core.connection.patient import blocking_time
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.worker.conftest import Live, Make


class Listens(Task):
    NAME = "listens"

    def start(self) -> None:
        listener = self.redis.pubsub()
        listener.subscribe("news")
        for _ in listener.listen():
            pass


class Counts(Task):
    NAME = "counts"

    def start(self) -> int:
        return int(self.redis.incr("count"))


class Blocks(Task):
    NAME = "blocks"

    def start(self) -> None:
        self.redis.blpop(["nothing"], timeout=4)


def full(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "pytask.connection"]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SAY_AFTER", 0.3)
    monkeypatch.setattr(pool, "GIVE_UP_AFTER", 1.0)


def nodes_of(live: Live) -> int:
    """How many servers there are; the bound holds for each."""
    return len(live.server.nodes) if isinstance(live.server, ServerCluster) else 1


def listening(live: Live) -> int:
    return sum(each.get("sub") == "1" and each["name"] == "" for each in live.server.other_clients())


def test_listeners_leave_the_connections_for_commands_free(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.errors_expected = True
    live.worker(Listens, Counts, max_connections=4)
    room = 4 * nodes_of(live)
    ids = []
    for count in range(1, room + 1):
        # One by one: of two that come at once both may choose the last place of one node.
        ids.append(live.helpers.start_task("listens"))
        wait_until(partial(lambda count: listening(live) == count, count))
    ids += [live.helpers.start_task("listens") for _ in range(2)]
    assert live.state(live.run("counts")) == "SUCCESS"
    wait_until(lambda: sum(live.state(each) == "EXCEPTION" for each in ids) == 2)
    (warning,) = full(caplog)
    assert re.search("all 4 connections( to [^ ]+)? of subscriptions by the Redis client that tasks share", warning)
    assert "raise max_connections of PyTask" in warning
    failed = next(each for each in ids if live.state(each) == "EXCEPTION")
    assert "None was free for 1 s" in live.output(failed)


def test_a_client_whose_connections_all_block_says_so_once_and_raises(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.errors_expected = True
    live.worker(Blocks, Counts, max_connections=2)
    live.helpers.start_tasks(("blocks", {}) for _ in range(2))
    wait_until(lambda: sum("blpop" in each["cmd"] for each in live.server.other_clients()) == 2)
    for _ in range(2):
        answer = live.output(live.run("counts"))
        assert re.search("all 2 connections( to [^ ]+)? of the Redis client that tasks share", answer)
    assert len(full(caplog)) == 1


def test_helpers_of_a_web_process_are_told_likewise(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    helpers = PyTaskHelpers(live.server.url)
    most = 64 * nodes_of(live)
    viewers = []
    try:
        for _ in range(most):
            viewers.append(helpers.redis.pubsub())
            viewers[-1].subscribe("news")
        with pytest.raises(redis.ConnectionError, match=r"all 64 connections.* of subscriptions"):
            helpers.redis.pubsub().subscribe("news")
        assert helpers.redis.incr("count") == 1
        assert len(full(caplog)) == 1
    finally:
        for viewer in viewers:
            viewer.close()
        helpers.close()


@pytest.mark.parametrize(
    "command",
    [
        ("BRPOP", "{queue}:a", 1.5),
        ("BZPOPMIN", "{queue}:z", "1.5"),
        ("XREAD", "COUNT", 1, "BLOCK", 1500, "STREAMS", "{queue}:x", "$"),
    ],
)
def test_a_command_that_blocks_outlasts_the_socket_timeout(live: Live, command: tuple[Any, ...]) -> None:
    helpers = PyTaskHelpers(f"{live.server.url}?socket_timeout=0.5")
    try:
        began = time.monotonic()
        assert not helpers.redis.execute_command(*command)
        assert time.monotonic() - began > 1.4
        node = live.server.master_of("{queue}") if isinstance(live.server, ServerCluster) else live.server
        node.pause()
        try:
            # What follows over the same connection has half a second again.
            with gevent.Timeout(10), pytest.raises((redis.TimeoutError, redis.ConnectionError)):
                helpers.redis.get("{queue}:a")
        finally:
            node.resume()
    finally:
        helpers.close()


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (("BLPOP", "a", "b", 0), 0),
        (("brpoplpush", "a", "b", 7), 7),
        (("BLMOVE", "a", "b", "LEFT", "RIGHT", 2.5), 2.5),
        (("BLMPOP", 3, 1, "a", "LEFT"), 3),
        (("BZMPOP", "3", 1, "a", "MIN"), 3),
        (("WAIT", 1, 1500), 1.5),
        (("WAITAOF", 1, 1, 1500), 1.5),
        (("XREAD", b"BLOCK", b"1500", b"STREAMS", "x", "$"), 1.5),
        (("XREADGROUP", "GROUP", "g", "c", b"COUNT", 1, b"BLOCK", 0, b"STREAMS", "x", ">"), 0),
        (("XREAD", "STREAMS", "block", "$"), None),
        (("BLPOP", "a", "soon"), None),
        (("GET", "BLPOP"), None),
        (("BLPOP",), None),
    ],
)
def test_how_long_a_command_blocks_is_read_from_it(command: tuple[Any, ...], seconds: float | None) -> None:
    assert blocking_time(command) == seconds


@pytest.mark.parametrize("most", [0, -1, True, 1.5, "4"])
def test_a_number_of_connections_that_is_none_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match="max_connections must be a whole number above 0"):
        PyTask("redis://localhost:1", max_connections=most)


@pytest.mark.parametrize(("database", "prefix", "said"), [(0, "task-", 0), (1, "task-", 1), (1, "mine-", 0)])
def test_a_database_other_than_0_with_the_default_names_is_told_of_once(
    make_live: Make, caplog: pytest.LogCaptureFixture, database: int, prefix: str, said: int
) -> None:
    with RedisServer(tcp=True) as server:
        app = PyTask(f"{server.url}/{database}", task_prefix=prefix)
        live = make_live(server, {"task_prefix": prefix})
        live.apps.append(app)
        live.end(live.begin(app))
        live.close()
    assert sum("Pub/sub knows no databases" in each.getMessage() for each in caplog.records) == said


def test_a_server_without_room_for_another_connection_is_named_as_that(
    make_live: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tcp=True) as server:
        live = make_live(server, {})
        admin = server.client()
        admin.ping()
        admin.config_set("maxclients", "1")
        worker = live.app().create_worker()
        running = gevent.spawn(worker.run)
        wait_until(lambda: "(maxclients); raise that, or run fewer workers" in caplog.text)
        admin.config_set("maxclients", "100")
        wait_until(lambda: "takes tasks from" in caplog.text)
        worker.stop()
        running.get(timeout=5)
        live.close()


def test_a_server_that_has_no_room_any_more_is_told_of_once_and_once_when_it_has(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SETTLED", 3.0)
    with RedisServer(tcp=True) as server:
        admin = server.client()
        # Whoever has a connection goes on, the probe among them.
        seen = link.RedisLink("the server", admin.ping, lambda: 30.0)
        seen.begin()
        admin.config_set("maxclients", "1")
        for _ in range(3):
            with pytest.raises(link.Unreachable, match="maxclients"), seen.guard():
                server.client().ping()
            assert not seen.up
            assert seen.wait(10)
        wait_until(lambda: "is well again" in caplog.text)
        seen.close()
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [sum(words in each for each in said) for words in ("(maxclients)", "is well again", "is back")] == [
        1,
        1,
        0,
    ], said
