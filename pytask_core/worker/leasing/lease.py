"""``Lease``: how long this worker may be silent before others take its tasks, as agreed in Redis.

A Monitor asks for a lease, the worker keeps to it and only then promises it, and Monitors judge each worker by what it
has promised last. So a worker that has not heard of a shorter lease is never judged by it.
"""

from __future__ import annotations

import logging

from ...config import RENEWALS

log = logging.getLogger("pytask.heartbeat")

#: The shortest lease, in seconds, that a worker promises, unless its app itself has a shorter one. Shorter would leave
#: its tasks no time to stop once Redis is away.
SHORTEST = 1.0


class Lease:
    """What one worker keeps to.

    Args:
        own: seconds that the app wants; no promise is longer.
        interval: seconds between renewals under that lease.
        grace: seconds that tasks run on without a renewal under that lease.
    """

    def __init__(self, own: float, interval: float, grace: float) -> None:
        self._own = own
        self._interval = interval
        self._grace = grace
        self._wanted = own
        #: Seconds that this worker keeps to; never more than Redis has been promised.
        self.seconds = own

    @property
    def interval(self) -> float:
        """Seconds between two renewals."""
        return self._interval if self.seconds >= self._own else min(self._interval, self.seconds / RENEWALS)

    @property
    def grace(self) -> float:
        """Seconds that tasks run on without a renewal; what is left of the lease then is for stopping them."""
        return self._grace if self.seconds >= self._own else min(self._grace, self.seconds / 2)

    def promise(self) -> float:
        """Return what the next renewal is to promise; this worker keeps to it already."""
        return self._wanted

    def renewed(self, promised: float, asked: float | None) -> None:
        """Redis has the promise.

        Args:
            promised: what :meth:`promise` had returned.
            asked: seconds that the Monitors ask for; None where none does.
        """
        wanted = self._own if asked is None else min(self._own, max(asked, SHORTEST))
        if wanted != self._wanted:
            log.info(
                "The lease of this worker is to be %g s instead of %g, since %s",
                wanted,
                self._wanted,
                f"a Monitor has task_timeout={asked:g}" if asked is not None else "no Monitor asks for less any more",
            )
        self._wanted = wanted
        # Shorter from now on, and then promised; longer only once the promise has arrived.
        self.seconds = min(promised, wanted)
