"""Clients for Redis: what to connect to, with which options, and which errors mean what.

The only room that knows one client library, and one version of it, from another. The store gets its clients here;
users' tasks see :attr:`RedisSource.client`. In order: ``trouble`` says what errors mean, ``urls`` reads URLs,
``wire`` holds the options of our own connections, ``servers`` reaches one server (also by Sentinel), ``cluster`` a
cluster, ``source`` chooses between them.
"""

from .cluster import AskError, MovedError, TryAgainError
from .source import CLIENT_CONNECTIONS, HELPERS_CONNECTIONS, RedisSource, disconnect, knock, unblock, unblock_own
from .trouble import check_server, denied, is_answer, is_full, misplaced, outage, refusal, shortage
from .wire import SOCKET_TIMEOUT

__all__ = [
    "AskError",
    "CLIENT_CONNECTIONS",
    "HELPERS_CONNECTIONS",
    "MovedError",
    "RedisSource",
    "SOCKET_TIMEOUT",
    "TryAgainError",
    "check_server",
    "denied",
    "disconnect",
    "is_answer",
    "is_full",
    "knock",
    "misplaced",
    "outage",
    "refusal",
    "shortage",
    "unblock",
    "unblock_own",
]
