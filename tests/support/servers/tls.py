"""Servers with TLS, which the Valkey that comes with the tests is built without: Debian's redis-server.

The certificates are made here, by an authority of the test's own.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import redis
import trustme

from tests.support.servers.redis_cluster import Node
from tests.support.servers.redis_server import RedisServer, client_options

PROGRAM = "redis-server"
USER = "worker"

#: Written in a URL as hunter%2F2%40%3F.
PASSWORD = "hunter/2@?"


class Authority:
    """Certificates for servers and clients, as files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = self._write(folder / "ca.pem", authority.cert_pem)
        server, client = authority.issue_cert("127.0.0.1", "localhost"), authority.issue_cert("client@example.org")
        self.server_key = self._write(folder / "server.key", server.private_key_pem)
        self.server = self._write(folder / "server.pem", server.cert_chain_pems[0])
        self.key = self._write(folder / "client.key", client.private_key_pem)
        self.client = self._write(folder / "client.pem", client.cert_chain_pems[0])
        #: Of an authority that nobody knows.
        self.stranger = self._write(folder / "stranger.pem", trustme.CA().cert_pem)

    @staticmethod
    def _write(path: Path, pem: trustme.Blob) -> str:
        pem.write_to_path(path)
        return str(path)

    def server_words(self) -> list[str]:
        """What a server is told."""
        return [
            *("--tls-cert-file", self.server, "--tls-key-file", self.server_key, "--tls-ca-cert-file", self.ca),
            *("--tls-auth-clients", "yes", "--tls-replication", "yes"),
            # The user that nobody names has no rights, so that each connection must have named another.
            *("--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"),
            *("--user", "default", "off"),
        ]

    def options(self) -> dict[str, str]:
        """What a client says, as options of redis-py."""
        return {"ssl_ca_certs": self.ca, "ssl_certfile": self.client, "ssl_keyfile": self.key}

    def url(self, scheme: str, hosts: str, **other: str) -> str:
        """What a user writes; ``other``: options to say otherwise, '' to leave out."""
        said = {key: value for key, value in {**self.options(), **other}.items() if value}
        return f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@{hosts}/?{urlencode(said)}"

    def connection(self, port: int, **options: Any) -> Any:
        """A plain client of one server."""
        own = {"host": "127.0.0.1", "port": port, "ssl": True, "username": USER, "password": PASSWORD}
        return redis.Redis(**{**client_options(), **own, **self.options(), **options})


def require_program() -> None:
    """Skip the test where there is no such server; in CI that is a failure."""
    if shutil.which(PROGRAM) is not None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{PROGRAM} is not installed, and CI must have it")
    pytest.skip(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")


class _Tls(RedisServer):
    """Listens with TLS only, to clients that have a certificate and a name. Comes before another kind of server."""

    authority: Authority

    def _binary(self) -> str:
        return str(shutil.which(PROGRAM))

    def _arguments(self) -> list[str]:
        words = super()._arguments()
        # What is said last counts.
        return [*words, "--port", "0", "--tls-port", str(self.port), *self.authority.server_words()]

    def client(self, **options: Any) -> redis.Redis:
        made: redis.Redis = self.authority.connection(self.port, **options)
        self._clients.append(made)
        return made


class TlsServer(_Tls):
    """One server."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(tcp=True)
        self.authority = authority

    @property
    def url(self) -> str:
        return self.url_with()

    def url_with(self, **other: str) -> str:
        """The URL; ``other``: options to say otherwise, '' to leave out."""
        return self.authority.url("rediss", f"127.0.0.1:{self.port}", **other)


class TlsNode(_Tls, Node):
    """One node of a cluster whose nodes speak TLS among themselves too."""

    def __init__(self, timeout: int, *, authority: Authority, **options: Any) -> None:
        super().__init__(timeout, **options)
        self.authority = authority

    def _arguments(self) -> list[str]:
        return [*super()._arguments(), "--tls-cluster", "yes"]
