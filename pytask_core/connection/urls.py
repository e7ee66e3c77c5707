"""What a Redis URL means to the client library. No error shows the URL, since it may hold a password."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.connection import ConnectionPool

from .. import redis_url
from ..errors import PyTaskException
from ..redis_url import Address, RedisUrl
from .wire import OF_THE_POOL, URL_OPTIONS, accepted, quiet

#: Options that name files: one that cannot be read is reported at once, not at each connection.
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")

#: Options of a pool of connections, which a URL may name too.
_OF_POOLS = {"max_connections", "timeout", "connection_class"}


@dataclass(frozen=True)
class Target:
    """What a URL names.

    ``connection_class`` and ``options``: as redis-py reads them, hosts aside. ``addresses``: the hosts, in order.
    ``service``: what the Sentinels call the master. ``aside``: options for the Sentinels themselves.
    """

    connection_class: Any
    options: dict[str, Any]
    addresses: tuple[Address, ...] = ()
    service: str = ""
    aside: Mapping[str, Any] | None = None


def read(url: str) -> Target:
    """Read ``redis://``, ``rediss://`` or ``unix://``; raises ``PyTaskException``."""
    try:
        with warnings.catch_warnings():
            # redis-py 3 only warns of an option that it cannot read.
            warnings.simplefilter("error", UserWarning)
            pool = ConnectionPool.from_url(url, **{**quiet(), **URL_OPTIONS})
    except (ValueError, UserWarning):
        # Its text may quote a piece of the password.
        raise PyTaskException(
            f"the Redis URL cannot be read: its host, its port or an option is wrong; {redis_url.ESCAPES}"
        ) from None
    options = {key: value for key, value in pool.connection_kwargs.items() if key not in OF_THE_POOL}
    unknown = sorted(set(options) - accepted(pool.connection_class) - _OF_POOLS)
    if unknown:
        # It may be a piece of the password, which had an & in it.
        named = "one of the options that stand" if "password" in url.partition("?")[2] else f"option {unknown[0]!r}"
        raise PyTaskException(f"redis-py does not know {named} in the Redis URL; in a password write & as %26")
    check_files(options)
    return Target(pool.connection_class, options)


def check_files(options: Mapping[str, Any]) -> None:
    """Raise ``PyTaskException`` where a certificate or key cannot be read."""
    for name in _FILES:
        path = options.get(name)
        if path and not os.access(path, os.R_OK):
            raise PyTaskException(f"Redis: {name}={path} cannot be read")


def read_many(url: RedisUrl) -> Target:
    """Read a URL with several hosts, of a cluster or of Sentinels; raises ``PyTaskException``."""
    tls, _, kind = url.scheme.partition("+")
    service, _, database = url.path.strip("/").partition("/")
    aside, query = _take_aside(url.query) if kind == "sentinel" else ({}, url.query)
    at = "@" if url.credentials else ""
    target = read(f"{tls}://{url.credentials}{at}host:1/{database if kind == 'sentinel' else ''}?{query}")
    options = {key: value for key, value in target.options.items() if key not in {"host", "port"}}
    return Target(target.connection_class, options, url.addresses, service, aside)


def shown(addresses: Iterable[tuple[Any, Any]]) -> str:
    """Return addresses as they stand in a URL."""
    return ",".join(f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}" for host, port in addresses)


def _take_aside(query: str) -> tuple[dict[str, str], str]:
    """Take ``sentinel_username`` and ``sentinel_password`` out of a query."""
    from urllib.parse import parse_qsl, urlencode  # noqa: PLC0415 - only here

    pairs = parse_qsl(query, keep_blank_values=True)
    aside = {key[9:]: value for key, value in pairs if key in {"sentinel_username", "sentinel_password"}}
    return aside, urlencode([(key, value) for key, value in pairs if key[9:] not in aside])
