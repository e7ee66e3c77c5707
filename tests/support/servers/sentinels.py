"""A master, its replica and three Sentinels, all real: the same server program, told to watch. Called by tests."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from redis.sentinel import Sentinel

from tests.support.servers.redis_server import RedisServer, client_options
from tests.support.waiting import wait_until

SERVICE = "pytask-test"

#: Milliseconds without an answer after which a Sentinel counts a master as dead.
DEAD_AFTER = 1000


class _Watcher(RedisServer):
    """A Sentinel that watches one master."""

    def __init__(self, master: RedisServer, **options: Any) -> None:
        super().__init__(tcp=True, **options)
        self._master = master

    def _arguments(self) -> list[str]:
        # It writes what it learns into its file, so that it must have one.
        file = self.dir / "sentinel.conf"
        secret = f"sentinel auth-pass {SERVICE} {self._master.password}\n" if self._master.password else ""
        own = f"requirepass {self.password}\nsentinel sentinel-pass {self.password}\n" if self.password else ""
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.dir}\nlogfile {self.log}\nunixsocket {self.socket}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DEAD_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 10000\n{secret}{own}"
        )
        return [str(file), "--sentinel"]


class Sentinels:
    """The whole of it. ``servers``: the master at first, and its replica. ``password``: of the servers, or None."""

    def __init__(self, password: str | None = None, sentinel_password: str | None = None) -> None:
        self._sentinel_password = sentinel_password
        self._clients: list[Any] = []
        secret = ("--masterauth", password) if password else ()
        fast = ("--repl-diskless-sync-delay", "0", *secret)
        self.servers = [RedisServer(tcp=True, requirepass=password, extra=fast) for _ in range(2)]
        self.watchers = [_Watcher(self.servers[0], requirepass=sentinel_password) for _ in range(3)]

    @property
    def url(self) -> str:
        """As users write it, with the passwords."""
        secret = f":{self.servers[0].password}@" if self.servers[0].password else ""
        own = f"?sentinel_password={self._sentinel_password}" if self._sentinel_password else ""
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in self.watchers)
        return f"redis+sentinel://{secret}{hosts}/{SERVICE}{own}"

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of the Sentinels."""
        return [("127.0.0.1", watcher.port) for watcher in self.watchers]

    def client(self, **options: Any) -> Any:
        """A client of the master of the moment, as users make one; ``close_clients`` closes it."""
        quiet = client_options()
        manager = Sentinel(self.addresses, sentinel_kwargs={**quiet, "password": self._sentinel_password})
        made = manager.master_for(SERVICE, password=self.servers[0].password, **{**quiet, **options})
        self._clients += [made, *manager.sentinels]
        return made

    def close_clients(self) -> None:
        """Close every connection of every client that ``client`` and the servers handed out."""
        while self._clients:
            self._clients.pop().connection_pool.disconnect()
        for server in (*self.servers, *self.watchers):
            server.close_clients()

    def other_clients(self) -> list[dict[str, str]]:
        """The rows of CLIENT LIST of the servers that live, without replicas, Sentinels and who asks."""
        rows = [row for server in self.servers if server.running for row in server.other_clients()]
        return [row for row in rows if not {"M", "S"} & set(row["flags"]) and "sentinel" not in row["name"]]

    def __enter__(self) -> Sentinels:
        try:
            master, replica = self.servers
            master.start()
            replica.start()
            replica.client().execute_command("REPLICAOF", "127.0.0.1", master.port)
            wait_until(lambda: replica.client().execute_command("ROLE")[3] == b"connected", message="the replica")
            for watcher in self.watchers:
                watcher.start()
            # Before they know of each other and of the replica, they cannot choose.
            wait_until(lambda: all(map(self._knows_all, self.watchers)), 30, "the Sentinels to find each other")
        except BaseException:
            self.close()
            raise
        self.close_clients()
        return self

    @staticmethod
    def _knows_all(watcher: _Watcher) -> bool:
        client: Any = watcher.client(decode_responses=True)
        flat = client.execute_command("SENTINEL", "MASTER", SERVICE)
        row = dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else flat
        return str(row["num-other-sentinels"]) == "2" and str(row["num-slaves"]) == "1"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the clients, end all processes."""
        self.close_clients()
        for server in (*self.watchers, *self.servers):
            server.close()
