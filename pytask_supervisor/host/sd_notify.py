"""``Notify``: sends one datagram to systemd, at ``NOTIFY_SOCKET``. See sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

log = logging.getLogger("pytask.supervisor")

#: Seconds that the master waits for a service manager that does not read.
PATIENCE = 0.2


class Notify:
    """``address`` as in ``NOTIFY_SOCKET``, None where nobody listens; ``watchdog``: seconds, None where none is."""

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self._address = address
        self._is_deaf = False
        #: Within how many seconds we must say that all is well, again and again.
        self.watchdog = watchdog

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notify:
        """From our environment, and out of it: what our children start is no business of our service manager's."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):
            if address:
                log.warning("NOTIFY_SOCKET=%s is not a unix socket; the service manager is not notified", address)
            return cls(None)
        is_for_us = not pid or pid == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if is_for_us and microseconds.isdigit() else 0.0
        return cls(address, watchdog or None)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody listens."""
        return self._address is not None

    def send(self, *words: str) -> None:
        """Send assignments, such as ``READY=1``, as one message."""
        if self._address is None:
            return
        # The @ stands for the zero byte with which the names begin that are in no folder.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        message = "\n".join(word.replace("\n", " ") for word in words).encode(errors="replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.sendto(message, address)
            self._is_deaf = False
        except OSError as error:
            if not self._is_deaf:
                log.warning("NOTIFY_SOCKET: %s cannot be told %s: %s", self._address, words[0], error)
            self._is_deaf = True
