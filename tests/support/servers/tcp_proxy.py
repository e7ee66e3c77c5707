"""A proxy between a worker and its server, that knows where one request ends and the next begins.

It passes requests on one by one, counts those that change something, and does harm at the one it is
told: the worker is killed, or the connection cut, before the server has seen the request or before
the worker has seen the answer. Called by the fault tests; threads only, so that nothing is patched.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

#: What moves tasks. All else (greetings, the commands of tasks) is passed on uncounted.
COUNTED = frozenset({b"EVALSHA", b"EVAL", b"BLMOVE", b"SADD"})


@dataclass
class Harm:
    """What is to happen at one request.

    ``number``: which, the first is 1. ``before``: before the server sees it, else before its answer
    is delivered. ``kill``: ends the worker; None: only the connection is cut.
    """

    number: int
    before: bool
    kill: Callable[[], None] | None = None


@dataclass
class ByteCut:
    """Where the next counted request or its answer breaks off: after so many bytes. One that is shorter passes."""

    offset: int
    of_reply: bool


class TcpProxy:
    """Listens on a port of 127.0.0.1 for each server, speaks to it on its unix socket, and counts all together."""

    def __init__(self, *upstreams: str) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in upstreams]
        self._harm: Harm | None = None
        self._cut: ByteCut | None = None
        self._count = 0
        #: The requests that were counted, as they came.
        self.heard: list[bytes] = []
        #: The name of the request at which the harm was done, '' before.
        self.struck = ""
        for listener, upstream in zip(self._listeners, upstreams, strict=True):
            self._spawn(self._accept, listener, upstream)

    @property
    def ports(self) -> list[int]:
        """Where it listens, in the order of the servers."""
        return [listener.getsockname()[1] for listener in self._listeners]

    @property
    def url(self) -> str:
        """The first of them."""
        return f"redis://127.0.0.1:{self.ports[0]}"

    @property
    def count(self) -> int:
        """How many requests were counted since ``arm``."""
        return self._count

    def arm(self, harm: Harm | None) -> None:
        """Count from the beginning, and do this harm."""
        with self._lock:
            self._harm, self._count, self.struck, self.heard = harm, 0, "", []

    def cut_at(self, cut: ByteCut | None) -> None:
        """Break off the next counted request or its answer there, once; None: no longer."""
        with self._lock:
            self._cut = cut

    def cut_all(self) -> None:
        """Cut every connection, as the end of the worker does."""
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut everything and end the threads."""
        # On Linux this also wakes the thread that accepts.
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Threads

    def _spawn(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, upstream: str) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._spawn(self._converse, client, upstream)

    def _converse(self, client: socket.socket, upstream: str) -> None:
        server = socket.socket(socket.AF_UNIX)
        with self._lock:
            self._sockets |= {client, server}
        try:
            server.connect(upstream)
            with client.makefile("rb") as asks, server.makefile("rb") as answers:
                self._pass_on(client, server, asks, answers)
        except (OSError, EOFError):
            pass  # one side is gone
        finally:
            with self._lock:
                self._sockets -= {client, server}
            client.close()
            server.close()

    def _pass_on(self, client: socket.socket, server: socket.socket, asks: BinaryIO, answers: BinaryIO) -> None:
        while True:
            name, request = read_request(asks)
            if name in {b"SUBSCRIBE", b"PSUBSCRIBE"}:
                server.sendall(request)
                self._spawn(self._pump, client, server)
                while chunk := server.recv(65536):
                    client.sendall(chunk)
                return
            harm = self._due(name, request)
            if harm is not None and harm.before:
                self._strike(harm, name)
                return
            cut = self._take_cut(name)
            if cut is not None and not cut.of_reply and cut.offset < len(request):
                server.sendall(request[: cut.offset])
                return
            server.sendall(request)
            answer = read_answer(answers)
            if cut is not None and cut.of_reply and cut.offset < len(answer):
                client.sendall(answer[: cut.offset])
                return
            if harm is not None:
                self._strike(harm, name)
                return
            client.sendall(answer)

    @staticmethod
    def _pump(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while chunk := client.recv(65536):
                server.sendall(chunk)
            server.shutdown(socket.SHUT_RDWR)

    def _due(self, name: bytes, request: bytes) -> Harm | None:
        with self._lock:
            if name not in COUNTED:
                return None
            self._count += 1
            self.heard.append(request)
            if self._harm is None or self._harm.number != self._count:
                return None
            return self._harm

    def _take_cut(self, name: bytes) -> ByteCut | None:
        with self._lock:
            if name not in COUNTED:
                return None
            cut, self._cut = self._cut, None
            return cut

    def _strike(self, harm: Harm, name: bytes) -> None:
        self.struck = name.decode()
        if harm.kill is not None:
            harm.kill()
            self.cut_all()


def _line(stream: BinaryIO) -> bytes:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    return line


def read_request(stream: BinaryIO) -> tuple[bytes, bytes]:
    """Read one command; its name and its bytes."""
    head = _line(stream)
    parts = [head]
    name = b""
    for position in range(int(head[1:])):
        size = _line(stream)
        body = stream.read(int(size[1:]) + 2)
        parts += (size, body)
        if position == 0:
            name = body[:-2].upper()
    return name, b"".join(parts)


def read_answer(stream: BinaryIO) -> bytes:
    """Read one answer (protocol 2, and the maps and sets of 3)."""
    head = _line(stream)
    kind, rest = head[:1], head[1:-2]
    if kind in b"$=!":
        return head if rest == b"-1" else head + stream.read(int(rest) + 2)
    if kind in b"*~>%":
        count = max(int(rest), 0) * (2 if kind == b"%" else 1)
        return head + b"".join(read_answer(stream) for _ in range(count))
    return head
