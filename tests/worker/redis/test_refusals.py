"""F23: a server that answers and yet cannot serve us, by the name of its error."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import gevent
import pytest
import redis

from pytask_core.connection import wire
from tests.support.core_apps import Echo, Forever
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.worker.conftest import Live

#: Seconds for which the workers are watched while the server refuses.
WATCHED = 1.5

#: Requests and connections together that a worker may make in that time: its rooms learn of it, and then one knocks, at
#: pauses that grow to a second.
MOST = 25


@contextmanager
def out_of_memory(server: RedisServer, admin: Any) -> Iterator[None]:
    admin.config_set("maxmemory", "1")
    yield
    admin.config_set("maxmemory", "0")


@contextmanager
def replica(server: RedisServer, admin: Any) -> Iterator[None]:
    """Of a master that is not there, as after a failover that went the other way."""
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    admin.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_replicas(server: RedisServer, admin: Any) -> Iterator[None]:
    """As after a failover, until the new master has a replica."""
    admin.config_set("min-replicas-to-write", "1")
    yield
    admin.config_set("min-replicas-to-write", "0")


@contextmanager
def locked(server: RedisServer, admin: Any) -> Iterator[None]:
    """A password is set while we run, and everybody has to come in again."""
    admin.config_set("requirepass", "secret")
    for kind in ("normal", "pubsub"):
        admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    yield
    admin.config_set("requirepass", "")


@contextmanager
def unable_to_save(server: RedisServer, admin: Any) -> Iterator[None]:
    """Where its file should go, there is a folder."""
    (server.dir / "dump.rdb").mkdir()
    admin.config_set("save", "900 1000000")
    admin.bgsave()
    wait_until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
    yield
    (server.dir / "dump.rdb").rmdir()
    wait_until(lambda: not admin.info("persistence")["rdb_bgsave_in_progress"])
    admin.bgsave()
    wait_until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "ok")


@contextmanager
def busy(server: RedisServer, admin: Any) -> Iterator[None]:
    """Somebody's script has no end."""
    admin.config_set("lua-time-limit", "20")
    script = server.client(socket_timeout=None)

    def run() -> None:
        with pytest.raises(redis.ResponseError, match="killed"):
            script.eval("while true do end", 0)

    greenlet = gevent.spawn(run)
    yield
    admin.execute_command("SCRIPT", "KILL")
    greenlet.get(timeout=5)


@contextmanager
def loading(server: RedisServer, admin: Any) -> Iterator[None]:
    """It reads its file anew, slowly."""
    admin.execute_command("DEBUG", "POPULATE", "4000", "ballast")
    admin.config_set("loading-process-events-interval-bytes", "1024")
    admin.config_set("key-load-delay", "600")
    reload = server.client(socket_timeout=None)
    greenlet = gevent.spawn(reload.execute_command, "DEBUG", "RELOAD")
    yield
    greenlet.join(20)
    greenlet.get()
    admin.config_set("key-load-delay", "0")


@contextmanager
def frozen(server: RedisServer, admin: Any) -> Iterator[None]:
    """Connections stay open, and nothing is answered until it is too late."""
    server.pause()
    yield
    server.resume()


State = Callable[[RedisServer, Any], AbstractContextManager[None]]


#: What the rooms of a worker send. What scripts call counts in the server's figures as well.
SENT = [f"cmdstat_{name}" for name in ("eval", "evalsha", "blmove", "psubscribe", "auth")]


def requests(admin: Any) -> int:
    """How many requests and connections the server has seen, those it refused included."""
    seen = admin.info("commandstats")
    sent = [seen[name] for name in SENT if name in seen]
    return int(
        sum(each["calls"] + each["rejected_calls"] for each in sent) + admin.info("stats")["total_connections_received"]
    )


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (out_of_memory, "it has no memory left (maxmemory)"),
        (replica, "it is a replica and takes no writes"),
        (without_replicas, "too few replicas follow it"),
        (locked, "it does not let us in"),
        (unable_to_save, "it cannot save to disk and refuses writes"),
        (busy, "it is busy with a script"),
        (loading, "it is still loading its data"),
        (frozen, "Timeout"),
    ],
    ids=["OOM", "READONLY", "NOREPLICAS", "NOAUTH", "MISCONF", "BUSY", "LOADING", "TimeoutError"],
)
def test_a_server_that_refuses_is_away_in_one_sentence_and_tasks_run_on_until_it_is_back(
    own_live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, state: State, says: str
) -> None:
    if isinstance(own_live.server, ServerCluster):
        pytest.skip("these are states of a single server; what a cluster goes through is in test_failover.py")
    Forever.forget()
    # Shorter than in life, and still longer than a blocking take.
    monkeypatch.setitem(wire.OWN, "socket_timeout", 1.5)
    live = own_live
    live.worker(Forever, Echo, update_task_interval=0.3)
    ids = live.helpers.start_tasks(("forever", {}) for _ in range(20))
    wait_until(lambda: sum(Forever.running.values()) == 20)
    admin = live.server.client(decode_responses=True)
    before = requests(admin)

    with state(live.server, admin):
        wait_until(lambda: says in " ".join(said(caplog)), message="a word about it")
        began, cpu = time.monotonic(), time.process_time()
        wait_until(lambda: time.monotonic() - began > WATCHED, interval=0.1)
        assert time.process_time() - cpu < WATCHED / 5, "no busy loop"
        assert sum(Forever.running.values()) == 20
    wait_until(lambda: "is back after" in said(caplog)[-1], message="a word that it is back")
    assert requests(admin) - before < MOST

    away, *why, _ = said(caplog)
    assert "is away: " in away
    # These two first send everybody away; what they say to those who come again is one line more.
    assert len(why) <= (state in {locked, replica})
    assert live.state(live.run("echo")) == "SUCCESS"
    assert [len(Forever.started[each]) for each in ids] == [1] * 20, "none was stopped"
    assert sum(Forever.running.values()) == 20


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Every warning and worse of the whole core."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("pytask") and record.levelno >= logging.WARNING
    ]
