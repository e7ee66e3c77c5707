"""``RedisSource``: how one app reaches Redis, in whatever form the user named it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.connection import ConnectionPool

from ..embedded import cluster as embedded_cluster
from ..embedded import server as embedded
from ..errors import PyTaskException
from ..redis_url import DEFAULT, UrlError, parse
from . import cluster, urls
from .cluster import Cluster
from .pool import Pool
from .servers import SharedClient, SingleServer, by_sentinels
from .wire import quiet

#: Connections that the tasks of one process share as ``self.redis``. More lets more commands be under way at once,
#: fewer spares the server; a further task waits for its turn. On a cluster: to each node.
CLIENT_CONNECTIONS = 64

#: Connections of the helpers of one process. A further greenlet or thread waits for its turn.
HELPERS_CONNECTIONS = 16

#: Connections for one blocking command or subscription, and for an occasional command beside it.
_OWN_CONNECTIONS = 2


def _from_url(text: str) -> SingleServer | Cluster:
    try:
        url = parse(text)
        if url.scheme == "embedded":
            return SingleServer(redis.Redis(unix_socket_path=str(embedded.socket_path(url.directory)), **quiet()))
        if url.scheme == "embedded-cluster":
            plan = embedded_cluster.read_plan(url.directory)
            return cluster.of_options([("127.0.0.1", port) for port in plan.ports], {"password": plan.password})
    except UrlError as error:
        raise PyTaskException(f"the Redis URL {error}") from None
    except embedded.EmbeddedError as error:
        raise PyTaskException(str(error)) from error
    if url.kind == "cluster":
        return cluster.of_target(urls.read_many(url))
    if url.kind == "sentinel":
        return SingleServer(by_sentinels(urls.read_many(url)))
    target = urls.read(url.text)
    pool = ConnectionPool(connection_class=target.connection_class, **{**quiet(), **target.options})
    return SingleServer(redis.Redis(connection_pool=pool))


def _from_nodes(nodes: Sequence[Any]) -> SingleServer | Cluster:
    options = [dict(node) if isinstance(node, Mapping) else {"host": node[0], "port": int(node[1])} for node in nodes]
    if not options:
        raise PyTaskException("the list of Redis servers is empty; name at least one (host, port)")
    if len(options) == 1:
        return _from_options(options[0])
    # Options besides host and port hold for all, and the first one gives them.
    return cluster.of_options([(each["host"], int(each["port"])) for each in options], options[0])


def _from_options(options: Mapping[str, Any]) -> SingleServer:
    urls.check_files(options)
    return SingleServer(redis.Redis(**{**quiet(), **options}))


def _find(instance: Any, environ: Mapping[str, str]) -> SingleServer | Cluster:
    """Return how to reach what the user has given."""
    if instance is None:
        return _from_url(environ.get("PYTASK_REDIS_URL") or DEFAULT)
    if isinstance(instance, str):
        return _from_url(instance)
    if isinstance(instance, Mapping):
        return _from_options(instance)
    if isinstance(instance, (list, tuple)) and not any(isinstance(each, (str, int)) for each in instance):
        return _from_nodes(instance)
    if ".asyncio" not in type(instance).__module__ and cluster.is_client(instance):
        return cluster.of_client(instance)
    if isinstance(getattr(instance, "connection_pool", None), ConnectionPool):
        return SingleServer(instance)
    module = type(instance).__module__
    if ".asyncio" in module:
        raise PyTaskException(
            "redis_instance is a client of redis.asyncio, but tasks run in greenlets: pass a redis.Redis or a URL"
        )
    if module.partition(".")[0] == "valkey":
        raise PyTaskException(
            "redis_instance is a client of valkey-py: pass a URL such as redis://HOST:PORT, which reaches Valkey too"
        )
    raise PyTaskException(
        "redis_instance must be a Redis client, a URL, a dict such as {'host': 'localhost', 'port': 6379}, or a list "
        f"of (host, port), not {type(instance).__name__}"
    )


class RedisSource:
    """How one app reaches Redis. Opens no connection by itself.

    Args:
        instance: a client (with or without ``decode_responses``), a dict of its options, a list of ``(host, port)`` or
            such dicts (one: a plain client, several: a cluster client), a URL, or None (``PYTASK_REDIS_URL``, else
            localhost:6379).
        environ: the environment to look in.
        connections: how many :attr:`client` may open, and as many for subscriptions; on a cluster, to each node.

    Raises:
        PyTaskException: it is none of these, or the URL is wrong.
    """

    def __init__(
        self, instance: Any = None, environ: Mapping[str, str] = os.environ, connections: int = CLIENT_CONNECTIONS
    ) -> None:
        self._target = _find(instance, environ)
        self._given = instance
        self.is_cluster = self._target.is_cluster
        self.database = self._target.database
        #: What tasks and users see as ``redis``.
        self.client: Any = self._target.shared(connections)

    def store_client(self, connections: int) -> Any:
        """Return a new client for the store, whose callers queue for its connections.

        Args:
            connections: how many it may open; on a cluster, to each node.
        """
        return self._target.own(connections, "pytask")

    def own_client(self, name: str) -> Any:
        """Return a new client with a connection of its own, for takes that block and for pub/sub.

        Args:
            name: what ``CLIENT LIST`` shows it as.
        """
        return self._target.own(_OWN_CONNECTIONS, name)

    def describe(self) -> str:
        """Return where the server is, without secrets."""
        return self._target.describe()

    def close(self) -> None:
        """Close the connections that were opened for tasks, but not those of a client that the user gave."""
        if self.client is not self._given:
            disconnect(self.client)


def disconnect(*clients: Any) -> None:
    """Close all connections of clients that are our own."""
    for client in clients:
        if cluster.is_client(client):
            client.disconnect()
        else:
            client.connection_pool.disconnect()
            if isinstance(client, SharedClient):
                client.listeners.disconnect()


def knock(client: Any) -> None:
    """Check that a server which was away answers, before it is asked for more.

    On a cluster one node is tried. Later commands may try all of them, several times over.

    Raises:
        redis.RedisError: it does not answer, or refuses us.
    """
    if cluster.is_client(client):
        client.knock()


def unblock(client: Any, name: str, key: str) -> None:
    """End the commands that block for ``key`` on connections which ``CLIENT LIST`` shows as ``name``.

    To them it is as if their time were over.
    """
    server = _server_of(client, key)
    for other in server.client_list(_type="normal"):
        if other.get("name") == name:
            server.execute_command("CLIENT", "UNBLOCK", other["id"])


def unblock_own(client: Any, waiting: Any, name: str, key: str) -> None:
    """As :func:`unblock`, for connections of this process: those of the client ``waiting``, which has that name.

    The server need not list all its connections for that.
    """
    pool = _server_of(waiting, key).connection_pool
    if not (isinstance(pool, Pool) and pool.numbers):
        unblock(client, name, key)
        return
    server = _server_of(client, key)
    for number in pool.numbers:
        server.execute_command("CLIENT", "UNBLOCK", number)


def _server_of(client: Any, key: str) -> Any:
    """Return a client of the one server that has a key."""
    return cluster.master_of(client, key) if cluster.is_client(client) else client
