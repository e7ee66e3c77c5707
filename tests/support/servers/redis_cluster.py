"""A real cluster for the tests: server processes on this machine, joined over the protocol.

``tests/conftest.py`` hands one out as ``redis_server`` and ``own_server`` where the set-up is a cluster
(``setups.py``); tests that kill single nodes make their own with ``with ServerCluster(...) as cluster``.
The Valkey that comes with the tests has no command line client, so what ``--cluster create`` does elsewhere is done
here by CLUSTER commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

from tests.support.servers.redis_server import RedisServer, client_options, free_port
from tests.support.waiting import wait_until

SLOTS = 16384

#: Seconds that joining may take on a busy machine. Alone it takes 2.5: a new master waits for 2 before it serves.
PATIENCE = 60.0


class Node(RedisServer):
    """One server of a cluster, at two free ports: for clients, and for the talk of the nodes.

    ``timeout``: milliseconds of silence after which the others count it as dead; ``host``: the address by which all
    know it; other options as of ``RedisServer``.
    """

    def __init__(self, timeout: int, host: str = "127.0.0.1", **options: Any) -> None:
        super().__init__(tcp=True, **options)
        self.host = host
        self._timeout = timeout
        self._bus = (0, 0)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    @property
    def bus_port(self) -> int:
        """Where the other nodes talk to it. Chosen anew whenever ``port`` is."""
        if self._bus[0] != self.port:
            self._bus = (self.port, free_port())
        return self._bus[1]

    def ask(self, *command: Any) -> Any:
        """Send one command to this very node, and return the answer as text."""
        client = self.client(decode_responses=True)
        try:
            return client.execute_command(*command)
        finally:
            self._close_one(client)

    @property
    def id(self) -> str:
        """Its name within the cluster."""
        return str(self.ask("CLUSTER", "MYID"))

    @property
    def role(self) -> str:
        """``master`` or ``slave``, as it sees itself."""
        return str(self.ask("ROLE")[0])

    @property
    def peers(self) -> list[list[str]]:
        """The rows of CLUSTER NODES, as words: id, address, flags, master, …"""
        return [row.split() for row in str(self.ask("CLUSTER", "NODES")).splitlines()]

    def knows(self, node_id: str) -> bool:
        """Whether it has met that node."""
        return any(peer[0] == node_id and "handshake" not in peer[2] for peer in self.peers)

    def sees_all_well(self, alive: int) -> bool:
        """Whether it says that the cluster is well, sees so many nodes alive, and is fed if it is a replica."""
        if "cluster_state:ok" not in self.ask("CLUSTER", "INFO"):
            return False
        peers = [peer for peer in self.peers if not {"fail", "fail?", "handshake", "noaddr"} & set(peer[2].split(","))]
        role = self.ask("ROLE")
        return len(peers) == alive and (role[0] == "master" or role[3] == "connected")

    def other_clients(self) -> list[dict[str, str]]:
        """The rows of CLIENT LIST, without the connection that asks and without those of other nodes."""
        rows = [row for row in super().other_clients() if not {"M", "S"} & set(row["flags"])]
        # MIGRATE keeps its connection for a while.
        return [row for row in rows if row["cmd"] != "restore-asking"]

    def _arguments(self) -> list[str]:
        return [
            *super()._arguments(),
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(self._timeout)),
            *("--cluster-port", str(self.bus_port), "--cluster-announce-ip", self.host),
            *(() if self.host == "127.0.0.1" else ("--bind", "127.0.0.1", self.host, "--protected-mode", "no")),
            # A test knows whose replica each one is, and a new one is fed at once.
            *("--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0"),
        ]


class ServerCluster:
    """Masters with equal parts of the slots, each with the same number of replicas.

    It has what tests use of a ``RedisServer``: ``url``, ``client``, ``flush``, ``other_clients``, ``close_clients``,
    and for all servers at once ``stop``, ``start``, ``kill``, ``pause``, ``resume``, ``restart``. ``nodes`` are the
    first masters in the order of their slots, then their replicas in the same order: kill and restart one of them by
    itself, then wait with ``until_well``. ``timeout``: see ``Node``. ``node``: another kind of it. ``hosts``: the
    address of each, in that order. ``options``: as of ``RedisServer``, for each.
    """

    def __init__(
        self,
        *,
        masters: int = 3,
        replicas: int = 0,
        timeout: int = 2000,
        node: Callable[..., Node] = Node,
        hosts: Sequence[str] = (),
        **options: Any,
    ) -> None:
        places = hosts or ["127.0.0.1"] * (masters * (1 + replicas))
        self.nodes = [node(timeout, host=host, **options) for host in places]
        self._masters = masters
        self._clients: list[Any] = []

    @property
    def url(self) -> str:
        """Where all of them listen, with the password if there is one."""
        secret = f":{self.nodes[0].password}@" if self.nodes[0].password else ""
        return f"redis+cluster://{secret}" + ",".join(f"{node.host}:{node.port}" for node in self.nodes)

    @property
    def running(self) -> bool:
        """Whether all processes live (also while paused)."""
        return all(node.running for node in self.nodes)

    @property
    def alive(self) -> list[Node]:
        """The nodes whose processes live."""
        return [node for node in self.nodes if node.running]

    @property
    def masters(self) -> list[Node]:
        """The nodes that live and are masters now."""
        return [node for node in self.alive if node.role == "master"]

    def master_of(self, key: str) -> Node:
        """The master that has the key's slot now, as the nodes that live see it."""
        slot = self.alive[0].ask("CLUSTER", "KEYSLOT", key.encode("utf-8", "surrogateescape"))
        for first, last, (_, port, *_), *_ in self.alive[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    # Life

    def form(self) -> ServerCluster:
        """Start the processes and make a cluster of them; returns when every node says that it is well."""
        for node in self.nodes:
            node.start()
        masters, replicas = self.nodes[: self._masters], self.nodes[self._masters :]
        for number, node in enumerate(masters):
            first, end = (SLOTS * at // self._masters for at in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for number, node in enumerate(self.nodes):
            # Two that began with the same epoch would first have to agree.
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            # Each meets each: rumours would take longer.
            for other in self.nodes[:number]:
                node.ask("CLUSTER", "MEET", *other.address, other.bus_port)
        for number, node in enumerate(replicas):
            self._feed(node, masters[number % self._masters].id)
        self.until_well()
        return self

    @staticmethod
    def _feed(node: Node, master: str) -> None:
        wait_until(lambda: node.knows(master), PATIENCE, "a replica to know its master", 0.05)
        node.ask("CLUSTER", "REPLICATE", master)

    def until_well(self) -> None:
        """Wait until every node that lives sees the cluster well, without those that do not live."""
        alive = self.alive
        wait_until(
            lambda: all(node.sees_all_well(len(alive)) for node in alive), PATIENCE, "the cluster to be well", 0.05
        )

    def start(self) -> ServerCluster:
        """Start the processes that do not live, each where it was, and wait until the cluster is well."""
        self._each(node.start for node in self.nodes if not node.running)
        self.until_well()
        return self

    def stop(self) -> None:
        """End all processes cleanly."""
        self._each(node.stop for node in self.nodes)

    def kill(self) -> None:
        """SIGKILL to all."""
        self._each(node.kill for node in self.nodes)

    def pause(self) -> None:
        """SIGSTOP to all: connections stay open and nothing answers."""
        self._each(node.pause for node in self.nodes)

    def resume(self) -> None:
        """SIGCONT after ``pause``."""
        self._each(node.resume for node in self.nodes)

    def restart(self) -> None:
        """Stop cleanly, then start at the same places. Without ``appendonly`` the data is gone."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Close the clients, end the processes, remove the folders."""
        self.close_clients()
        self._each(node.close for node in self.nodes)

    @staticmethod
    def _each(calls: Iterable[Callable[[], object]]) -> None:
        for call in calls:
            call()

    def __enter__(self) -> ServerCluster:
        try:
            return self.form()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Clients

    def client(self, **options: Any) -> Any:
        """A new cluster client; ``options`` as for ``redis.cluster.RedisCluster``. ``close_clients`` closes it."""
        made = _cluster_client([node.address for node in self.alive], self.nodes[0].password, options)
        self._clients.append(made)
        return made

    def close_clients(self) -> None:
        """Close every connection of every client that ``client`` and the nodes handed out."""
        while self._clients:
            client = self._clients.pop()
            client.close()
            if hasattr(client, "disconnect"):
                client.disconnect()
            else:
                client.disconnect_connection_pools()
        for node in self.nodes:
            node.close_clients()

    def flush(self) -> None:
        """Remove every key and every cached script, on replicas too. Nobody may write meanwhile."""
        for node in self.masters:
            node.ask("FLUSHALL")
        for node in self.alive:
            node.ask("SCRIPT", "FLUSH")
            wait_until(lambda: node.ask("DBSIZE") == 0, message="an empty replica")  # noqa: B023 - called here

    def other_clients(self) -> list[dict[str, str]]:
        """The rows of CLIENT LIST of all nodes that live, without those that ask, and without masters and replicas."""
        return [row for node in self.alive for row in node.other_clients()]


def _cluster_client(addresses: list[tuple[str, int]], password: str | None, options: dict[str, Any]) -> Any:
    try:
        from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - one of the two libraries is installed
    except ImportError:
        # As it is, it would answer INFO and TIME by a dict of nodes, and refuse transactions.
        from pytask_core.connection.cluster_client_old import PLAIN, ClusterClient  # noqa: PLC0415

        known = {key: value for key, value in options.items() if key not in {"protocol", "retry"}}
        return ClusterClient(addresses, 64, PLAIN, {**known, "password": password})
    chatter = {key: value for key, value in client_options().items() if key != "retry"}
    startup = [ClusterNode(*address) for address in addresses]
    return RedisCluster(startup_nodes=startup, password=password, **{**chatter, **options})
