"""The options of our own connections, and where versions of redis-py differ in them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import hiredis
import redis

try:
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:  # redis-py 3 has one flag instead of retries
    NO_RETRY: Any = None
    #: For ``from_url``: %40 stands for @.
    URL_OPTIONS: dict[str, Any] = {"decode_components": True}
else:
    NO_RETRY, URL_OPTIONS = Retry(NoBackoff(), 0), {}

#: The first redis-py whose cluster client lets us turn maintenance notifications off.
_SAYS_NO_TO_CLUSTERS = (8, 1)

#: Seconds without an answer after which a connection counts as dead. Shorter notices a frozen server sooner, longer
#: bears slow ones. Blocking takes wait less than this.
SOCKET_TIMEOUT = 5.0


class Packer:
    """Writes commands as hiredis does; ids that are not UTF-8, which hiredis refuses, go out as the bytes they were."""

    def pack(self, *args: Any) -> list[bytes]:
        """Return a command as it goes over the wire."""
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        words: tuple[Any, ...] = (*name.split(), *args[1:])
        try:
            return [hiredis.pack_command(words)]
        except UnicodeEncodeError:
            return [hiredis.pack_command(tuple(map(self._raw, words)))]

    @staticmethod
    def _raw(word: Any) -> Any:
        return word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word


#: What clients must know too that read keys before they send them.
TEXT: dict[str, Any] = {
    "encoding": "utf-8",
    # All bytes of an id or a field come back as they were.
    "encoding_errors": "surrogateescape",
    "decode_responses": True,
}

#: What the connections are for that all tasks share, in the log: commands, subscriptions.
SHARED = (
    "the Redis client that tasks share (self.redis)",
    "subscriptions by the Redis client that tasks share (self.redis.pubsub())",
)

#: Options of all our own connections: text, no silent resending, no chatter.
OWN: dict[str, Any] = {
    **TEXT,
    "command_packer": Packer(),
    "retry": NO_RETRY,
    "retry_on_error": [],
    "retry_on_timeout": False,
    "socket_timeout": SOCKET_TIMEOUT,
    "socket_connect_timeout": SOCKET_TIMEOUT,
    "health_check_interval": 0,
    "protocol": 2,
}

#: What a pool puts among the options of its connections, and what each new pool finds for itself.
OF_THE_POOL = (
    "maint_notifications_pool_handler",
    "maint_notifications_config",
    "oss_cluster_maint_notifications_handler",
    "connection_pool",
    "himport_registry",
)


def own_options(given: Mapping[str, Any], connection_class: Callable[..., Any], **more: Any) -> dict[str, Any]:
    """Return the options of our own connections: the user's with ours over them, as far as the class takes them."""
    options = {**given, **OWN, **more}
    known = accepted(connection_class)
    return {key: value for key, value in options.items() if key in known and key not in OF_THE_POOL}


def accepted(connection_class: Callable[..., Any]) -> set[str]:
    """Return the names of the options that a connection class takes, those that it hands on to its parents included."""
    names: set[str] = set()
    for cls in inspect.getmro(connection_class):  # type: ignore[arg-type] # it is a class
        init = cls.__dict__.get("__init__")
        if init is not None:
            parameters = inspect.signature(init).parameters
            names.update(parameters)
            if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
                break
    return names


def quiet() -> dict[str, Any]:
    """Options that spare each new connection a round trip that Valkey refuses; empty for older redis-py."""
    try:
        from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415 - redis 8
    except ImportError:
        return {}
    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def quiet_cluster() -> dict[str, Any]:
    """The same for a client of a cluster. Before redis-py 8.1 that bears no word on it, not even no, without RESP 3."""
    version = tuple(int(part) for part in redis.__version__.split(".")[:2])
    return quiet() if version >= _SAYS_NO_TO_CLUSTERS else {}
