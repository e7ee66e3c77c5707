"""Reads Redis URLs, and never shows one in an error, since it may hold a password."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.connection import ConnectionPool

from ..errors import PyTaskException
from .wire import OF_THE_POOL, URL_OPTIONS, accepted, quiet

Address = tuple[str, int]

#: Options that name files: those that cannot be read are said at once instead of at each connection.
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")

#: Options of a pool of connections, which a URL may name too.
_OF_POOLS = {"max_connections", "timeout", "connection_class"}

_SENTINEL_PORT, _PORT = 26379, 6379


@dataclass(frozen=True)
class Place:
    """What a URL names.

    ``connection_class`` and ``options``: as redis-py reads them, hosts aside. ``addresses``: the hosts, in order.
    ``service``: what the Sentinels call the master. ``aside``: options for the Sentinels themselves.
    """

    connection_class: Any
    options: dict[str, Any]
    addresses: tuple[Address, ...] = ()
    service: str = ""
    aside: Mapping[str, Any] | None = None


def read(url: str) -> Place:
    """Read ``redis://``, ``rediss://`` or ``unix://``; raises ``PyTaskException``."""
    try:
        with warnings.catch_warnings():
            # Of an option that it cannot read, redis-py 3 only warns.
            warnings.simplefilter("error", UserWarning)
            pool = ConnectionPool.from_url(url, **{**quiet(), **URL_OPTIONS})
    except (ValueError, UserWarning):
        # Its text may quote a piece of the password.
        raise PyTaskException(
            "the Redis URL cannot be read: host, port or an option is no such thing; in a user name or password write "
            "/ ? # @ : and % as %2F %3F %23 %40 %3A and %25"
        ) from None
    options = {key: value for key, value in pool.connection_kwargs.items() if key not in OF_THE_POOL}
    unknown = sorted(set(options) - accepted(pool.connection_class) - _OF_POOLS)
    if unknown:
        # It may be a piece of the password, which had an & in it.
        named = "one of the options that stand" if "password" in url.partition("?")[2] else f"option {unknown[0]!r}"
        raise PyTaskException(f"redis-py does not know {named} in the Redis URL; in a password write & as %26")
    check_files(options)
    return Place(pool.connection_class, options)


def check_files(options: Mapping[str, Any]) -> None:
    """Raise ``PyTaskException`` where a certificate or key cannot be read."""
    for name in _FILES:
        path = options.get(name)
        if path and not os.access(path, os.R_OK):
            raise PyTaskException(f"Redis: there is no readable {name}={path}")


def read_many(url: str) -> Place:
    """Read a URL with several hosts, of a cluster or of Sentinels; raises ``PyTaskException``."""
    scheme, _, rest = url.partition("://")
    tls, _, kind = scheme.partition("+")
    authority, path, query = _split(rest)
    credentials, at, hosts = authority.rpartition("@")
    default = _SENTINEL_PORT if kind == "sentinel" else None
    addresses = tuple(_address(host, number, default) for number, host in enumerate(hosts.split(","), 1))
    service, _, database = path.strip("/").partition("/")
    if kind == "sentinel" and not service:
        raise PyTaskException(f"{scheme}://HOST:PORT,HOST:PORT/SERVICE: the name of the service is missing")
    if kind == "cluster" and path not in {"", "/", "/0"}:
        raise PyTaskException(f"{scheme}:// ends with the hosts: a cluster has one database")
    aside, rest_of_query = _take_aside(query) if kind == "sentinel" else ({}, query)
    place = read(
        f"{tls}://{credentials}{at}host:1/{database if kind == 'sentinel' else path.strip('/')}?{rest_of_query}"
    )
    options = {key: value for key, value in place.options.items() if key not in {"host", "port"}}
    return Place(place.connection_class, options, addresses, service, aside)


def shown(addresses: Iterable[tuple[Any, Any]]) -> str:
    """Return addresses as they stand in a URL."""
    return ",".join(f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}" for host, port in addresses)


def _split(rest: str) -> tuple[str, str, str]:
    found = re.match(r"([^/?#]*)([^?#]*)\??(.*)", rest, re.S)
    assert found is not None
    authority, path, query = found.groups()
    return authority, path, query


def _address(text: str, number: int, default: int | None) -> Address:
    found = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?", text)
    if found is None or not (found.group(2) or default):
        raise PyTaskException(f"server {number} in the Redis URL is no HOST:PORT")
    return found.group(1).strip("[]"), int(found.group(2) or default or 0)


def _take_aside(query: str) -> tuple[dict[str, str], str]:
    """Take ``sentinel_username`` and ``sentinel_password`` out of a query."""
    from urllib.parse import parse_qsl, urlencode  # noqa: PLC0415 - only here

    pairs = parse_qsl(query, keep_blank_values=True)
    aside = {key[9:]: value for key, value in pairs if key in {"sentinel_username", "sentinel_password"}}
    return aside, urlencode([(key, value) for key, value in pairs if key[9:] not in aside])
