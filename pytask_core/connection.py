"""Clients for Redis: what to connect to, with which options, and which errors mean what.

The only room that knows one version of redis-py from another. The store gets its clients here; users' tasks see
:attr:`RedisSource.client`.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, ConnectionPool
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - the library's name
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the library's name
)
from redis.retry import Retry

from . import embedded
from .errors import PyTaskException, RedisRefused

#: Seconds without an answer after which a connection counts as dead. Shorter notices a frozen server sooner, longer
#: bears slow ones. Blocking takes wait less than this.
SOCKET_TIMEOUT = 5.0

#: Connections that the tasks of one process share as ``self.redis``. More lets more commands be under way at once,
#: fewer spares the server; a task beyond that waits for its turn.
CLIENT_CONNECTIONS = 64

#: Connections of the helpers of one process. A greenlet or thread beyond that waits for its turn.
HELPERS_CONNECTIONS = 16

#: The oldest server whose commands suffice (BLMOVE, LPOS, RPOP with a count).
OLDEST_SERVER = (6, 2)

#: Options of a user's cluster client that ours needs as well, besides those of TLS.
_CREDENTIALS = ("username", "password", "credential_provider", "ssl")

#: What a server says while it cannot serve us, though it may soon.
_PASSING = {
    "LOADING": "it is still loading its data",
    "READONLY": "it is a replica and takes no writes; its master may just have changed",
    "OOM": "it has no memory left (maxmemory)",
    "MISCONF": "it cannot save to disk and refuses writes",
    "BUSY": "it is busy with somebody's script",
    "CLUSTERDOWN": "the cluster is down",
    "MASTERDOWN": "its link to the master is down",
    "TRYAGAIN": "the cluster is moving slots",
    "NOAUTH": "it wants a password that we do not have",
    "WRONGPASS": "it does not take our password any more",
    "NOPERM": "it does not permit us a command or key",
}


def outage(error: BaseException) -> str | None:
    """Return in words why Redis cannot serve us now, or None where ``error`` is something else."""
    text = str(error)
    word = text.partition(" ")[0]
    if isinstance(error, BusyLoadingError):
        return _PASSING["LOADING"]
    if isinstance(error, AuthenticationError):
        return f"it does not let us in: {text}"
    if isinstance(error, ResponseError):
        code = getattr(error, "status_code", None) or word
        found = re.search(r"\b(OOM|READONLY|MISCONF|NOPERM)\b", text)
        code = code if code in _PASSING else (found.group(1) if found else "")
        return f"{_PASSING[code]} ({text})" if code in _PASSING else None
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return text or type(error).__name__
    return None


def is_answer(error: BaseException) -> bool:
    """Whether Redis itself answered with this error."""
    return isinstance(error, ResponseError)


def refusal(error: BaseException) -> str | None:
    """Return in words why Redis refuses us for good, or None where ``error`` says nothing of the kind."""
    text = str(error)
    if isinstance(error, AuthenticationError) or re.search(r"NOAUTH|NOPERM|WRONGPASS|no permission", text, re.I):
        return f"{text}; check the user name, the password and what they permit"
    return None


def _quiet() -> dict[str, Any]:
    """Options that spare each new connection a round trip that Valkey refuses; none for older redis-py."""
    try:
        from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415 - redis 8
    except ImportError:
        return {}
    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def _from_url(url: str) -> Any:
    scheme, _, rest = url.partition(":")
    if scheme == "embedded":
        try:
            return redis.Redis(unix_socket_path=str(embedded.socket_path(rest or None)), **_quiet())
        except embedded.EmbeddedError as error:
            raise PyTaskException(str(error)) from error
    if scheme in {"redis+cluster", "rediss+cluster"}:
        return _from_cluster_url(url)
    if scheme not in {"redis", "rediss", "unix"}:
        raise PyTaskException(
            f"{scheme!r} is no kind of Redis URL that pytask knows; use redis://HOST:PORT/DB, rediss://…, "
            "unix:///PATH, redis+cluster://HOST:PORT,HOST:PORT or embedded[:DIR]"
        )
    try:
        return redis.Redis.from_url(url, **_quiet())
    except ValueError as error:
        raise PyTaskException(f"the Redis URL cannot be used: {error}") from error


def _from_cluster_url(url: str) -> Any:
    scheme, _, rest = url.partition("://")
    credentials, _, hosts = rest.rpartition("@")
    user, _, password = credentials.partition(":")
    common = {"username": unquote(user) or None, "password": unquote(password) or None, "ssl": scheme[:6] == "rediss"}
    nodes = []
    for each in hosts.strip("/").split(","):
        host, _, port = each.rpartition(":")
        if not host or not port.isdigit():
            raise PyTaskException(f"{each!r} in the cluster's URL is no HOST:PORT")
        nodes.append({"host": host, "port": int(port), **{key: value for key, value in common.items() if value}})
    return _cluster(nodes)


def _from_nodes(nodes: Sequence[Any]) -> Any:
    options = [dict(node) if isinstance(node, Mapping) else {"host": node[0], "port": int(node[1])} for node in nodes]
    if not options:
        raise PyTaskException("the list of Redis servers is empty; name at least one (host, port)")
    if len(options) == 1:
        return redis.Redis(**{**_quiet(), **options[0]})
    return _cluster(options)


def _cluster(options: Sequence[Mapping[str, Any]]) -> Any:
    """Return a cluster client that begins with these nodes; options besides host and port are taken from the first."""
    from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - redis 3.5 has no such module

    common = {key: value for key, value in options[0].items() if key not in {"host", "port", "db"}}
    return RedisCluster(
        startup_nodes=[ClusterNode(each["host"], each["port"]) for each in options],  # type: ignore[no-untyped-call] # theirs
        **common,
    )


def _make(instance: Any, environ: Mapping[str, str]) -> Any:
    """Return a client for whatever the user has given."""
    if instance is None:
        return _from_url(environ.get("PYTASK_REDIS_URL") or "redis://localhost:6379")
    if isinstance(instance, str):
        return _from_url(instance)
    if isinstance(instance, Mapping):
        return redis.Redis(**{**_quiet(), **instance})
    if isinstance(instance, Sequence):
        return _from_nodes(instance)
    if hasattr(instance, "execute_command"):
        return instance
    raise PyTaskException(
        "redis_instance must be a Redis client, a URL, a dict such as {'host': 'localhost', 'port': 6379}, or a list "
        f"of (host, port), not {type(instance).__name__}"
    )


class _Packer:
    """Writes commands as hiredis does, and ids that are no UTF-8 as the bytes they came from, which it cannot."""

    def pack(self, *args: Any) -> list[bytes]:
        """Return a command as it goes over the wire."""
        words: tuple[Any, ...] = (*args[0].split(), *args[1:])
        try:
            return [hiredis.pack_command(words)]
        except UnicodeEncodeError:
            return [hiredis.pack_command(tuple(map(self._raw, words)))]

    @staticmethod
    def _raw(word: Any) -> Any:
        return word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word


#: Options of all our own connections: text, no silent resending, no chatter.
_OWN: dict[str, Any] = {
    "encoding": "utf-8",
    # Whatever bytes an id or a field has, they come back as they were.
    "encoding_errors": "surrogateescape",
    "decode_responses": True,
    "command_packer": _Packer(),
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "retry_on_timeout": False,
    "socket_timeout": SOCKET_TIMEOUT,
    "socket_connect_timeout": SOCKET_TIMEOUT,
    "health_check_interval": 0,
}


class RedisSource:
    """How one app reaches Redis. Opens no connection by itself.

    Args:
        instance: a client (with or without ``decode_responses``), a dict of its options, a list of ``(host, port)`` or
            such dicts (one: a plain client, several: a cluster client), a URL, or None (``PYTASK_REDIS_URL``, else
            localhost:6379).
        environ: the environment to look in.

    Raises:
        PyTaskException: nothing of the above, or a URL of an unknown kind.
    """

    def __init__(self, instance: Any = None, environ: Mapping[str, str] = os.environ) -> None:
        self._given = _make(instance, environ)
        self.is_cluster = not hasattr(self._given, "connection_pool")
        #: What tasks and users see as ``redis``.
        self.client: Any = self._given if self.is_cluster else self._unbounded_waiters()

    def _unbounded_waiters(self) -> Any:
        """Give the client a pool in which a thousand greenlets queue for a few connections instead of failing."""
        pool = self._given.connection_pool
        if type(pool) is not ConnectionPool:
            return self._given
        waiting = BlockingConnectionPool(  # type: ignore[no-untyped-call] # theirs
            max_connections=min(pool.max_connections, CLIENT_CONNECTIONS),
            timeout=None,
            connection_class=pool.connection_class,
            **pool.connection_kwargs,
        )
        return redis.Redis(connection_pool=waiting)

    def _options(self, **more: Any) -> dict[str, Any]:
        """The options of our own connections: the user's, with ours over them."""
        pool = self._given.connection_pool
        options = {**pool.connection_kwargs, **_OWN, **more, "protocol": 2}
        for gone in ("maint_notifications_pool_handler", "maint_notifications_config"):
            options.pop(gone, None)
        known = _accepted(pool.connection_class)
        return {key: value for key, value in options.items() if key in known}

    def _pool_class(self) -> Any:
        return self._given.connection_pool.connection_class

    def store_client(self, connections: int) -> Any:
        """Return a new client for the store, whose callers queue for its connections.

        Args:
            connections: how many it may open.
        """
        if self.is_cluster:
            return self._cluster_client()
        pool = BlockingConnectionPool(  # type: ignore[no-untyped-call] # theirs
            max_connections=connections,
            timeout=None,
            connection_class=self._pool_class(),
            **self._options(client_name="pytask"),
        )
        return redis.Redis(connection_pool=pool)

    def own_client(self, name: str) -> Any:
        """Return a new client with a connection of its own, for takes that block and for pub/sub.

        Args:
            name: what ``CLIENT LIST`` shows it as.
        """
        if self.is_cluster:
            return self._cluster_client()
        pool = ConnectionPool(
            max_connections=2,
            connection_class=self._pool_class(),
            **self._options(client_name=name),
        )
        return redis.Redis(connection_pool=pool)

    def _cluster_client(self) -> Any:
        """Return a cluster client of our own that knows what the user's knows."""
        from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - redis 3.5 has no such module

        nodes = [
            ClusterNode(node.host, node.port)  # type: ignore[no-untyped-call] # theirs
            for node in self._given.get_nodes()
        ]
        given = self._given.get_connection_kwargs()
        kept = {key: given[key] for key in given if key in _CREDENTIALS or key.startswith("ssl_")}
        own = {key: value for key, value in _OWN.items() if not key.startswith("retry")}
        # One more try, since after MOVED or a failover the first only teaches the client where to go.
        return RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 1), **{**kept, **own})

    def describe(self) -> str:
        """Return where the server is, without secrets."""
        if self.is_cluster:
            return "the Redis cluster"
        kwargs = self._given.connection_pool.connection_kwargs
        if kwargs.get("path"):
            return f"unix://{kwargs['path']}"
        return f"redis://{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}/{kwargs.get('db') or 0}"

    def close(self) -> None:
        """Close the connections that were opened for tasks, but not those of a client that the user gave."""
        if self.client is not self._given:
            disconnect(self.client)


