"""``Claimer``: waits for work, claims as much as there is room for, and hands it to the executor."""

from __future__ import annotations

import logging

import gevent
from gevent.event import Event

from ..connection.link import RedisLink, ServerError, Unreachable
from ..store import Claims, WorkerStore
from ..store.worker import BATCH
from .allowance import Allowance
from .backpressure import Backpressure
from .early import Early
from .execution import Execution
from .executor import Executor
from .nudges import Nudges

log = logging.getLogger("pytask.claimer")

#: Seconds of one blocking take. Longer saves idle round trips; shorter finds sooner what another worker has passed on
#: where its nudge got lost.
TAKE_TIMEOUT = 1.0

#: Seconds between tries while Redis answers with an error.
RETRY = 1.0

#: Seconds that ids are left to siblings that hold fewer tasks, before this worker takes its part of them all the same.
LEAVE_TO_SIBLINGS = 0.02

#: Seconds between two tasks of a worker that is pressed: siblings have the time to take the others.
PRESSED = 0.1

#: Seconds between two looks of a worker that may begin no more tasks, whether it may again.
SPENT = 0.05

_PASSED = {
    "missing": (logging.WARNING, "has no hash, so there is nothing to run"),
    "early": (logging.DEBUG, "has no hash yet; it is looked at again for two seconds"),
    "wrong type": (logging.WARNING, "has a key that is no hash, so there is nothing to run"),
    "running": (logging.INFO, "runs already"),
    "local": (logging.WARNING, "is local to a worker and cannot be queued"),
    "stopped": (logging.DEBUG, "was stopped while it waited"),
    "removed": (logging.DEBUG, "was removed while it waited"),
    "ended": (logging.INFO, "has ended already; the entry was left over from a push that came late"),
}


class Claimer:
    """The way in of a worker.

    Args:
        store: the worker's store.
        runner: where tasks go.
        link: whether Redis can be reached.
        concurrency: for the log, when the pool is full.
        pressure: whether to claim less than there is room for.
        allowance: how many more may be claimed before the worker is replaced.
        nudges: whether another worker has put something into the inbox.
    """

    def __init__(
        self,
        store: WorkerStore,
        runner: Executor,
        link: RedisLink,
        concurrency: int,
        pressure: Backpressure,
        allowance: Allowance,
        nudges: Nudges,
    ) -> None:
        self._store = store
        self._runner = runner
        self._link = link
        self._concurrency = concurrency
        self._pressure = pressure
        self._allowance = allowance
        self._nudges = nudges
        self._early = Early(store, link)
        self._number = 0
        #: The token of a claim whose answer has not come.
        self._doubtful: str | None = None
        self._insist = False
        self._stopping = False
        #: Something may lie in the inbox, in nobody else's reach.
        self._has_taken = False
        self._may_claim = Event()
        self._may_claim.set()
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
        self._may_claim.set()
        self._runner.has_room.set()  # if it waits for room, it need not

    def quiet(self, is_on: bool) -> None:
        """Claim nothing new, or claim again."""
        self._nudges.is_quiet = is_on
        if not is_on:
            self._may_claim.set()
        elif not self._stopping:
            self._may_claim.clear()

    def run(self) -> None:
        """Claim until stopped."""
        # What a worker that died was looking at.
        self._early.look()
        try:
            while not self._stopping:
                self._link.wait()
                if not self._has_taken:
                    self._may_claim.wait()
                self._wait_for_room()
                try:
                    self._turn()
                except Unreachable:
                    continue
                except ServerError as error:
                    self._complain(error)
                except Exception:
                    log.exception("A bug in pytask: claiming failed; trying again in a second")
                    gevent.sleep(RETRY)
        finally:
            self._early.close()
            self._nudges.close()
            self.gone.set()

    def _complain(self, error: ServerError) -> None:
        """Redis does not do what the store asks: somebody's data stands where ours should."""
        if str(error) != self._said:
            self._said = str(error)
            log.error("No tasks can be claimed: %s. Trying every %g s until the keys are mended", error, RETRY)
        gevent.sleep(RETRY)

    @property
    def _room(self) -> int:
        return self._allowance.room

    def _wait_for_room(self) -> None:
        if self._room:
            return
        if self._runner.room:
            if self._allowance.tell():
                log.info("This worker has begun as many tasks as it may, and claims no more until it is replaced")
            gevent.sleep(SPENT)
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
        room = self._room
        if not room or self._stopping:
            return
        is_pressed = self._pressure.is_high
        asked = 1 if is_pressed or not self._may_claim.is_set() else room
        claims = self._claim(asked)
        if claims.tasks or claims.passed:
            self._insist = False
            if is_pressed:
                gevent.sleep(PRESSED)
            elif not claims.left and len(claims.tasks) + len(claims.passed) < min(asked, BATCH):
                # Nothing else waits, so what was claimed runs before the next request is even written.
                gevent.sleep(0)
                self._take()
        elif claims.left:
            gevent.sleep(LEAVE_TO_SIBLINGS)
            self._insist = True
        else:
            self._take()

    def _take(self) -> None:
        """Wait for an id and claim it, again and again as long as nothing waits behind it."""
        while (room := self._room) and not (self._stopping or self._nudges.is_filled) and self._may_claim.is_set():
            self._insist, self._has_taken, self._doubtful = False, True, self.next_token()
            with self._link.guard(), self._nudges.taking():
                claims = self._store.take_and_claim(TAKE_TIMEOUT, self._doubtful, room)
            self._receive(claims)
            if not (claims.tasks or claims.passed):
                return
            # What was claimed runs first, as above.
            gevent.sleep(PRESSED if self._pressure.is_high else 0)
            if claims.left:
                return

    def _claim(self, room: int) -> Claims:
        again = self._doubtful is not None
        self._doubtful = self._doubtful or self.next_token()
        with self._link.guard():
            was_filled = self._nudges.look()
            claims = self._store.claim(self._doubtful, room, insist=self._insist, again=again)
        if was_filled and len(claims.tasks) + len(claims.passed) >= min(room, BATCH):
            self._nudges.fill()  # There may be more than was asked for.
        self._receive(claims)
        return claims

    def _receive(self, claims: Claims) -> None:
        token, self._doubtful, self._has_taken, self._said = self._doubtful, None, False, ""
        assert token is not None
        self._allowance.spend(len(claims.tasks))
        # What comes in now begins no more; the worker hands back all that it holds as it leaves.
        for task in () if self._stopping else claims.tasks:
            self._runner.figures.claimed(task.name, claims.waited.get(task.id))
            self._runner.start(Execution(task.id, token, task.name, task.data))
        if any(why == "early" for _, why in claims.passed):
            self._early.look()
        for task_id, why in claims.passed:
            level, words = _PASSED[why]
            log.log(level, "The id %r from the new queue %s; passed over", task_id, words)
