"""The embedded cluster: three masters, three replicas, and the guardian that keeps them alive.

To try a cluster with one command; on one machine it protects from nothing. Two callers, as ``embedded`` has them:
``connection`` asks for the addresses, and the supervisor's master runs this file by its path::

    python -P .../pytask_core/embedded/cluster.py [--dir DIR] --hold-fd FD

It prints ``{"url": "embedded-cluster:DIR", "started": true, "pid": 123}``. Everything else is as in ``server``, whose
parts it uses. A cluster cannot do without TCP, which is open to all users of the machine: it has a password, in
a file that only its owner can read. Its bus has none, and any program that joins there gets at everything: a line
says so at each start.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

embedded: Any
if __package__:
    from . import server as embedded
else:
    # Run by its path it is not part of a package, and its neighbour is a file.
    _spec = importlib.util.spec_from_file_location("embedded", Path(__file__).with_name("server.py"))
    assert _spec is not None and _spec.loader is not None  # noqa: PT018 - one thing
    embedded = sys.modules["embedded"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(embedded)

MASTERS = 3
NODES = 2 * MASTERS
SLOTS = 16384

#: Milliseconds without a sign of life after which a replica takes its master's place. Longer tolerates a busy machine.
NODE_TIMEOUT = "5000"

#: The bus of a cluster cannot have a password, only TLS, and this Valkey is built without TLS.
OPEN_BUS = (
    "the embedded cluster is for machines without other users: each of them can join it over its bus, and then read "
    "and change all tasks, and learn its password; use embedded, whose socket is ours alone, or a cluster of your own"
)
#: Characters of a plan; it has some two hundred.
_LONGEST_PLAN = 10_000
_POLL_INTERVAL = 0.05


@dataclass
class Plan:
    """What the guardian remembers and clients must know."""

    password: str
    ports: list[int]  #: for clients, by node
    bus_ports: list[int]  #: for the talk of the nodes
    formed: bool = False  #: whether the nodes are a cluster already


def home(directory: str | None) -> Path:
    """The folder of the cluster in ``directory``; raises as ``embedded.socket_path``, and creates nothing."""
    folder: Path = embedded.socket_path(directory).parent / "cluster"
    with embedded.ours_alone():
        embedded.private.check_names(folder.parent, [folder.name])
    embedded.socket_path(folder / "1")  # whether the longest name fits
    return folder


def read_plan(directory: str | None) -> Plan:
    """The plan of the cluster in ``directory``; ``EmbeddedError`` if there has never been one."""
    folder = home(directory)
    try:
        with embedded.ours_alone(), open(embedded.private.open_file(folder / "plan.json", os.O_RDONLY)) as file:
            return Plan(**json.loads(file.read(_LONGEST_PLAN)))
    except (FileNotFoundError, NotADirectoryError):
        raise embedded.EmbeddedError(_none(folder, directory)) from None
    except OSError as error:
        raise embedded.EmbeddedError(f"{folder / 'plan.json'} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        # The error does not show the text, which may have a password in it.
        raise embedded.EmbeddedError(f"{folder / 'plan.json'} is not the plan of a cluster: remove {folder}") from error


def find_running(directory: str | None) -> None:
    """Raise ``EmbeddedError`` if no cluster runs in ``directory``."""
    plan, folder = read_plan(directory), home(directory)
    # One of the servers may have died and be about to come back.
    if not any(embedded.running_server(_socket(folder, node), plan.password) for node in range(NODES)):
        raise embedded.EmbeddedError(_none(folder, directory))


def _none(folder: Path, directory: str | None) -> str:
    url = f"embedded-cluster:{directory}" if directory else "embedded-cluster"
    return f"no embedded cluster runs in {folder}; pytask-supervisor --redis {url} starts one"


def _socket(folder: Path, node: int) -> Path:
    return folder / str(node + 1) / "valkey.sock"


def _write_plan(folder: Path, plan: Plan) -> None:
    new = folder / "plan.new"
    with embedded.ours_alone():
        embedded.private.write_new(new, json.dumps(asdict(plan)))
    new.replace(folder / "plan.json")


def _make_plan(folder: Path, directory: str | None) -> Plan:
    """The plan of the last time, with other ports in place of those that are in use now."""
    if (folder / "plan.json").exists():
        plan = read_plan(directory)
    else:
        plan = Plan(secrets.token_hex(16), [0] * NODES, [0] * NODES)
    for ports in (plan.ports, plan.bus_ports):
        with _Ports() as free:
            ports[:] = [free.take(port) for port in ports]
    _write_plan(folder, plan)
    return plan


class _Ports:
    """Finds free ports of this machine. It holds them, so that it does not find one twice."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self, wanted: int) -> int:
        """``wanted`` if it is free, else another."""
        for port in (wanted, 0):
            probe = socket.socket()
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.append(probe)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
        raise embedded.EmbeddedError("all TCP ports of this machine are in use")

    def __enter__(self) -> _Ports:
        return self

    def __exit__(self, *_error: object) -> None:
        for probe in self._held:
            probe.close()


