"""A wire that holds one request back, so that it arrives long after its sender has given up. Called by tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

from tests.support.servers.tcp_proxy import read_answer, read_request

#: What changes tasks.
_ORDERS = frozenset({b"EVAL", b"EVALSHA"})


class HeldWire:
    """Listens on a port of 127.0.0.1 for each server, and holds back the n-th order that comes to any of them.

    Args:
        servers: their unix sockets.
        number: which order, the first is 0.
        cuts: the sender's connection is closed at once, instead of falling silent.
    """

    def __init__(self, servers: Iterable[str], number: int, *, cuts: bool) -> None:
        self._left = number
        self._cuts = cuts
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        #: Set when an order is held back.
        self.holds = threading.Event()
        self._deliver = threading.Event()
        self._delivered = threading.Event()
        #: Where we listen, in the order of the servers.
        self.ports: list[int] = []
        for server in servers:
            listener = socket.create_server(("127.0.0.1", 0))
            self._sockets.append(listener)
            self.ports.append(listener.getsockname()[1])
            self._spawn(self._accept, listener, server)

    def deliver(self) -> None:
        """Let the server have what was held back, and wait for its answer."""
        self._deliver.set()
        assert self._delivered.wait(10), "the late order was not answered"

    def __enter__(self) -> HeldWire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deliver.set()
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)
            assert not thread.is_alive()
        for each in sockets:
            each.close()

    # Threads

    def _spawn(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, server: str) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._spawn(self._converse, client, server)

    def _converse(self, client: socket.socket, server: str) -> None:
        upstream = socket.socket(socket.AF_UNIX)
        with self._lock:
            self._sockets += (client, upstream)
        upstream.connect(server)
        with suppress(OSError, EOFError, ValueError), client.makefile("rb") as asks, upstream.makefile("rb") as answers:
            self._pass_on(client, upstream, asks, answers)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
        upstream.close()

    def _pass_on(self, client: socket.socket, upstream: socket.socket, asks: BinaryIO, answers: BinaryIO) -> None:
        while True:
            name, request = read_request(asks)
            if name in _ORDERS and self._is_due():
                if self._cuts:
                    client.shutdown(socket.SHUT_RDWR)
                self.holds.set()
                self._deliver.wait()
                upstream.sendall(request)
                read_answer(answers)
                self._delivered.set()
                return
            upstream.sendall(request)
            client.sendall(read_answer(answers))

    def _is_due(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == -1
