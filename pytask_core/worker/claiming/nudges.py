"""``Nudges``: claims or passes on what other workers put into this worker's inbox.

Idle, a worker is blocked on the new queue, and would look into its inbox only when that take is over. Pub/sub says that
there is something, and the take is cut short. A nudge that gets lost costs the rest of the take, a second at most. A
worker that may begin nothing, since it is full or quiet, leaves what it was given to others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
from gevent.event import Event

from ...connection.link import RedisLink, ServerError, Unreachable
from ...process.greenlets import once
from ...process.service import Service
from ...store import WorkerStore
from .allowance import Allowance

log = logging.getLogger("pytask.claimer")

#: Seconds until a take that was perhaps still on its way to the server is cut short again; then twice as long.
PAUSE = 0.002

#: Seconds that what lies in the inbox of a full worker waits for a place there. Longer sends fewer tasks to and fro
#: among workers that are all busy, shorter has an idle one begin them sooner.
PATIENCE = 0.1

#: Seconds until it tries again to leave them to others: there may be one by then that can begin them.
LATER = 5.0


class Nudges(Service):
    """What the control listener hears and the claimer asks.

    Args:
        channel: on which this worker is told that its inbox was filled.
        store: the worker's store.
        link: whether Redis can be reached.
        cut_short: ends the take that is under way, if it waits; returns False where the server does not let us.
        allowance: how many tasks may begin now.
    """

    def __init__(
        self,
        channel: str,
        store: WorkerStore,
        link: RedisLink,
        cut_short: Callable[[], bool],
        allowance: Allowance,
    ) -> None:
        super().__init__()
        self.channel = channel
        self._store = store
        self._link = link
        self._cut_short = cut_short
        self._allowance = allowance
        self._is_taking = False
        self._rung = Event()
        self._declines = False
        #: Something came into the inbox since the claimer has begun to look there last.
        self.is_filled = False
        #: Whether the claimer begins no tasks, whatever room there is.
        self.is_quiet = False

    def fill(self) -> None:
        """Something lies in the inbox; returns at once."""
        self.is_filled = True
        self._rung.set()

    def quiet(self, is_on: bool) -> None:
        """The claimer begins no tasks from now on, so its take is cut short; or it begins them again."""
        self.is_quiet = is_on
        if is_on and self._is_taking:
            self.greenlets.add(once(self._end_take))

    @contextmanager
    def taking(self) -> Iterator[None]:
        """While a take is under way, cut it short when something comes."""
        self._is_taking = True
        try:
            yield
        finally:
            self._is_taking = False

    def look(self) -> bool:
        """The claimer is about to claim what lies in the inbox; return whether something came there."""
        was_filled, self.is_filled = self.is_filled, False
        if self._declines:
            self._store.accept()
            self._declines = False
        return was_filled

    @property
    def _is_able(self) -> bool:
        return not self.is_quiet and self._allowance.room > 0

    def turn(self) -> None:
        """See to what comes into the inbox next."""
        self._rung.wait()
        self._rung.clear()
        pause, patience = PAUSE, PATIENCE
        while self.is_filled:
            if self._is_taking:
                if not self._cut_short():
                    return
                gevent.sleep(pause)
                pause *= 2
            elif self._is_able:
                return  # The claimer looks before it begins a take.
            else:
                gevent.sleep(patience)
                if self.is_filled and not self._is_able:
                    self._decline()
                    patience = LATER

    def _end_take(self) -> None:
        """Cut the take of a quiet worker short, again and again while that may be on its way to the server."""
        pause = PAUSE
        while self.is_quiet and self._is_taking and self._cut_short():
            gevent.sleep(pause)
            pause *= 2

    def _decline(self) -> None:
        self._declines = True
        try:
            with self._link.guard():
                self._store.decline()
        except (Unreachable, ServerError) as error:
            log.debug("What lies in the inbox cannot be left to others yet: %s", error)
