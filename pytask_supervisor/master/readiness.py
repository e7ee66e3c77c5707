"""``Readiness``: says in the log when every worker is ready."""

from __future__ import annotations

import logging

from pytask_supervisor.master.part import Part
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.logs import counted

log = logging.getLogger("pytask.supervisor")


class Readiness(Part):
    """Says it once; again when there are more workers, and after each that was lost."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        #: Of how many workers it was said that they are ready.
        self._said = 0
        self._losses = 0

    def turn(self) -> None:
        """See ``Part``."""
        size = self._pool.size
        if self._losses != self._pool.losses:
            self._said, self._losses = 0, self._pool.losses
        if size > self._said and self._pool.is_whole:
            log.info("%s %s ready", counted(size, "worker"), "is" if size == 1 else "are")
            self._said = size
        self._said = min(self._said, size)
