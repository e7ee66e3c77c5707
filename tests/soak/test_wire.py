"""The wire passes everything on, and harms exactly what it is told to harm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from tests.soak.wire import Wire
from tests.support.servers.redis_server import RedisServer, client_options
from tests.support.waiting import wait_until


@pytest.fixture
def wire(redis_server: RedisServer) -> Iterator[Wire]:
    """A wire to ``redis_server``."""
    with closing(Wire(redis_server.socket)) as made:
        yield made


@pytest.fixture
def through(wire: Wire) -> Iterator[redis.Redis]:
    """A client on the wire, connected."""
    client = redis.Redis.from_url(wire.url, socket_timeout=1.0, **client_options())
    client.ping()
    with closing(client):
        yield client


@pytest.fixture
def direct(redis_server: RedisServer) -> redis.Redis:
    """A client past the wire."""
    return redis_server.client()


def test_it_passes_on_what_is_large_and_what_is_small(through: redis.Redis) -> None:
    value = b"x" * 1_000_000
    through.set("a", value)
    assert through.get("a") == value


def test_a_lost_reply_is_that_of_a_command_that_was_carried_out(
    wire: Wire, through: redis.Redis, direct: redis.Redis
) -> None:
    wire.lose_reply(2)
    assert through.incr("a") == 1
    with pytest.raises(redis.ConnectionError):
        through.incr("a")
    assert direct.get("a") == b"2"
    assert through.incr("a") == 3


# The command has 34 bytes.
@pytest.mark.parametrize("byte", [1, 5, 20, 33])
def test_a_command_that_is_cut_anywhere_is_not_carried_out(
    wire: Wire, through: redis.Redis, direct: redis.Redis, byte: int
) -> None:
    wire.cut_request(byte)
    with pytest.raises(redis.ConnectionError):
        through.rpush("abc", "12345")
    assert direct.llen("abc") == 0
    assert through.rpush("abc", "12345") == 1


def test_a_reply_that_is_cut_is_that_of_a_command_that_was_carried_out(
    wire: Wire, through: redis.Redis, direct: redis.Redis
) -> None:
    wire.cut_reply(2)
    with pytest.raises(redis.ConnectionError):
        through.rpush("a", "x")
    assert direct.llen("a") == 1


def test_cut_closes_every_connection_and_new_ones_work(wire: Wire, through: redis.Redis) -> None:
    before = through.client_id()
    wire.cut()

    def is_another() -> bool:
        try:
            return through.client_id() != before
        except redis.ConnectionError:
            return False

    wait_until(is_another)


def test_while_it_refuses_nobody_connects(wire: Wire, through: redis.Redis) -> None:
    wire.refuses = True
    with pytest.raises(redis.ConnectionError), closing(redis.Redis.from_url(wire.url, **client_options())) as other:
        other.ping()
    wire.heal()
    assert through.ping()


def test_what_is_sent_while_it_is_stalled_arrives_once_it_is_healed(
    wire: Wire, through: redis.Redis, direct: redis.Redis
) -> None:
    wire.stall()
    with pytest.raises(redis.TimeoutError):
        through.rpush("a", "late")
    assert direct.llen("a") == 0
    wire.heal()
    wait_until(lambda: direct.lrange("a", 0, -1) == [b"late"])
    assert through.ping()


def test_while_it_is_mute_commands_are_carried_out_and_nobody_hears_of_it(
    wire: Wire, through: redis.Redis, direct: redis.Redis
) -> None:
    wire.mute = True
    with pytest.raises(redis.TimeoutError):
        through.rpush("a", "x")
    assert direct.llen("a") == 1
    wire.heal()
    assert through.rpush("a", "x") == 2


def test_a_delay_holds_each_way_and_a_throttle_what_is_large(wire: Wire, through: redis.Redis) -> None:
    wire.delay = 0.05
    began = time.monotonic()
    through.ping()
    assert time.monotonic() - began >= 0.1
    wire.heal()
    wire.rate = 100_000
    began = time.monotonic()
    through.set("a", b"x" * 60_000)
    assert time.monotonic() - began >= 0.6
    wire.heal()
    began = time.monotonic()
    through.set("a", b"x" * 60_000)
    assert time.monotonic() - began < 0.6
