"""The URLs that name a Redis, taken apart as text. Pure: the supervisor checks them with it before it has a worker.

``connection`` gives the parts to the client library. No error here shows the URL, in which there may be a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT = "redis://localhost:6379"

#: Servers that pytask starts itself, and the file in ``embedded/`` that runs each.
EMBEDDED = {"embedded": "server.py", "embedded-cluster": "cluster.py"}

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
FORMS = (
    "redis://HOST:PORT/DB, redis+cluster://HOST:PORT,HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE (or one "
    "of these with rediss), unix:///PATH, embedded[:DIR] or embedded-cluster[:DIR]"
)

#: How to write what would end a user name or password too early.
ESCAPES = "in a user name or password write / ? # @ : and % as %2F %3F %23 %40 %3A and %25"

MOST_PORT = 65_535
SENTINEL_PORT = 26_379

Address = tuple[str, int]


class UrlError(ValueError):
    """A URL cannot be used. The text follows what the URL is called: "--redis *must name the server as …*"."""


@dataclass(frozen=True, repr=False)
class RedisUrl:
    """The parts of a URL. ``valkey`` in the scheme is read as ``redis``."""

    text: str
    scheme: str
    credentials: str = ""
    addresses: tuple[Address, ...] = ()  #: a single server may have no host, or port 0 for the usual one
    path: str = ""
    query: str = ""
    directory: str | None = None  #: of an embedded server; None: the default folder

    @property
    def kind(self) -> str:
        """``cluster`` or ``sentinel``; empty for one server."""
        return self.scheme.partition("+")[2]


def parse(url: str) -> RedisUrl:
    """Take a URL apart. Raises ``UrlError``."""
    url = url.strip()
    if any(each < " " for each in url):
        # urllib would drop it, and so use another password; a log would break the line in the middle of the password.
        raise UrlError("must not have a line break or another control character in it")
    scheme, _, rest = url.partition(":")
    if scheme in EMBEDDED:
        return RedisUrl(url, scheme, directory=rest or None)
    if scheme.startswith("valkey"):
        scheme = "redis" + scheme.removeprefix("valkey")
        url = f"{scheme}:{rest}"
    if scheme not in SCHEMES or not rest.startswith("//"):
        raise UrlError(f"must be {FORMS}")
    authority, path, query = _split(rest[2:])
    if scheme == "unix":
        return RedisUrl(url, scheme, path=path, query=query)
    credentials, _, hosts = authority.rpartition("@")
    kind = scheme.partition("+")[2]
    named = hosts.split(",") if kind else [hosts]
    addresses = tuple(_address(each, kind, number) for number, each in enumerate(named, 1))
    if kind == "sentinel" and not path.strip("/").partition("/")[0]:
        raise UrlError(f"must end with the name of the service, as in {scheme}://HOST:PORT,HOST:PORT/SERVICE")
    if kind == "cluster" and path not in {"", "/", "/0"}:
        raise UrlError("must end with the hosts: a cluster has one database only")
    return RedisUrl(url, scheme, credentials, addresses, path, query)


def _split(rest: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"([^/?#]*)([^?#]*)\??(.*)", rest)
    assert found is not None
    authority, path, query = found.groups()
    return authority, path, query


def _address(text: str, kind: str, number: int) -> Address:
    """Only a single server and Sentinels may leave their port out."""
    found = re.fullmatch(r"(\[[^\[\]]+\]|[^:,\[\]\s]*)(?::([0-9]*))?", text)
    host, port = (found[1], found[2] or "") if found else ("", "")
    is_named = found and (host or not kind) and (port or kind != "cluster") and int(port or 0) <= MOST_PORT
    if not is_named:
        whose = f"server {number}" if kind else "the server"
        form = "HOST:PORT" if kind == "cluster" else "HOST or HOST:PORT"
        raise UrlError(f"must name {whose} as {form}, with a port up to {MOST_PORT}; {ESCAPES}")
    return host.strip("[]"), int(port or (SENTINEL_PORT if kind == "sentinel" else 0))