def disconnect(*clients: Any) -> None:
    """Close all connections of clients that are our own."""
    for client in clients:
        if hasattr(client, "connection_pool"):
            client.connection_pool.disconnect()
        else:
            client.close()


def unblock(client: Any, name: str) -> None:
    """End the blocking command of the connections that ``CLIENT LIST`` shows as ``name``, as if it had timed out."""
    for other in client.client_list(_type="normal"):
        if other.get("name") == name:
            client.execute_command("CLIENT", "UNBLOCK", other["id"])


def _accepted(connection_class: Callable[..., Any]) -> set[str]:
    """Return the names of the options that a connection class takes, its parents' included."""
    names: set[str] = set()
    for cls in inspect.getmro(connection_class):  # type: ignore[arg-type] # it is a class
        init = cls.__dict__.get("__init__")
        if init is not None:
            names.update(inspect.signature(init).parameters)
    return names


def check_server(client: Any, where: str) -> list[str]:
    """Make sure that the server will have us, and is new enough.

    Args:
        client: a store client.
        where: names the server in errors.

    Returns:
        Warnings for the log, a sentence each.

    Raises:
        RedisRefused: it is too old.
        redis.RedisError: it cannot be reached, or does not serve us.
    """
    info = client.info("server")
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        raise RedisRefused(f"{where} runs version {version}; pytask needs Redis 6.2 or later, or Valkey")
    try:
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    except RedisError:
        return []  # a hosted Redis may not let us look; that is no reason not to run
    if policy == "noeviction":
        return []
    warning = f"{where} has maxmemory-policy={policy}: when its memory is full it throws keys away, and tasks with them"
    return [f"{warning}; set it to noeviction"]
