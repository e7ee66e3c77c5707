"""``RequestServer``: answers clients in the master's loop, and lets none of them hold it up.

One request a connection, one reply, and it is closed. Nothing here waits: each turn takes a bounded
part of what has come, a client that is too slow is dropped, and where too many come the oldest of the address from
which most have come goes.
The control socket and the metrics port are one each.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

log = logging.getLogger("pytask.supervisor")

#: Seconds that a client has from its connection to the end of the reply. Longer: slow clients are
#: served. Shorter: idle ones are gone sooner.
PATIENCE = 10.0
#: Connections at once. More: bursts are served side by side. Fewer: fewer descriptors.
MOST_CLIENTS = 64
#: Bytes taken from one client, and clients let in, in one turn of the loop.
CHUNK, ADMITTED = 16_384, 16
#: Seconds without letting anybody in after the system had no descriptor for one more.
PAUSE = 1.0

#: Given all that has come so far, the whole reply, or None where the request is not whole yet.
Answer = Callable[[bytes], bytes | None]


@dataclass(eq=False)
class _Client:
    """A connection, and how far its talk has got."""

    socket: socket.socket
    deadline: float
    #: Its address, without the port; by a unix socket all have the same.
    address: str
    received: bytearray = field(default_factory=bytearray)
    #: What is still to be sent; None until the request is whole.
    reply: memoryview | None = None
    #: It sends nothing more.
    at_end: bool = False
    closed: bool = False

    @property
    def is_sending(self) -> bool:
        return self.reply is not None and len(self.reply) > 0

    def close(self) -> None:
        self.closed = True
        self.socket.close()


class RequestServer:
    """``listener`` listens already; a request that is not whole after ``longest`` bytes gets ``too_long``."""

    def __init__(
        self,
        listener: socket.socket,
        answer: Answer,
        too_long: bytes,
        *,
        longest: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._answer = answer
        self._too_long = too_long
        self._longest = longest
        self._clock = clock
        #: Oldest first.
        self._clients: list[_Client] = []
        self._deaf_until = 0.0
        #: The log says that no client can be let in, and none was since.
        self._is_told = False

    @property
    def readable(self) -> list[int]:
        """Descriptors to wait on until there is something to read."""
        doors = [] if self._clock() < self._deaf_until else [self._listener.fileno()]
        return doors + [client.socket.fileno() for client in self._clients if not client.at_end]

    @property
    def writable(self) -> list[int]:
        """Descriptors to wait on until there is room to write."""
        return [client.socket.fileno() for client in self._clients if client.is_sending]

    @property
    def deadline(self) -> float | None:
        """When ``turn`` has something to do though nothing comes."""
        deadlines = [client.deadline for client in self._clients]
        return min([*deadlines, self._deaf_until] if self._deaf_until else deadlines, default=None)

    def turn(self) -> None:
        """Take what has come, send what can be sent, drop who is too slow. Never waits."""
        now = self._clock()
        if self._deaf_until <= now:
            self._deaf_until = 0.0
            self._admit(now)
        for client in self._clients:
            if now >= client.deadline:
                client.close()
            else:
                self._serve(client)
        self._clients = [client for client in self._clients if not client.closed]

    def close(self) -> None:
        """Let go of everything; in a worker, of the copies that it inherited."""
        self._listener.close()
        for client in self._clients:
            client.close()
        self._clients = []

    def _admit(self, now: float) -> None:
        for _ in range(ADMITTED):
            try:
                connection, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                break
            except OSError as error:
                level = logging.DEBUG if self._is_told else logging.WARNING
                log.log(level, "no client can be let in for now: %s", error.strerror)
                self._is_told = True
                self._deaf_until = now + PAUSE
                break
            self._is_told = False
            connection.setblocking(False)
            self._clients.append(_Client(connection, now + PATIENCE, str(peer[0]) if peer else ""))
        while len(self._clients) > MOST_CLIENTS:
            # One host that connects without end pushes out only itself.
            [(crowd, _)] = Counter(client.address for client in self._clients).most_common(1)
            oldest = next(client for client in self._clients if client.address == crowd)
            oldest.close()
            self._clients.remove(oldest)

    def _serve(self, client: _Client) -> None:
        try:
            self._read(client)
            self._write(client)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            client.close()

    def _read(self, client: _Client) -> None:
        if client.at_end:
            return
        chunk = b""
        with suppress(BlockingIOError, InterruptedError):
            chunk = client.socket.recv(CHUNK)
            client.at_end = not chunk
        if client.reply is None and _has_gone(client.socket):
            # It has waited for too long, and told its user that nothing was done.
            client.close()
            return
        if client.reply is not None:
            # What comes after the request is not looked at. It is taken all the same: to close on
            # unread bytes would take the reply away from the client too.
            if client.at_end and not client.is_sending:
                client.close()
            return
        client.received += chunk
        reply = self._reply_to(client) if chunk else None
        if reply is not None:
            client.reply = memoryview(reply)
        elif client.at_end:
            client.close()

    def _reply_to(self, client: _Client) -> bytes | None:
        try:
            reply = self._answer(bytes(client.received))
        except Exception:
            log.exception("unexpected error while a request was answered")
            client.close()
            return None
        if reply is None and len(client.received) > self._longest:
            return self._too_long
        return reply

    def _write(self, client: _Client) -> None:
        if client.closed or not client.reply:
            return
        left = client.reply[client.socket.send(client.reply) :]
        client.reply = left
        if left:
            return
        if client.at_end:
            client.close()
        else:
            client.socket.shutdown(socket.SHUT_WR)


def _has_gone(client: socket.socket) -> bool:
    """Whether no client is there any more to read a reply; one that has only ended its sending is."""
    look = select.poll()
    look.register(client, 0)  # The end of both directions is told unasked.
    return bool(look.poll(0))
