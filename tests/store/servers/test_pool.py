"""The pool of our own connections keeps what redis-py's promises, at less cost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from pytask_core import PyTaskHelpers
from pytask_core.connection import RedisSource, disconnect
from pytask_core.connection.nodes import ask
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    client = RedisSource(server.url).store_client(2)
    yield client
    disconnect(client)


def test_a_connection_that_the_server_closed_is_opened_anew_and_nobody_notices(
    server: RedisServer, client: Any
) -> None:
    before = ask(client, ("CLIENT", "ID"))
    server.client().client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: str(before) not in {row["id"] for row in server.other_clients()})

    assert ask(client, ("CLIENT", "ID")) != before


def test_a_server_that_was_restarted_is_reached_again_at_once(server: RedisServer, client: Any) -> None:
    ask(client, ("PING",))
    server.restart()

    assert ask(client, ("PING",)) == "PONG"


def test_an_answer_with_an_error_keeps_the_connection(client: Any) -> None:
    before = ask(client, ("CLIENT", "ID"))
    with pytest.raises(ResponseError):
        ask(client, ("NONSENSE",))

    assert ask(client, ("CLIENT", "ID")) == before


def test_an_answer_that_comes_too_late_is_given_to_nobody_else(server: RedisServer, client: Any) -> None:
    pool = client.connection_pool
    connection = pool.get_connection()
    connection.send_packed_command(connection.pack_command("ECHO", "somebody else's"))
    pool.release(connection)
    wait_until(connection.can_read)

    assert ask(client, ("ECHO", "mine")) == "mine"


def test_callers_queue_for_connections(server: RedisServer, client: Any) -> None:
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(client, ("PING",)))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == ["PONG"] * 20
    assert len(server.other_clients()) <= 2


def test_a_server_that_is_away_costs_no_place_in_the_pool(server: RedisServer, client: Any) -> None:
    server.stop()
    for _ in range(5):
        with pytest.raises(RedisConnectionError):
            ask(client, ("PING",))
    server.start()

    taken = [client.connection_pool.get_connection() for _ in range(2)]
    for each in taken:
        client.connection_pool.release(each)


def test_a_forked_child_opens_its_own_connection(server: RedisServer, client: Any) -> None:
    helpers = PyTaskHelpers(server.url)
    helpers.start_task("job", "of the parent")
    pid = os.fork()
    if pid == 0:
        helpers.start_task("job", "of the child")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    helpers.start_task("job", "of the parent again")

    assert sorted(helpers.get_new_task_ids()) == ["of the child", "of the parent", "of the parent again"]
    helpers.close()
