"""The cluster client on redis-py-cluster (the extra ``redis-py-cluster``), as in ``cluster_client``.

That library ended with redis-py 3; programs that still need it are meant. It tries again by itself where the newer one
is told not to, so that a command may be sent twice, which all of ours bear.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty
from typing import Any

import redis
from redis.connection import Connection, SSLConnection
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the library's name
    TimeoutError,  # noqa: A004 - the library's name
)
from rediscluster import RedisCluster
from rediscluster.connection import ClusterConnection, ClusterConnectionPool, SSLClusterConnection
from rediscluster.exceptions import AskError, MovedError, RedisClusterException, TryAgainError

from ..redis_url import Address
from .first_use import AtFirstUse
from .pool import AllTaken, Pool, Turns
from .wire import accepted

#: What a node answers that refers to another, or that cannot answer yet.
REFERRALS = (AskError, MovedError, TryAgainError)

#: Connections to nodes, without and with TLS.
PLAIN, TLS = ClusterConnection, SSLClusterConnection

#: What the client must know too, since it reads keys before it sends them.
_TEXT = ("encoding", "encoding_errors", "decode_responses")

#: Runs commands as one, which this library's pipelines cannot.
_AS_ONE = """
local answers, at = {}, 1
while at <= #ARGV do
    local words = tonumber(ARGV[at])
    answers[#answers + 1] = redis.call(unpack(ARGV, at + 1, at + words))
    at = at + words + 1
end
return answers
"""


class _AsOne(redis.Redis):
    """Collects commands and runs them as one script, on the node that has the first key."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []
        self.connection = None

    def execute_command(self, *args: Any, **_options: Any) -> Any:
        self._commands.append(args)
        return self

    def execute(self) -> list[Any]:
        """Run them; what they answer, as it comes."""
        commands, self._commands = self._commands, []
        if not commands:
            return []
        words = [word for command in commands for word in (len(command), *command)]
        answers: list[Any] = self._client.execute_command("EVAL", _AS_ONE, 1, commands[0][1], *words)
        return answers


class ClusterClient(AtFirstUse, RedisCluster):  # type: ignore[misc] # the library is not typed
    """As in ``cluster_client``."""

    def __init__(
        self,
        start: Sequence[Address],
        connections: int,
        connection_class: Any,
        options: Mapping[str, Any],
        purpose: str = "",
        listeners: ClusterClient | None = None,
    ) -> None:
        self.begin()
        self._start = [{"host": host, "port": port} for host, port in start]
        self._connection_class = connection_class
        self._options = dict(options)
        self._listeners = listeners
        self._links: dict[str, Any] = {}
        # A pool of its own that makes callers wait loses count when one is killed.
        self._turns = threading.BoundedSemaphore(connections)
        self._most = connections
        self._patience = Turns(purpose, connections) if purpose else None

    def _connect(self) -> None:
        # It writes each MOVED and each lost connection as an error with its traceback. What matters is raised.
        logging.getLogger("rediscluster").setLevel(logging.CRITICAL)
        try:
            pool = ClusterConnectionPool(
                startup_nodes=[dict(node) for node in self._start],
                connection_class=self._connection_class,
                skip_full_coverage_check=True,
                nodemanager_follow_cluster=True,
                **self._options,
            )
        except RedisClusterException as error:
            self._raise_what_it_hides()
            raise ConnectionError(str(error)) from error
        super().__init__(connection_pool=pool, **{key: self._options[key] for key in _TEXT if key in self._options})

    def _raise_what_it_hides(self) -> None:
        """A wrong password looks to this library like a node that is away."""
        for node in self._start:
            self._link(node).ping()

    def _link(self, node: Mapping[str, Any]) -> Any:
        """Return a plain client of one node."""
        name = f"{node['host']}:{node['port']}"
        if name not in self._links:
            kind = SSLConnection if issubclass(self._connection_class, SSLConnection) else Connection
            known = {key: value for key, value in self._options.items() if key in accepted(kind)}
            most = self._most if self._patience else 2
            address = {"host": node["host"], "port": node["port"]}
            options = {**known, **address, "turns": self._patience, "where": name}
            pool = Pool(**{**options, "connection_class": kind, "max_connections": most, "timeout": None})
            self._links[name] = redis.Redis(connection_pool=pool)
        return self._links[name]

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command, when fewer than ``connections`` are under way."""
        with self._turn():
            return super().execute_command(*args, **options)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._patience is not None:
            self._patience.wait(self._acquire)
        else:
            self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()

    def _acquire(self, seconds: float) -> None:
        if not self._turns.acquire(timeout=seconds):
            raise Empty

    def determine_node(self, *args: Any, **options: Any) -> Any:
        """Ask one master where this library would ask all nodes, and answer with a dict of them."""
        if self.nodes_flags.get(args[0]) == "all-nodes":
            return [random.choice(list(self.connection_pool.nodes.all_masters()))]  # noqa: S311 - no secret
        return super().determine_node(*args, **options)

    def _merge_result(self, command: str, res: dict[str, Any], **options: Any) -> Any:
        if self.nodes_flags.get(command) == "all-nodes":
            return next(iter(res.values()))
        return super()._merge_result(command, res, **options)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None, read_from_replicas: bool = False) -> Any:
        """Return a pipeline; with ``transaction``, of keys in one slot."""
        if transaction:
            return _AsOne(self)
        pipe = super().pipeline(None, shard_hint, read_from_replicas)
        send = pipe.execute

        def execute(raise_on_error: bool = True) -> Any:
            with self._turn():
                return send(raise_on_error)

        pipe.execute = execute
        return pipe

    def pubsub(self, **options: Any) -> Any:
        """Return a pubsub at a node that answers now."""
        if self._listeners is not None:
            return self._listeners.pubsub(**options)
        self.connection_pool.nodes.initialize()
        links = [self._link(node) for node in self.connection_pool.nodes.all_nodes()]
        random.shuffle(links)
        trouble: Exception | None = None
        for link in sorted(links, key=lambda link: link.connection_pool.is_taken):
            try:
                link.ping()
            except AllTaken:
                raise  # and so are those to the others
            except (ConnectionError, TimeoutError) as error:
                trouble = error
            else:
                return link.pubsub(**options)
        raise trouble or ConnectionError("no node of the cluster is known")

    def knock(self) -> None:
        """Go to one node, any of those that we know; raises where it does not let us in."""
        known = self.connection_pool.nodes.all_nodes() if self._is_open else []
        self._link(random.choice([*self._start, *known])).ping()  # noqa: S311 - no secret

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
        pools = [link.connection_pool for link in self._links.values()]
        for pool in (*pools, *([self.connection_pool] if "connection_pool" in self.__dict__ else [])):
            pool.disconnect()


#: A client for subscriptions, whose connections they keep. What it asks the cluster goes over others.
Listeners = ClusterClient


def is_client(instance: Any) -> bool:
    """Whether it is a cluster client."""
    return isinstance(instance, RedisCluster)


def nodes_of(client: Any) -> list[Address]:
    """Return the nodes that a client knows."""
    return [(node["host"], int(node["port"])) for node in client.connection_pool.nodes.all_nodes()]


def routing_of(client: Any) -> dict[str, Any]:
    """Return what a client was told of addresses: nodes behind a NAT tell others than those where they are found."""
    remap = client.connection_pool.nodes.host_port_remap
    return {"host_port_remap": remap} if remap else {}


def options_of(client: Any) -> dict[str, Any]:
    """Return the options of a client's connections, with ``ssl`` where they use TLS."""
    pool = client.connection_pool
    return {**pool.connection_kwargs, "ssl": issubclass(pool.connection_class, SSLConnection)}


def master_of(client: ClusterClient, key: str) -> Any:
    """Return a plain client of the master that has a key, as far as ``client`` knows."""
    pool = client.connection_pool
    return client._link(pool.get_master_node_by_slot(pool.nodes.keyslot(key)))
