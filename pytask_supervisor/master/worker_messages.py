"""``WorkerMessages``: acts on what workers say, where it concerns more than the worker itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.deaths import Deaths
from pytask_supervisor.master.handback import Handback
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.stats import MasterStats
from pytask_supervisor.master.worker_handle import WorkerHandle
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.logs import counted
from pytask_supervisor.shared.messages import Message
from pytask_supervisor.shared.shapes import MisshapenError
from pytask_supervisor.shared.signals import GATHER

log = logging.getLogger("pytask.supervisor")

#: Warnings that are told. More tells more, and lets task code, which may have the line, fill our memory and the log.
MOST_WARNINGS = 100
#: Turns in which all is heard that a dead worker has said: more than a socket holds. What programs that it has started
#: go on writing there is not its word.
LAST_TURNS = 16


class WorkerMessages(Part):
    """Takes in whatever has come; never waits."""

    def __init__(
        self,
        pool: WorkerPool,
        deaths: Deaths,
        handback: Handback,
        stats: MasterStats,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._deaths = deaths
        self._handback = handback
        self._stats = stats
        self._clock = clock
        #: Those that were told.
        self.warnings: set[str] = set()

    @property
    def unhurried(self) -> list[int]:
        """See ``Part``: that a worker has died is told by a signal."""
        lines = [line for worker in self._pool.workers for line in (worker.channel, worker.wire)]
        return [line.fileno() for line in lines if not line.at_end]

    @property
    def deadline(self) -> float | None:
        """See ``Part``: soon, if a worker has said more than one turn takes in."""
        return self._clock() + GATHER if any(worker.is_behind for worker in self._pool.workers) else None

    def turn(self) -> None:
        """See ``Part``."""
        for worker in self._pool.workers:
            self.listen(worker)

    def listen(self, worker: WorkerHandle) -> None:
        """Take what this worker has said, or a bounded part of it; one that says what is not a message is killed."""
        if self._hear(worker):
            worker.kill(Cause(Kind.BREACH, "was killed, since its line to the supervisor was written to by others"))
        elif not worker.is_unheard and worker.is_half_deaf:
            worker.is_unheard = True
            log.error(
                "%s has closed a line to the supervisor, and lives. Only code of a task or of the app can have done "
                "that, with a descriptor that is not its own; the worker is killed, and its tasks are handed back",
                worker,
            )
            worker.kill(Cause(Kind.BREACH, "was killed, since its line to the supervisor was closed by others"))

    def listen_to_end(self, worker: WorkerHandle) -> None:
        """Take all that a dead worker has said."""
        for _ in range(LAST_TURNS):
            self._hear(worker)
            if worker.channel.at_end and worker.wire.at_end and not worker.is_behind:
                return

    def _hear(self, worker: WorkerHandle) -> bool:
        """Whether it said what is not a message; nothing is heard of it after that."""
        if worker.is_unheard:
            return False
        for line in (worker.channel, worker.wire):
            try:
                for message in line.receive():
                    worker.hear(message)
                    self._act_on(message, worker)
                if line.breach is not None:
                    raise MisshapenError(line.breach)
            except MisshapenError as error:
                worker.is_unheard = True
                log.error(
                    "%s said what a worker never says: %s. Only code of a task or of the app can have written that, to "
                    "a descriptor that is not its own; the worker is killed, and its tasks are handed back",
                    worker,
                    error,
                )
                return True
        return False

    def warn_once(self, warning: str) -> None:
        """What each of many workers finds is told once."""
        if warning in self.warnings or len(self.warnings) > MOST_WARNINGS:
            return
        self.warnings.add(warning)
        if len(self.warnings) > MOST_WARNINGS:
            warning = "workers have more warnings than can be remembered here; no more of them are told"
        log.warning("%s", warning)

    def _act_on(self, message: Message, worker: WorkerHandle) -> None:
        if "ready" in message:
            self._deaths.note_ready()
        elif "tally" in message:
            self._stats.add(message["tally"])
        elif "queues" in message:
            self._stats.queues = message["queues"]
        elif "handed_back" in message:
            whose = self._handback.confirm(message["handed_back"], worker)
            if whose is not None:
                level = logging.INFO if message["count"] else logging.DEBUG
                log.log(level, "back in the queue: %s of %s", counted(message["count"], "task"), whose)
        elif "warning" in message:
            self.warn_once(message["warning"])
