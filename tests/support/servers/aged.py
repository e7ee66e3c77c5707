"""A real server that says it is older than it is: a relay that rewrites the version in its answers.

No server that old can be installed beside the others; the rest of the talk is the real one's.
"""

from __future__ import annotations

import re
import socket
import threading
from types import TracebackType

_VERSION = re.compile(rb"((?:redis|valkey)_version:)\d")


class AgedServer:
    """Relays to ``path``, a server's unix socket, on a port of loopback; versions begin with 5."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._path)
            self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pump, args=(source, target), daemon=True)
                self._threads.append(thread)
                thread.start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(_VERSION.sub(rb"\g<1>5", data))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def __enter__(self) -> AgedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            end.close()
        for thread in self._threads:
            thread.join(3)
