"""The cluster client on ``redis.cluster``: follows MOVED and ASK, and replaces nodes that are gone.

What it lacks is added here: it connects at first use, remembers the nodes that it was given, opens few connections, and
listens at a node that answers.
"""

from __future__ import annotations

import inspect
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import redis
from redis.cluster import ClusterNode, NodesManager, RedisCluster
from redis.connection import Connection, SSLConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ConnectionError,  # noqa: A004 - the library's name
    MovedError,
    RedisClusterException,
    TimeoutError,  # noqa: A004 - the library's name
    TryAgainError,
)

from ..redis_url import Address
from .first_use import AtFirstUse
from .pool import Pool, Turns
from .urls import shown
from .wire import TEXT, quiet_cluster

#: What a node answers that refers to another, or that cannot answer yet.
REFERRALS = (AskError, MovedError, TryAgainError)

#: How many silent nodes are asked where the slots are, two seconds each; those that refuse us cost nothing. More finds
#: one that answers among more silent ones (four: with half of six away), fewer keeps callers less long.
MOST_SILENT = 4

#: Connections to nodes, without and with TLS.
PLAIN, TLS = Connection, SSLConnection


#: Older ones than redis-py 8 keep one such answer until they are asked next; there all nodes are asked again.
_TAKES_MOVES = hasattr(NodesManager, "move_slot")

#: Whether a pool can close its unused connections; older ones leave them to the collector.
_CLOSES_IDLE = "inuse_connections" in inspect.signature(Pool.disconnect).parameters


