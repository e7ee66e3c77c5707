"""``PartitionGuard``: stops all tasks where no renewal gets through for too long.

Soon after that another worker may own them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import gevent

from ...process.greenlets import once
from ...process.service import Service
from ...states import Reason
from ..executor import Executor
from ..local_tasks import LocalTasks
from .lease import Lease

log = logging.getLogger("pytask.heartbeat")

#: Seconds between looks at how long ago the last renewal was. Tasks may run on for this much more than the grace.
GUARD_INTERVAL = 0.25


class PartitionGuard(Service):
    """Watches how long ago the last renewal was.

    Args:
        executor: whose tasks it has stopped.
        lease: how long they run on without a renewal.
        local_tasks: start again once a renewal has got through.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        executor: Executor,
        lease: Lease,
        local_tasks: LocalTasks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._executor = executor
        self._lease = lease
        self._local_tasks = local_tasks
        self._clock = clock
        self._renewed = clock()
        self._is_isolated = False

    def renewed(self, began: float) -> None:
        """A renewal has got through that began then."""
        self._renewed = began
        # One that was under way all the time that Redis was frozen says too little about now.
        if self._is_isolated and self._clock() - began <= self._lease.grace:
            self._is_isolated = False
            self._local_tasks.resume()

    def turn(self) -> None:
        """Look once."""
        gevent.sleep(GUARD_INTERVAL)
        if not self._is_isolated and self._clock() - self._renewed > self._lease.grace:
            self._is_isolated = True
            log.warning(
                "No lease could be renewed for %g s, so another worker may soon own the tasks of this one: all %d "
                "are stopped here",
                self._lease.grace,
                len(self._executor.tasks),
            )
            self.isolate()

    def isolate(self) -> None:
        """Stop everything here; local tasks start again when Redis is back."""
        self._local_tasks.let_go()
        self._executor.ask_all(Reason.REQUEUE)
        left = max(0.0, self._renewed + self._lease.seconds - self._clock())
        self.greenlets.add(once(self._executor.cut_short, left))
