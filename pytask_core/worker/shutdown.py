"""``Shutdown``: how a worker ends, in order. Called by ``Worker.run``.

Senders stop before receivers: the claimer (no more in), the executor (every task winds up), the reporter (everything is
sent), and only then all other parts and the connections.
"""

from __future__ import annotations

import logging
import time

import gevent
from gevent.event import Event

from ..connection.complaints import Complaints
from ..process.greenlets import once
from ..states import Reason
from .parts import Parts
from .stopping import GIVE_WAY

log = logging.getLogger("pytask.worker")

#: Seconds that a stop waits for the claim that is under way, so that what it brings is stopped with the others.
LAST_CLAIM = 2.0

#: Seconds that handing back the rest may take even where the graceful timeout is over.
LAST_WORD = 0.5

#: Seconds of the graceful timeout, and a third of it at most, that are kept back for sending what became of the tasks.
SENDING = 2.0


class Shutdown:
    """Ends one worker, once.

    Args:
        parts: all that the worker consists of.
        timeout: seconds that it may take in all.
    """

    def __init__(self, parts: Parts, timeout: float) -> None:
        self._parts = parts
        self._claimer = parts.claimer
        self._executor = parts.executor
        self._link = parts.redis.link
        self._takes = parts.redis.takes
        self._timeout = timeout
        self._hurry = Event()

    def hurry(self) -> None:
        """Wait for no task's ``stop``, nor for a Redis that is away; also ahead of :meth:`run`."""
        self._executor.hurry()
        self._hurry.set()

    def run(self) -> bool:
        """Stop and requeue all tasks, and give up the lease; return whether Redis has taken everything back."""
        began = time.monotonic()
        deadline = began + self._timeout
        sending = min(SENDING, self._timeout / 3)
        local = sum(entry.local for entry in self._executor.tasks.values())
        log.info("Stopping. Tasks that go back to the queue: %d; local ones that end: %d", self._held - local, local)
        self._claimer.claim_no_more()
        cutting = self._unblock()
        self._executor.ask_all(Reason.REQUEUE)
        gevent.wait(
            [self._executor.idle, self._hurry], timeout=max(0.0, deadline - sending - time.monotonic()), count=1
        )
        self._executor.hurry()
        gevent.wait([self._executor.idle], timeout=min(GIVE_WAY, sending))
        # Those that have stopped are still here while Redis is away.
        for entry in [each for each in self._executor.tasks.values() if each.greenlet and not each.greenlet.dead]:
            log.warning("Task %r (%s) has not stopped in time; it is requeued anyway", entry.id, entry.name)
        # However short the timeout, the last word is tried.
        is_done = self._let_go(max(deadline, time.monotonic() + LAST_WORD))
        if cutting is not None:
            cutting.kill()
        log.info("Stopped after %.2f s", time.monotonic() - began)
        return is_done

    @property
    def _held(self) -> int:
        return len(self._executor.tasks)

    def _unblock(self) -> gevent.Greenlet | None:
        """Bring the claimer back from its blocking take at once instead of at its timeout."""
        if not self._link.up:
            return None  # it waits for Redis, and claims no more when that is back
        # Beside, since a frozen server would hold us here longer than the whole stop may take.
        cutting = once(self._cut_takes_short)
        self._claimer.gone.wait(LAST_CLAIM)
        return cutting

    def _cut_takes_short(self) -> None:
        # Also once run() waits no longer: while the claimer is still in its take, that is to be cut short again.
        while not self._claimer.gone.wait(0):
            self._takes.cut_own()
            self._claimer.gone.wait(0.1)

    def _let_go(self, deadline: float) -> bool:
        """Send what is left to send, and hand back whatever still counts as held; return whether that was done."""
        while (left := deadline - time.monotonic()) > 0:
            if not self._link.wait(min(left, 1.0)):
                if self._hurry.is_set():
                    break
                continue
            if not self._parts.reporter.flush(min(left, 1.0)):
                continue
            # Nothing may renew the lease after it is given up, or take: also no take over a connection that we lost and
            # the server still believes in.
            self._parts.stop()
            self._takes.cut(self._parts.worker)
            complaints = Complaints(
                log, "Redis does not take back what this worker holds", "Trying again until the end", is_once=False
            )
            if self._link.attempt(self._hand_back, complaints, min(LAST_WORD, left)):
                return True
        log.error(
            "Redis has not taken back %d tasks in time. The supervisor has a sibling do so once Redis is back; without "
            "one a Monitor will, when this worker is overdue",
            self._held,
        )
        return False

    def _hand_back(self) -> None:
        with self._link.guard():
            self._parts.redis.keeper.hand_back(self._parts.worker, died=False)