class ClusterClient(AtFirstUse, RedisCluster):
    """A cluster client that can be made while no node can be reached.

    Args:
        start: nodes to begin with, and to come back to when all nodes that were known are gone.
        connections: how many it may open to each node; callers queue for them.
        connection_class: with or without TLS.
        options: of each connection.
        purpose: what it is for, if users' code may keep connections for long: a wait that is too long names it.
        listeners: whose connections subscriptions take, so that they leave those for commands free. None: its own.
        more: of ``RedisCluster``.
    """

    def __init__(
        self,
        start: Sequence[Address],
        connections: int,
        connection_class: Any,
        options: Mapping[str, Any],
        purpose: str = "",
        listeners: Listeners | None = None,
        **more: Any,
    ) -> None:
        self.begin()
        self._start = [ClusterNode(*address) for address in start]  # type: ignore[no-untyped-call] # theirs
        self._connections = connections
        self._connection_class = connection_class
        self._options = dict(options)
        self._patience = Turns(purpose, connections) if purpose else None
        self._listeners = listeners
        self._more = more
        self._pools: weakref.WeakSet[Any] = weakref.WeakSet()
        # A pipeline takes a connection to each of several nodes. Were there more pipelines than connections to a node,
        # each could hold what the other waits for.
        self._turns = threading.BoundedSemaphore(connections)

    def _connect(self) -> None:
        readable = {key: self._options[key] for key in TEXT if key in self._options}
        begin = super().__init__

        def begin_with(node: ClusterNode) -> None:
            # Only with a URL does it take our pools.
            url = f"redis://{shown([(node.host, node.port)])}"
            begin(url=url, connection_pool_class=self._new_pool, **{**quiet_cluster(), **readable, **self._more})

        _one_of(self._start, begin_with)
        manager = self.nodes_manager
        ask = manager.initialize
        known = inspect.signature(ask).parameters

        def ask_all(*args: Any, last_failed_node_name: str | None = None, **kwargs: Any) -> None:
            nodes = {**{node.name: node for node in self._start}, **manager.startup_nodes}

            def ask_one(node: ClusterNode) -> None:
                manager.startup_nodes = {node.name: node}
                ask(*args, **{name: value for name, value in kwargs.items() if name in known})

            try:
                _one_of(nodes.values(), ask_one, last_failed_node_name)
            finally:
                # It would forget those that it was given for those that it has found.
                manager.startup_nodes = {**nodes, **manager.startup_nodes}
            self._close_idle()

        manager.initialize = ask_all  # type: ignore[method-assign] # of this one alone

    def _new_pool(self, **options: Any) -> Any:
        return self._pool_of(self._connections, self._patience, options)

    def _pool_of(self, connections: int, patience: Turns | None, options: Mapping[str, Any]) -> Any:
        pool = Pool(
            **{
                **options,
                **self._options,
                "max_connections": connections,
                "timeout": None,
                "connection_class": self._connection_class,
                "turns": patience,
                "where": shown([(options["host"], options["port"])]),
            }
        )
        self._pools.add(pool)
        return pool

    def _close_idle(self) -> None:
        """Close unused connections to nodes that are gone, which would be left to the garbage collector."""
        known = self.nodes_manager.nodes_cache.values()
        kept = {node.redis_connection.connection_pool for node in known if node.redis_connection}
        for pool in set(self._pools) - kept if _CLOSES_IDLE else ():
            pool.disconnect(inuse_connections=False)

    def learn(self, moved: Sequence[MovedError]) -> None:
        """Take note of where nodes say that slots are now."""
        manager = self.nodes_manager
        if moved and not _TAKES_MOVES:
            manager.initialize()
            return
        for error in moved:
            manager.move_slot(error)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        """Return a pipeline as the parent's. At most as many run at once as there are connections to a node."""
        pipe = super().pipeline(transaction, shard_hint)  # type: ignore[no-untyped-call] # theirs
        send = pipe.execute

        def execute(raise_on_error: bool = True) -> Any:
            with self._turns:
                return send(raise_on_error)

        pipe.execute = execute
        return pipe

    def pubsub(self, node: Any = None, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Return a pubsub as the parent's; where no node is named, one that answers now."""
        if self._listeners is not None:
            # A node carries the connections of the client that it comes from.
            host, port = (host, port) if node is None else (node.host, node.port)
            return self._listeners.pubsub(None, host, port, **options)
        if node is None and host is None:
            node = self._one_that_answers()
        return super().pubsub(node, host, port, **options)  # type: ignore[no-untyped-call] # theirs

    def _one_that_answers(self) -> Any:
        self.nodes_manager.initialize()
        nodes = self.get_nodes()  # type: ignore[no-untyped-call] # theirs
        random.shuffle(nodes)
        trouble: Exception | None = None
        for node in sorted(nodes, key=self._is_full):
            try:
                super().get_redis_connection(node).ping()
            except (ConnectionError, TimeoutError) as error:
                trouble = error
            else:
                return node
        raise trouble or ConnectionError("no node of the cluster is known")

    def _is_full(self, _node: Any) -> bool:
        return False

    def knock(self) -> None:
        """Go to one node, any of those that we know; raises where it does not let us in."""
        known = self.get_nodes() if self._is_open else []  # type: ignore[no-untyped-call] # theirs
        door = random.choice([*self._start, *known])  # noqa: S311 - no secret
        pool = self._new_pool(host=door.host, port=door.port)
        try:
            pool.get_connection()
        finally:
            pool.disconnect()

    def close(self) -> None:
        """Close, unless it was never used."""
        if self._listeners is not None:
            self._listeners.close()
        if self._is_open:
            super().close()

    def disconnect(self) -> None:
        """Close all connections."""
        if self._listeners is not None:
            self._listeners.disconnect()
        for pool in list(self._pools):
            pool.disconnect()


class Listeners(ClusterClient):
    """A client for subscriptions, whose connections they keep. What it asks the cluster goes over others.

    Args:
        connections: how many subscriptions there may be at each node.
        purpose: what they are for; a wait that is too long names it.
        start, connection_class, options: as of ``ClusterClient``.
    """

    def __init__(
        self,
        start: Sequence[Address],
        connections: int,
        connection_class: Any,
        options: Mapping[str, Any],
        purpose: str,
    ) -> None:
        super().__init__(start, 2, connection_class, options)
        self._most = connections
        self._waiting = Turns(purpose, connections)
        self._seats: dict[str, Pool] = {}

    def get_redis_connection(self, node: Any) -> Any:
        """Return a client whose connections subscriptions keep. Pubsubs take them here."""
        return redis.Redis(connection_pool=self._seats_at(node))

    def _seats_at(self, node: Any) -> Pool:
        if node.name not in self._seats:
            self._seats[node.name] = self._pool_of(self._most, self._waiting, {"host": node.host, "port": node.port})
        return self._seats[node.name]

    def _is_full(self, node: Any) -> bool:
        return self._seats_at(node).is_taken


def _one_of(nodes: Iterable[ClusterNode], ask: Callable[[ClusterNode], None], last: str | None = None) -> None:
    """Ask one node after the other until one answers; the one that has just failed last. See :data:`MOST_SILENT`."""
    order = list(nodes)
    random.shuffle(order)
    order.sort(key=lambda node: node.name == last)
    silent = 0
    trouble: Exception = ConnectionError("no node of the cluster is known")
    for node in order:
        began = time.monotonic()
        try:
            return ask(node)
        except IndexError:
            trouble = ConnectionError("no node of the cluster has slots yet")
        except (ConnectionError, TimeoutError) as error:
            trouble = error  # it asks any of them for their commands, too
        except RedisClusterException as error:
            trouble = _as_others(error)
            trouble.__cause__ = error
        silent += time.monotonic() - began > 1.0
        if silent >= MOST_SILENT:
            break
    raise trouble


def _as_others(error: Exception) -> Exception:
    """Return what a plain client would say where no node can be reached."""
    why = error.__cause__
    return why if isinstance(why, AuthenticationError) else ConnectionError(str(error))


def is_client(instance: Any) -> bool:
    """Whether it is a cluster client."""
    return isinstance(instance, RedisCluster)


def nodes_of(client: Any) -> list[Address]:
    """Return the nodes that a client knows."""
    return [(node.host, node.port) for node in client.get_nodes()]


def routing_of(client: Any) -> dict[str, Any]:
    """Return what a client was told of addresses: nodes behind a NAT tell others than those where they are found."""
    remap = client.nodes_manager.address_remap
    return {"address_remap": remap} if remap is not None else {}


def options_of(client: Any) -> dict[str, Any]:
    """Return the options of a client's connections, with ``ssl`` where they use TLS."""
    options = dict(client.get_connection_kwargs())
    kind = options.get("connection_class")
    return {**options, "ssl": bool(options.get("ssl")) or (isinstance(kind, type) and issubclass(kind, SSLConnection))}


def master_of(client: ClusterClient, key: str) -> Any:
    """Return a plain client of the master that has a key, as far as ``client`` knows."""
    return client.get_redis_connection(client.get_node_from_key(key))  # type: ignore[no-untyped-call] # theirs
