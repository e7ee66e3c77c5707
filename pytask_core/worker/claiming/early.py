"""``Early``: looks again at ids that came from the queue before their hash was written.

They stand aside in Redis, so they hold up nothing, and a worker's death loses none of them: the next worker that
starts, or that meets such an id, looks at all.
"""

from __future__ import annotations

import logging
import time

import gevent

from ...connection.complaints import Complaints
from ...connection.link import RedisLink, ServerError, Unreachable
from ...process.service import Bell, Service
from ...store import WorkerStore

log = logging.getLogger("pytask.claimer")

#: Seconds between two looks. Shorter starts sooner what came too early, longer costs less.
LOOK = 0.05

#: Seconds between two lines about ids that have no hash.
SAY = 1.0

#: Of how many ids such a line gives an example, and how much of each.
EXAMPLES, LONGEST = 3, 60


class Early(Service):
    """Looks for as long as there are any.

    Args:
        store: the worker's store.
        link: whether Redis can be reached.
    """

    def __init__(self, store: WorkerStore, link: RedisLink) -> None:
        super().__init__()
        self._store = store
        self._link = link
        #: What a worker that died was looking at; later: there may be some that the last look has not seen.
        self._is_asked = True
        #: How many the last look has left.
        self._left = 0
        self._bell = Bell(lambda: self._left or self._is_asked or self._count)
        self._dropped: list[str] = []
        self._count = 0
        self._said = 0.0

    def look(self) -> None:
        """Look from now on, until none is left; returns at once."""
        self._is_asked = True
        self._bell.ring()

    def run(self) -> None:
        """Look whenever there may be some."""
        bug = "A bug in pytask: ids that came before their hash cannot be looked at; trying again in a second"
        self._link.serve(self.turn, Complaints(log, bug=bug), wait_for_work=self._bell.wait)

    def turn(self) -> None:
        """Look once."""
        self._is_asked = False
        try:
            with self._link.guard():
                dropped, self._left = self._store.look_at_early()
        except (Unreachable, ServerError):
            self._is_asked = True
            gevent.sleep(SAY)
            return
        self._count += len(dropped)
        self._dropped += dropped[: EXAMPLES - len(self._dropped)]
        self._tell()
        gevent.sleep(LOOK)

    def _tell(self) -> None:
        if not self._count or time.monotonic() - self._said < SAY:
            return
        some = ", ".join(repr(each[:LONGEST]) for each in self._dropped)
        log.warning(
            "What came from the new queue has no hash, not after two seconds either, so there is nothing to run. Ids "
            "passed over: %d: %s%s",
            self._count,
            some,
            " and others" if self._count > len(self._dropped) else "",
        )
        self._said, self._count, self._dropped = time.monotonic(), 0, []