class _Cluster:
    """The servers, and how they become a cluster."""

    def __init__(self, folder: Path, plan: Plan, binary: str) -> None:
        self.plan = plan
        self._folder = folder
        self.servers = [
            embedded.Server(_socket(folder, node), binary, self._options(node), plan.password) for node in range(NODES)
        ]

    def _options(self, node: int) -> dict[str, str]:
        return {
            "port": str(self.plan.ports[node]),
            "bind": "127.0.0.1",
            "cluster-enabled": "yes",
            "cluster-port": str(self.plan.bus_ports[node]),
            "cluster-announce-ip": "127.0.0.1",
            "cluster-node-timeout": NODE_TIMEOUT,
            "repl-diskless-sync-delay": "0",
        }

    def ask(self, node: int, command: str) -> str:
        """Send one command to one node; its answer, '' where there is none."""
        answer = embedded.ask(_socket(self._folder, node), command.encode(), self.plan.password)
        return (answer or b"").decode(errors="replace")

    def form(self, inbox: Any) -> None:
        """Make them a cluster, or wait until they are one again. Each step may have been made already."""
        for node in range(NODES):
            if not self.plan.formed:
                self.ask(node, f"CLUSTER SET-CONFIG-EPOCH {node + 1}")
            # Also later: the others do not find a node that had to take another port.
            for other in range(node):
                self.ask(node, f"CLUSTER MEET 127.0.0.1 {self.plan.ports[other]} {self.plan.bus_ports[other]}")
        if not self.plan.formed:
            for node in range(MASTERS):
                first, end = (SLOTS * at // MASTERS for at in (node, node + 1))
                self.ask(node, f"CLUSTER ADDSLOTSRANGE {first} {end - 1}")
            for node in range(MASTERS):
                name = "".join(self.ask(node, "CLUSTER MYID").splitlines()[1:])
                self._until(inbox, lambda: self._feeds(node, name))  # noqa: B023 - called here
        self._until(inbox, lambda: all("cluster_state:ok" in self.ask(node, "CLUSTER INFO") for node in range(NODES)))
        if not self.plan.formed:
            self.plan.formed = True
            _write_plan(self._folder, self.plan)

    def _feeds(self, master: int, name: str) -> bool:
        return self.ask(master + MASTERS, f"CLUSTER REPLICATE {name}").startswith("+OK")

    @staticmethod
    def _until(inbox: Any, is_so: Any) -> None:
        deadline = time.monotonic() + embedded.START_TIMEOUT
        while not is_so():
            if time.monotonic() > deadline:
                raise embedded.EmbeddedError("the servers of the embedded cluster did not form a cluster in time")
            inbox.wait(_POLL_INTERVAL)
            if inbox.told_to_stop:
                raise embedded.ToldToStopError

    def stop(self) -> None:
        """Let all leave; replicas first, so that masters do not wait for theirs."""
        for server in reversed(self.servers):
            server.stop()


def _guard(cluster: _Cluster, inbox: Any) -> None:
    """Start each server that dies again, until told to stop."""
    due: dict[int, float] = {}
    while not inbox.told_to_stop:
        now = time.monotonic()
        for node, server in enumerate(cluster.servers):
            if node not in due and server.has_died():
                embedded.complain(f"node {node + 1} of the embedded cluster died; it is started again in a second")
                due[node] = now + 1.0
            elif due.get(node, now + 1) <= now:
                due.pop(node)
                try:
                    server.start(inbox)
                except (embedded.EmbeddedError, OSError) as error:
                    embedded.complain(str(error))
        inbox.wait(max(0.0, min(due.values()) - time.monotonic()) if due else None)


def _serve(directory: str | None, hold_fd: int) -> None:
    folder = home(directory)
    embedded.make_folder(folder.parent, is_default=not directory)
    for each in (folder, *(_socket(folder, node).parent for node in range(NODES))):
        embedded.make_folder(each, is_default=False)
    url = f"embedded-cluster:{folder.parent}"
    inbox = embedded.Inbox(hold_fd)
    password = read_plan(directory).password if (folder / "plan.json").exists() else ""
    pid = embedded.find_or_lock(_socket(folder, 0), inbox, password)
    if pid is not None:
        embedded.say({"url": url, "started": False, "pid": pid})
        embedded.stand_by(pid, inbox)
        return
    cluster = _Cluster(folder, _make_plan(folder, directory), embedded.server_binary())
    try:
        for server in cluster.servers:
            server.start(inbox)
        cluster.form(inbox)
        embedded.say({"url": url, "started": True, "pid": cluster.servers[0].pid, "warning": OPEN_BUS})
        _guard(cluster, inbox)
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(embedded.main(sys.argv[1:], _serve))
