"""``Heartbeat``: renews the lease of a worker and its tasks, and learns of losses and commands.

It is also the guard of exclusion: when no renewal has got through for ``partition_grace`` seconds it has all tasks
stopped, since soon another worker may own them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import gevent

from ..connection.link import RedisLink, ServerError, Unreachable
from ..store import WorkerStore
from ..store.worker import BATCH
from .execution import Execution
from .executor import Executor
from .lease import Lease

log = logging.getLogger("pytask.heartbeat")

#: Seconds between looks at how long ago the last renewal was. Tasks may run on for this much more than the grace.
GUARD_INTERVAL = 0.25


class Heartbeat:
    """Renews, and guards.

    Args:
        store: the worker's store.
        runner: whose tasks.
        link: whether Redis can be reached.
        lease: how often to renew, and how long tasks run on without a renewal.
        on_isolated: called when that time is over.
        on_reunited: called when a renewal has got through again after that.
        on_lost: called with each task that was found to be no longer this worker's.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: WorkerStore,
        runner: Executor,
        link: RedisLink,
        lease: Lease,
        on_isolated: Callable[[], object],
        on_reunited: Callable[[], object],
        on_lost: Callable[[Execution], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._runner = runner
        self._link = link
        self._lease = lease
        self._on_isolated = on_isolated
        self._on_reunited = on_reunited
        self._on_lost = on_lost
        self._clock = clock
        self._renewed = clock()
        self._isolated = False
        #: Tasks that the last renewal found lost, without a word why.
        self._unexplained = 0

    def run(self) -> None:
        """Renew for ever."""
        due = self._clock()
        while True:
            self._safely()
            # The interval changes with the lease.
            due = max(due + self._lease.interval, self._clock())
            gevent.sleep(due - self._clock())

    def _safely(self) -> None:
        self._link.wait()
        try:
            self.renew()
        except Unreachable:
            pass
        except Exception:
            log.exception("Leases could not be renewed; trying again in %g s", self._lease.interval)

    def renew(self) -> None:
        """Renew everything once, and pass on what is told.

        Raises:
            Away: Redis cannot be reached.
        """
        began = self._clock()
        entries = list(self._runner.tasks.values())
        lost: list[Execution] = []
        forgotten = False
        promised = self._lease.promise()
        for start in range(0, max(len(entries), 1), BATCH):
            batch = entries[start : start + BATCH]
            with self._link.guard():
                answer = self._store.renew([(entry.id, entry.token) for entry in batch], promised)
            forgotten = forgotten or answer.forgotten
            asked = {entry.id: entry for entry in batch}
            for task_id, told in answer.told:
                lost += self._told(asked[task_id], told)
        self._lose(lost, forgotten)
        self._renewed = began
        self._lease.renewed(promised, answer.asked)
        # One that was under way all the time that Redis was frozen says too little about now.
        if self._isolated and self._clock() - began <= self._lease.grace:
            self._isolated = False
            self._on_reunited()

    def look(self, asked: Mapping[str, str]) -> None:
        """Renew tasks now, since commands may be recorded for them; if Redis is away, the next renewal finds those.

        Args:
            asked: tokens by id.
        """
        entries = [self._runner.tasks.get(task_id) for task_id in asked]
        ours = [entry for entry in entries if entry is not None and entry.token == asked[entry.id]]
        for start in range(0, len(ours), BATCH):
            batch = {entry.id: entry for entry in ours[start : start + BATCH]}
            try:
                with self._link.guard():
                    answer = self._store.renew([(entry.id, entry.token) for entry in batch.values()])
            except (Unreachable, ServerError):
                return
            for task_id, told in answer.told:
                log.info("Task %r: %s", task_id, told)
                self._lose(self._told(batch[task_id], told), answer.forgotten, asked=True)

    def _told(self, entry: Execution, told: str) -> list[Execution]:
        """Pass on a command; return the task where it is lost."""
        # What was asked of a copy that was reloaded meanwhile has been done already.
        if self._runner.tasks.get(entry.id) is not entry or entry.ended or entry.leaving:
            return []
        if told == "lost":
            return [entry]
        if told not in {"stop", "restart", "reload"}:
            log.debug("Task %r has %r recorded, which is no command", entry.id, told)
            return []
        self._runner.ask(entry.id, "stop" if told == "restart" else told, entry.token)
        return []

    def _lose(self, lost: list[Execution], forgotten: bool, *, asked: bool = False) -> None:
        """Stop what is no longer ours; ``asked``: a client has just told us so, as it does that removes a task."""
        # The take may have found first that we were forgotten, and its answer comes up to a second later.
        count, self._unexplained = len(lost) + self._unexplained, 0 if forgotten else len(lost)
        if forgotten and count:
            log.error(
                "Redis had forgotten this worker and %d of its tasks: it came back empty or was flushed, or others "
                "took over while it was away. Their copies here are stopped and write nothing more; new work is taken",
                count,
            )
        elif forgotten:
            log.warning(
                "Redis had forgotten this worker: it came back empty or was flushed, or others took over while it was "
                "away. It is known again, and takes new work"
            )
        elif lost:
            log.log(
                logging.DEBUG if asked else logging.WARNING,
                "%d tasks are no longer this worker's: given to another, restarted or removed. Their copies here are "
                "stopped and write nothing more: %.500r",
                len(lost),
                [entry.id for entry in lost],
            )
        for entry in lost:
            self._runner.ask(entry.id, "lost", entry.token)
            self._on_lost(entry)

    @property
    def left(self) -> float:
        """Seconds for which no other worker may take the tasks yet."""
        return max(0.0, self._renewed + self._lease.seconds - self._clock())

    def guard(self) -> None:
        """Watch for ever that renewals get through."""
        while True:
            gevent.sleep(GUARD_INTERVAL)
            if not self._isolated and self._clock() - self._renewed > self._lease.grace:
                self._isolated = True
                log.warning(
                    "No lease could be renewed for %g s, so another worker may soon own the tasks of this one: all %d "
                    "are stopped here",
                    self._lease.grace,
                    len(self._runner.tasks),
                )
                self._on_isolated()
