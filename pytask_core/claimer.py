"""``Claimer``: waits for work, claims as much as there is room for, and hands it to the runner."""

from __future__ import annotations

import logging

import gevent
from gevent.event import Event

from .link import Away, Link, Rejected
from .runner import Running, TaskRunner
from .store import Claims, WorkerStore

log = logging.getLogger("pytask.claimer")

#: Seconds of one blocking take. Longer saves idle round trips; shorter finds what another worker passes on sooner.
TAKE_TIMEOUT = 1.0

#: Seconds between tries while Redis answers with an error.
RETRY = 1.0

#: Seconds that ids are left to siblings that hold fewer tasks, before this worker takes its part of them all the same.
LEAVE_TO_SIBLINGS = 0.02

_PASSED = {
    "missing": (logging.WARNING, "has no hash, so there is nothing to run"),
    "wrong type": (logging.WARNING, "has a key that is no hash, so there is nothing to run"),
    "running": (logging.INFO, "runs already"),
    "local": (logging.WARNING, "is local to a worker and cannot be queued"),
    "stopped": (logging.DEBUG, "was stopped while it waited"),
    "removed": (logging.DEBUG, "was removed while it waited"),
}


class Claimer:
    """The way in of a worker.

    Args:
        store: the worker's store.
        runner: where tasks go.
        link: whether Redis can be reached.
        concurrency: for the log, when the pool is full.
    """

    def __init__(self, store: WorkerStore, runner: TaskRunner, link: Link, concurrency: int) -> None:
        self._store = store
        self._runner = runner
        self._link = link
        self._concurrency = concurrency
        self._number = 0
        self._doubtful = False
        self._insist = False
        self._stopping = False
        self._said_full = False
        self._said = ""
        self.gone = Event()  #: set when it claims no more

    def next_token(self) -> str:
        """Return a claim token that was never given before."""
        self._number += 1
        return f"{self._store.worker}:{self._number}"

    def stop(self) -> None:
        """Claim no more; :attr:`gone` is set when a claim under way has come in."""
        self._stopping = True
        self._runner.has_room.set()  # if it waits for room, it need not

    def run(self) -> None:
        """Claim until stopped."""
        try:
            while not self._stopping:
                self._link.wait()
                self._wait_for_room()
                try:
                    self._turn()
                except Away:
                    continue
                except Rejected as error:
                    self._complain(error)
                except Exception:
                    log.exception("A bug in pytask: claiming failed; trying again in a second")
                    gevent.sleep(RETRY)
        finally:
            self.gone.set()

    def _complain(self, error: Rejected) -> None:
        """Redis does not do what the store asks: somebody's data stands where ours should."""
        if str(error) != self._said:
            self._said = str(error)
            log.error("No tasks can be claimed: %s. Trying every %g s until the keys are mended", error, RETRY)
        gevent.sleep(RETRY)

    def _wait_for_room(self) -> None:
        if self._runner.room:
            return
        if not self._said_full:
            self._said_full = True
            log.warning(
                "All %d places of this worker are taken, so tasks wait in the queue. Raise concurrency, or start more "
                "workers. (Said once.)",
                self._concurrency,
            )
        self._runner.has_room.wait(1)

    def _turn(self) -> None:
        room = self._runner.room
        if not room or self._stopping:
            return
        claims = self._claim(room)
        for task_id, why in claims.passed:
            level, words = _PASSED[why]
            log.log(level, "The id %r from the new queue %s; passed over", task_id, words)
        if claims.tasks or claims.passed:
            self._insist = False
        elif claims.left:
            gevent.sleep(LEAVE_TO_SIBLINGS)
            self._insist = True
        elif not self._stopping:
            self._insist = False
            with self._link.guard():
                self._store.take(TAKE_TIMEOUT)

    def _claim(self, room: int) -> Claims:
        token = f"{self._store.worker}:{self._number}" if self._doubtful else self.next_token()
        again, self._doubtful = self._doubtful, True
        with self._link.guard():
            claims = self._store.claim(token, room, insist=self._insist, again=again)
        self._doubtful = False
        self._said = ""
        for task in claims.tasks:
            self._runner.start(Running(task.id, token, task.name, task.data))
        return claims
