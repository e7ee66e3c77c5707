"""``QueueCounts``: asks workers in turn to count the queues, as the master does not talk to Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytask_supervisor.master.worker_pool import WorkerPool

#: Seconds between two counts: three commands of constant cost. Shorter: fresher lengths. Longer: a
#: fleet of many supervisors asks its server less.
EVERY = 5.0


class QueueCounts:
    """Has its turn only with ``--metrics-port``."""

    def __init__(self, pool: WorkerPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._due = 0.0
        self._round = 0

    def turn(self) -> None:
        """Ask the next worker, if it is time; one that does not answer is passed over next time."""
        ready = self._pool.ready
        if not ready or self._clock() < self._due:
            return
        self._due = self._clock() + EVERY
        self._round += 1
        ready[self._round % len(ready)].channel.send({"count_queues": True})
