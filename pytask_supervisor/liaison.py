"""``Liaison``: a child's side of the talk with its master, beside the running tasks.

Comes from ``worker.run_child`` once gevent has patched; beats and the title go out each second, the
master's orders come in, and a stop, whoever asks for it, is passed on once.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import gevent
from gevent.socket import wait_read
from setproctitle import setproctitle

from pytask_supervisor.channel import Channel

if TYPE_CHECKING:
    from pytask_core.worker import Worker
    from pytask_supervisor.leash import Leash

log = logging.getLogger("pytask.supervisor")

#: Seconds between two beats. Shorter: fresher figures. Longer: an idle worker wakes less often.
BEAT = 1.0


class Liaison:
    """One for each worker's life."""

    def __init__(self, worker: Worker, channel: Channel, slot: int, leash: Leash) -> None:
        self._worker = worker
        self._channel = channel
        self._slot = slot
        self._leash = leash
        self._is_stopping = False
        self._handing_back: set[str] = set()

    def begin(self) -> None:
        """Say who we are, and start to listen, to beat, and to hear INT and TERM."""
        self._channel.send({"worker": self._worker.id})
        for signum in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(signum, self._stop)
        gevent.spawn(self._beat)
        gevent.spawn(self._listen)

    def ready(self) -> None:
        """The worker takes work from now on."""
        self._channel.send({"ready": True})
        log.debug("ready, as %s", self._worker.id)
        self._show_title()

    def _stop(self) -> None:
        # It may be asked for by the master's SIGINT, the kernel's when the master dies, the
        # leash's, and the channel's end; the worker would take a second asking for impatience.
        if self._is_stopping:
            return
        self._is_stopping = True
        self._leash.arm()
        self._channel.send({"stopping": True})
        self._worker.stop()

    def _beat(self) -> None:
        while True:
            self._show_title()
            figures = {"running": self._worker.running, "done": self._worker.done}
            self._channel.send({"beat": figures})
            gevent.sleep(BEAT)

    def _show_title(self) -> None:
        figures = f"{self._worker.running} running"
        state = f"stopping, {figures}" if self._is_stopping else figures
        setproctitle(f"pytask-supervisor: worker {self._slot} ({state})")

    def _listen(self) -> None:
        while not self._channel.at_end:
            wait_read(self._channel.fileno())
            for message in self._channel.receive():
                if "hand_back" in message:
                    self._hand_back(message["hand_back"])
        if not self._is_stopping:
            log.warning("the supervisor is gone: tasks go back to the queue")
        self._stop()

    def _hand_back(self, dead: str) -> None:
        # The master asks again where an answer takes long, as while Redis is away.
        if dead in self._handing_back:
            return
        self._handing_back.add(dead)

        def confirm(count: int) -> None:
            self._handing_back.discard(dead)
            self._channel.send({"handed_back": dead, "count": count})

        self._worker.hand_back(dead, confirm)
