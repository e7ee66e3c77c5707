"""``Escalation``: asks workers to stop that drain for too long, and kills those that do not stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.logs import counted

log = logging.getLogger("pytask.supervisor")

#: Seconds that the loop sleeps at most while workers live: it must notice when they fall silent.
WATCH = 1.0


class Escalation(Part):
    """Looks at every worker."""

    def __init__(self, pool: WorkerPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock

    @property
    def deadline(self) -> float | None:
        """See ``Part``."""
        workers = self._pool.workers
        times = [worker.deadline for worker in workers if worker.deadline is not None]
        return min([self._clock() + WATCH, *times]) if workers else None

    def turn(self) -> None:
        """See ``Part``."""
        for worker in self._pool.workers:
            worker.end_drain()
            if worker.is_overdue:
                text = "%s did not stop within %g s and is killed, last seen with %s running"
                log.warning(text, worker, worker.granted, counted(worker.running, "task"))
                worker.kill(Cause(Kind.TIMEOUT, f"was killed, since it did not stop within {worker.granted:g} s"))
