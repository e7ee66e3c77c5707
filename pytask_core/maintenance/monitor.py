"""``MonitorService``: requeues what no worker renews, and looks after parked tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from ..connection.complaints import Complaints
from ..connection.link import RedisLink, ServerError, Unreachable
from ..errors import StopTask
from ..loops import run_loop
from ..outcomes import Outcome
from ..payload import encode
from ..policy.poison import tell_deaths
from ..process.service import Service
from ..store import KeeperStore

log = logging.getLogger("pytask.monitor")

#: Seconds of one round that a Monitor spends on paging through the task set. More finds what a crash or a foreign
#: program left sooner, less spares the server; overdue workers are found by an index, whatever this is.
SWEEP_BUDGET = 0.005

_BECAME = {
    Outcome.BACK: "no worker has renewed it for too long; it waits again",
    Outcome.STOPPED: "no worker has renewed it for too long, and it was to stop; it counts as stopped",
    Outcome.GONE: "it was local to a worker that is gone; it is removed",
    Outcome.MISSING: "it has no hash; it is taken out of the task set",
    Outcome.WAITS: "it was to wait, but a program broke off between two steps; it stands in the queue",
    Outcome.ENDED_BEFORE: "it has ended, but a program broke off between two steps; it goes to the end queue",
}


@dataclass(frozen=True, kw_only=True)
class Patience:
    """For how long a Monitor waits for what, in seconds."""

    interval: float  #: between two rounds of all Monitors
    task_timeout: float  #: for a renewal, of a worker that has promised to keep to that
    unpromised: float  #: for a renewal, of a worker that has promised nothing
    unknown_timeout: float  #: for a worker that knows the name of a parked task


class MonitorService(Service):
    """Many may work: each interval one of them has a round, the others find it done.

    Args:
        keeper: the store.
        link: whether Redis can be reached.
        patience: when it counts as lost what no worker renews.
        round_: what to do each interval instead of :meth:`check`.
    """

    def __init__(
        self, keeper: KeeperStore, link: RedisLink, patience: Patience, round_: Callable[[], None] | None = None
    ) -> None:
        super().__init__()
        self._keeper = keeper
        self._link = link
        self._patience = patience
        self._round = round_ or self.check
        # A Monitor that ended of an error would be missed only once a worker dies as well.
        self._complaints = Complaints(log, "Redis does not do what a Monitor asks", "Trying each round")

    def run(self) -> None:
        """Have a round each interval."""
        run_loop(self.turn, self._patience.interval)

    def turn(self) -> None:
        """Have a round once Redis can be reached."""
        self._link.wait()
        self._link.attempt(self._check_or_mend, self._complaints, pause=0)

    def _check_or_mend(self) -> None:
        try:
            self._round()
        except Unreachable:
            log.debug("Redis is away; this round is left out")
            raise
        except ServerError:
            if not self._mend():
                raise

    def _mend(self) -> bool:
        """Whether it was the Monitors' own hash, in which numbers were none, that stopped this one."""
        try:
            with self._link.guard(tell=False):
                wrong = self._keeper.mend()
        except (Unreachable, ServerError):
            return False
        if wrong:
            log.warning("What the Monitors note of %s was no number; it is removed, and they go on", wrong)
        return bool(wrong)

    def check(self) -> None:
        """Have one round, unless another Monitor has had it.

        Raises:
            Unreachable: Redis cannot be reached.
            ServerError: Redis does not do what is asked.
        """
        patience = self._patience
        with self._link.guard(tell=False):
            overdue = self._keeper.overdue(patience.interval, patience.task_timeout, patience.unpromised)
        if overdue is None:
            return
        try:
            self._hand_back(overdue)
            self._sweep()
            self._open_parked()
            self._end_parked()
        except (Unreachable, StopTask):
            # Another Monitor may reach what this one does not, and should not have to wait for its turn.
            with suppress(Unreachable, ServerError), self._link.guard(tell=False):
                self._keeper.give_up_round()
            raise

    def _hand_back(self, overdue: Mapping[str, float]) -> None:
        for worker, lease in overdue.items():
            with self._link.guard(tell=False):
                done = self._keeper.hand_back(worker, lease)
            # Not of one that has come back, or has left in good order, since the round began.
            if done.known:
                log.warning(
                    "Worker %s has not been heard of for %g s; the %d tasks it held wait again",
                    worker,
                    lease,
                    done.waiting,
                )
            tell_deaths(done.convicted, done.often)

    def _sweep(self) -> None:
        """Look at some pages of the task set."""
        until = monotonic() + SWEEP_BUDGET
        while True:
            with self._link.guard(tell=False):
                page = self._keeper.sweep(self._patience.task_timeout, self._patience.unpromised)
            for task_id, became in page.told:
                log.warning("Task %r: %s", task_id, _BECAME[Outcome(became)])
            if page.last or monotonic() > until:
                return

    def _open_parked(self) -> None:
        """Put back what is parked though a worker knows it."""
        with self._link.guard():
            known = self._keeper.parked_for_nothing(self._patience.task_timeout)
        for name in known:
            with self._link.guard():
                count = self._keeper.parked.open_all(name)
            log.info("%d parked tasks named %r run now, since a worker knows them", count, name)

    def _end_parked(self) -> None:
        """End what no worker has known for too long."""
        timeout = self._patience.unknown_timeout
        with self._link.guard():
            late = self._keeper.parked_too_long(timeout)
        for name in late:
            words = f"no worker has known a task named {name!r} for {timeout:g} s (unknown_timeout)"
            output, total, more = encode("the output", f"MissingTaskError: {words}\n"), 0, True
            while more:
                with self._link.guard():
                    count, more = self._keeper.end_parked(name, timeout, output)
                total += count
            if total:
                log.warning("%d tasks end as EXCEPTION: %s", total, words)
