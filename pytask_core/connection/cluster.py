"""How to reach a cluster, with either of the two client libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.connection import SSLConnection

from ..errors import PyTaskException
from ..redis_url import Address
from .patient import patient
from .urls import Target, check_files, shown
from .wire import NO_RETRY, SHARED, accepted, own_options

library: Any
try:
    from . import cluster_client as library
except ImportError:  # redis-py 3 has no cluster client of its own
    try:
        from . import cluster_client_old as library
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "rediscluster":
            raise
        from . import cluster_client_none as library

#: Seconds to connect to a node, and to wait for its answer. Less than for a single server: a replica takes the place of
#: a node that has fallen silent, and should be asked soon.
NODE_TIMEOUT = 2.0

#: Options of a user's cluster client that ours needs as well, besides those of TLS.
_CREDENTIALS = ("username", "password", "credential_provider")

is_client, master_of = library.is_client, library.master_of

#: A node's answers that refer to another node, or say that it cannot answer yet.
AskError, MovedError, TryAgainError = library.REFERRALS


class Cluster:
    """How to reach it.

    Args:
        start: nodes to begin with.
        connection_class: with or without TLS.
        options: of each connection, as the user wants them.
        given: the user's own client, if that is what we have.
        more: what our clients are to have of that one, such as where nodes are found that tell another address.
    """

    is_cluster = True
    database = 0

    def __init__(
        self,
        start: Sequence[Address],
        connection_class: Any,
        options: Mapping[str, Any],
        given: Any = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._start = list(start)
        self._connection_class = connection_class
        self._options = dict(options)
        self._given = given
        self._more = dict(more or {})

    def shared(self, connections: int) -> Any:
        """Return the client for tasks: the user's own, if there is one."""
        if self._given is not None:
            return self._given
        kind = patient(self._connection_class)
        commands, subscriptions = SHARED
        listeners = library.Listeners(self._start, connections, kind, self._options, subscriptions)
        return library.ClusterClient(self._start, connections, kind, self._options, commands, listeners)

    def own(self, connections: int, name: str) -> Any:
        """Return a new client with connections of its own, for which callers queue.

        Args:
            connections: how many it may open to each node.
            name: what ``CLIENT LIST`` shows them as.
        """
        timeouts = {"socket_timeout": NODE_TIMEOUT, "socket_connect_timeout": NODE_TIMEOUT}
        options = own_options(self._options, self._connection_class, client_name=name, **timeouts)
        quiet = {} if NO_RETRY is None else {"retry": NO_RETRY, "protocol": 2}
        return library.ClusterClient(self._known(), connections, self._connection_class, options, **quiet, **self._more)

    def _known(self) -> list[Address]:
        if self._given is None:
            return self._start
        return library.nodes_of(self._given) or self._start

    def describe(self) -> str:
        """Return where it is, without secrets."""
        scheme = "rediss" if issubclass(self._connection_class, library.TLS) else "redis"
        return f"{scheme}+cluster://{shown(self._start)}"


def of_target(target: Target) -> Cluster:
    """Return how to reach the cluster that a URL names."""
    is_tls = issubclass(target.connection_class, SSLConnection)
    return Cluster(target.addresses, library.TLS if is_tls else library.PLAIN, target.options)


def of_client(given: Any) -> Cluster:
    """Return how to reach the cluster of a client that the user made."""
    options = library.options_of(given)
    kept = {key: options[key] for key in options if key in _CREDENTIALS or key.startswith("ssl_")}
    kind = library.TLS if options.get("ssl") else library.PLAIN
    return Cluster(library.nodes_of(given), kind, kept, given, library.routing_of(given))


def of_options(start: Sequence[Address], options: Mapping[str, Any]) -> Cluster:
    """Return how to reach a cluster whose connections have these options, as of ``redis.Redis``.

    Raises:
        PyTaskException: redis-py does not know an option.
    """
    check_files(options)
    kind = library.TLS if options.get("ssl") else library.PLAIN
    kept = {key: value for key, value in options.items() if key not in {"host", "port", "db", "ssl"}}
    unknown = sorted(set(kept) - accepted(kind))
    if unknown:
        raise PyTaskException(f"redis-py does not know the option {unknown[0]!r} for connections to a cluster")
    return Cluster(start, kind, kept)
