"""``QueueCounts``: asks workers in turn to count the queues, as the master does not talk to Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pytask_supervisor.master.worker_handle import WorkerHandle

#: Seconds between two counts: three commands of constant cost. Shorter: fresher lengths. Longer: a
#: fleet of many supervisors asks its server less.
EVERY = 5.0


class QueueCounts:
    """Asked only while somebody wants to know, which is with ``--metrics-port``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = 0.0
        self._round = 0

    def ask(self, ready: Sequence[WorkerHandle]) -> None:
        """Ask the next worker, if it is time; one that does not answer is passed over next time."""
        if not ready or self._clock() < self._due:
            return
        self._due = self._clock() + EVERY
        self._round += 1
        ready[self._round % len(ready)].channel.send({"count_queues": True})
