"""``Parking``: sets aside tasks with names this worker does not know, and fetches those it does.

The executor hands in tasks that have no class here: they go to a live worker that has it, or are parked by name. Once
this worker is known to Redis, or known again, it puts back to the queue what was parked under its own names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from ...connection.complaints import Complaints
from ...connection.link import RedisLink
from ...process.news import News
from ...process.service import Bell, Service
from ...store import BATCH, Misplaced, PassedOn, WorkerStore
from ..execution import Execution

log = logging.getLogger("pytask.parking")

#: Seconds after which a worker looks again, though nothing has happened: another program has deleted the note of its
#: names, a failover has lost it, or it was frozen so long that others counted it as gone. Shorter finds that sooner,
#: longer spares the server two commands a look.
LOOK_AGAIN = 60.0

#: Names of which the log tells. Anybody can write any name to Redis, and a line each would fill the disk.
MOST_NAMES = 100


class Parking(Service):
    """One greenlet, many tasks a round trip.

    Args:
        store: the worker's store.
        link: whether Redis can be reached.
        names: of the task classes of this worker.
        task_timeout: seconds without a beat after which another worker is not live.
        settle: called with each task that has left this worker's hands.
        look_again: see :data:`LOOK_AGAIN`.
    """

    def __init__(
        self,
        store: WorkerStore,
        link: RedisLink,
        names: Collection[str],
        task_timeout: float,
        settle: Callable[[Execution], object],
        look_again: float = LOOK_AGAIN,
    ) -> None:
        super().__init__()
        self._store = store
        self._link = link
        self._names = names
        self._task_timeout = task_timeout
        self._settle = settle
        self._misplaced: list[Execution] = []
        self._is_due = True
        self._bell = Bell(lambda: self._misplaced or self._is_due, look_again)
        self._told = 0
        #: Names of tasks that were passed on.
        self._elsewhere = News()
        store.on_known = self.open

    def add(self, entry: Execution) -> None:
        """Take a task out of this worker's hands, which does not know its name; returns at once."""
        self._misplaced.append(entry)
        self._bell.ring()

    def open(self) -> None:
        """Put back what is parked under the names of this worker, which Redis knows now; returns at once."""
        self._is_due = True
        self._bell.ring()

    def run(self) -> None:
        """Do so for ever."""
        complaints = Complaints(
            log,
            "Redis does not take tasks of other names from this worker",
            "Trying again",
            bug="A bug in pytask: tasks of other names cannot be passed on; trying again in a second",
        )
        self._link.serve(self.turn, complaints, wait_for_work=self._wait_for_work)

    def _wait_for_work(self) -> None:
        if not self._bell.wait():
            self._is_due = True

    def turn(self) -> None:
        """Pass on some tasks, and put back what is parked if that is due."""
        if self._misplaced:
            batch = self._misplaced[:BATCH]
            with self._link.guard():
                passed = self._store.pass_on([_plain(entry) for entry in batch], self._task_timeout)
            del self._misplaced[: len(batch)]
            self._tell(batch, passed)
            for entry in batch:
                self._settle(entry)
        if self._is_due:
            self._open()

    def _open(self) -> None:
        self._is_due = False
        try:
            with self._link.guard():
                self._store.note_names()
                parked = self._store.parked.among(list(self._names))
            for name in parked:
                self._open_one(name)
        except BaseException:
            self._is_due = True
            raise

    def _open_one(self, name: str) -> None:
        count, is_all = 0, False
        while not is_all:
            with self._link.guard():
                more, is_all = self._store.parked.open(name)
            count += more
        if count:  # else siblings that have registered at the same time were faster
            log.info(
                "Tasks named %r, which no worker knew, run now: this worker knows them, and has put %d of them back to "
                "the front of the queue",
                name,
                count,
            )

    def _tell(self, batch: Sequence[Execution], passed: Sequence[PassedOn]) -> None:
        for entry, where in zip(batch, passed, strict=True):
            name = entry.name or ""
            if where.first:
                self._say(
                    logging.WARNING,
                    "No worker knows tasks named %r: they wait, parked, until one does. Start a worker that has their "
                    "class, or stop or remove them; 'pytaskctl queues' counts them. (Said once a name.)",
                    name,
                )
            elif where.worker and self._told <= MOST_NAMES and self._elsewhere.is_news(name):
                self._say(
                    logging.INFO,
                    "Task %r is named %r, which this worker does not know; %s does and gets it. (Said once a name.)",
                    entry.id,
                    name,
                    where.worker,
                )

    def _say(self, level: int, words: str, *args: str) -> None:
        """Say something of a name, unless there are too many of them."""
        self._told += 1
        if self._told <= MOST_NAMES:
            log.log(level, words, *args)
        elif self._told == MOST_NAMES + 1:
            log.warning("More than %d names of tasks were not known here; no more is said of others", MOST_NAMES)


def _plain(entry: Execution) -> Misplaced:
    return Misplaced(entry.id, entry.token, entry.name or "")
