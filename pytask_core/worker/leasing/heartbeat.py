"""``Heartbeat``: renews the lease of a worker and its tasks, and learns of losses and commands."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import gevent

from ...connection.complaints import Complaints
from ...connection.link import RedisLink, ServerError, Unreachable
from ...outcomes import Outcome
from ...process.service import Service
from ...states import Command, Reason
from ...store import BATCH, WorkerStore
from ..execution import Execution
from ..executor import Executor
from ..local_tasks import LocalTasks
from .lease import Lease
from .partition_guard import PartitionGuard

log = logging.getLogger("pytask.heartbeat")

#: Why a copy leaves, by the command that is recorded for its task.
_REASONS = {Command.STOP: Reason.STOP, Command.RESTART: Reason.STOP, Command.RELOAD: Reason.RELOAD}


class Heartbeat(Service):
    """Renews at the interval of the lease, and whenever it is asked to.

    Args:
        store: the worker's store.
        executor: whose tasks.
        link: whether Redis can be reached.
        lease: how often to renew.
        guard: learns of each renewal.
        local_tasks: learns of each task that this worker no longer holds.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: WorkerStore,
        executor: Executor,
        link: RedisLink,
        lease: Lease,
        guard: PartitionGuard,
        local_tasks: LocalTasks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._store = store
        self._executor = executor
        self._link = link
        self._lease = lease
        self._guard = guard
        self._local_tasks = local_tasks
        self._clock = clock
        self._due = clock()
        #: Tasks that the last renewal found lost, without a word why.
        self._unexplained = 0

    def run(self) -> None:
        """Renew for ever."""
        complaints = Complaints(log, bug="Leases could not be renewed; trying again when they are due next")
        self._due = self._clock() - self._lease.interval
        self._link.serve(self.turn, complaints, wait_for_work=self._wait_until_due, pause=0)

    def _wait_until_due(self) -> None:
        # The interval changes with the lease, and so with a renewal.
        self._due = max(self._due + self._lease.interval, self._clock())
        gevent.sleep(self._due - self._clock())

    def turn(self) -> None:
        """Renew everything once, and pass on what is told.

        Raises:
            Unreachable: Redis cannot be reached.
        """
        began = self._clock()
        entries = list(self._executor.tasks.values())
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
        self._lease.renewed(promised, answer.asked)
        self._guard.renewed(began)

    def look(self, asked: Mapping[str, str]) -> None:
        """Renew tasks now, since commands may be recorded for them; if Redis is away, the next renewal finds those.

        Args:
            asked: tokens by id.
        """
        entries = [self._executor.tasks.get(task_id) for task_id in asked]
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
        if self._executor.tasks.get(entry.id) is not entry or entry.ended or entry.leaving:
            return []
        if told == Outcome.LOST:
            return [entry]
        if told not in _REASONS:
            log.debug("Task %r has %r recorded, which is no command", entry.id, told)
            return []
        self._executor.ask(entry.id, _REASONS[Command(told)], entry.token)
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
            self._executor.ask(entry.id, Reason.LOST, entry.token)
            self._local_tasks.lost(entry)
