"""A service manager's ear: the socket to which a supervisor tells how it is."""

from __future__ import annotations

import socket
import time
from types import TracebackType


class NotifySocket:
    """Bound to ``address``, which begins with ``@`` where it is in no folder. Use as a context."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        #: When it came, and what it said, a line each.
        self.heard: list[tuple[float, str]] = []

    def words(self) -> list[str]:
        """Every assignment so far, in order."""
        while True:
            try:
                message = self._socket.recv(65_536).decode()
            except BlockingIOError:
                return [word for _, word in self.heard]
            self.heard += [(time.monotonic(), word) for word in message.split("\n")]

    def count(self, word: str) -> int:
        """How often it was said."""
        return self.words().count(word)

    def since(self, word: str) -> float:
        """Seconds since it was said last."""
        self.words()
        return time.monotonic() - max((when for when, said in self.heard if said == word), default=0.0)

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._socket.close()
