"""One server: by address, by socket, or the one that the Sentinels call the master now."""

from __future__ import annotations

from typing import Any

import redis
from redis.connection import ConnectionPool, SSLConnection
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection

from ..redis_url import Address
from .patient import patient
from .pool import Pool, Turns
from .urls import Target, shown
from .wire import NO_RETRY, SHARED, own_options, quiet

#: Seconds that a Sentinel may take to answer, before the next one is asked.
SENTINEL_TIMEOUT = 1.0


class SentinelManagedTLSConnection(SentinelManagedConnection, SSLConnection):
    """A connection to a master, with TLS, which redis-py 3 lacks."""


class SentinelPool(SentinelConnectionPool, Pool):
    """Connections to the master of the moment, for which callers queue."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close all connections, or only those that are not in use; of those to the Sentinels always only these.

        redis-py 3 asks for the second and cannot do it.
        """
        chosen = self._connections if inuse_connections else [each for each in self.pool.queue if each]
        for connection in chosen:
            connection.disconnect()
        for sentinel in self.sentinel_manager.sentinels:
            sentinel.connection_pool.disconnect(inuse_connections=False)


class SharedClient(redis.Redis):
    """What tasks see: subscriptions have connections of their own, so that they leave those for commands free."""

    def __init__(self, pool: Any, listeners: Any) -> None:
        super().__init__(connection_pool=pool)
        self.listeners = listeners

    def pubsub(self, **options: Any) -> Any:
        """As the parent's."""
        return redis.Redis(connection_pool=self.listeners).pubsub(**options)  # type: ignore[no-untyped-call] # theirs


class SingleServer:
    """How to reach it.

    Args:
        given: the client that the user made, or that was made from what the user said.
    """

    is_cluster = False

    def __init__(self, given: Any) -> None:
        self._given = given
        self._pool = given.connection_pool

    def shared(self, connections: int) -> Any:
        """Return the client for tasks: the user's own, unless a thousand greenlets would exhaust its pool.

        Args:
            connections: how many it may open at most.
        """
        if type(self._pool) not in {ConnectionPool, SentinelConnectionPool}:
            return self._given
        options = {key: value for key, value in self._pool.connection_kwargs.items() if key != "connection_pool"}
        options["connection_class"] = patient(self._pool.connection_class)
        most = min(self._pool.max_connections, connections)
        commands, listeners = (self._new_pool(most, {**options, "turns": Turns(each, most)}) for each in SHARED)
        return SharedClient(commands, listeners)

    def own(self, connections: int, name: str) -> Any:
        """Return a new client with connections of its own, for which callers queue.

        Args:
            connections: how many it may open.
            name: what ``CLIENT LIST`` shows them as.
        """
        options = own_options(self._pool.connection_kwargs, self._pool.connection_class, client_name=name)
        return redis.Redis(connection_pool=self._new_pool(connections, options))

    def _new_pool(self, connections: int, options: dict[str, Any]) -> Any:
        common = {
            "max_connections": connections,
            "timeout": None,
            "connection_class": self._pool.connection_class,
            **options,
        }
        if isinstance(self._pool, SentinelConnectionPool):
            return SentinelPool(self._pool.service_name, self._pool.sentinel_manager, **common)  # type: ignore[no-untyped-call] # theirs
        return Pool(**common)

    @property
    def database(self) -> int:
        """The number of its database."""
        return int(self._pool.connection_kwargs.get("db") or 0)

    def describe(self) -> str:
        """Return where it is, without secrets."""
        if isinstance(self._pool, SentinelConnectionPool):
            where = [each.connection_pool.connection_kwargs for each in self._pool.sentinel_manager.sentinels]
            hosts = shown((each.get("host"), each.get("port")) for each in where)
            return f"redis+sentinel://{hosts}/{self._pool.service_name}"
        options = self._pool.connection_kwargs
        if options.get("path"):
            return f"unix://{options['path']}"
        scheme = "rediss" if issubclass(self._pool.connection_class, SSLConnection) else "redis"
        address = shown([(options.get("host", "localhost"), options.get("port", 6379))])
        return f"{scheme}://{address}/{options.get('db') or 0}"


def by_sentinels(target: Target) -> Any:
    """Return a client that asks the Sentinels of ``target`` for the master whenever it connects."""
    is_tls = issubclass(target.connection_class, SSLConnection)
    options = {
        **target.options,
        "connection_class": SentinelManagedTLSConnection if is_tls else SentinelManagedConnection,
    }
    manager = Sentinel(  # type: ignore[no-untyped-call] # theirs
        list[Address](target.addresses),
        sentinel_kwargs={**_of_sentinels(target, is_tls), **dict(target.aside or {})},
    )
    pool = SentinelConnectionPool(target.service, manager, **options)  # type: ignore[no-untyped-call] # theirs
    return redis.Redis(connection_pool=pool)


def _of_sentinels(target: Target, is_tls: bool) -> dict[str, Any]:
    options: dict[str, Any] = {key: value for key, value in target.options.items() if key.startswith("ssl_")}
    if is_tls:
        options["ssl"] = True
    if NO_RETRY is not None:
        options["retry"] = NO_RETRY
    timeouts = {"socket_timeout": SENTINEL_TIMEOUT, "socket_connect_timeout": SENTINEL_TIMEOUT}
    return {**quiet(), **options, **timeouts}
