"""``Claimer``: waits for work, claims as much as there is room for, and hands it to the executor."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum, auto

import gevent
from gevent.event import Event

from ...connection.complaints import PAUSE, Complaints
from ...connection.link import RedisLink
from ...outcomes import Passed
from ...process.news import News
from ...process.service import Service
from ...store import BATCH, Claims, WorkerStore
from ..execution import Execution
from ..executor import Executor
from .allowance import Allowance
from .backpressure import Backpressure
from .early import Early
from .nudges import Nudges

log = logging.getLogger("pytask.claimer")

#: Seconds of one blocking take. Longer saves idle round trips; shorter finds sooner what another worker has passed on
#: where its nudge got lost.
TAKE_TIMEOUT = 1.0

#: Seconds that ids are left to siblings that hold fewer tasks, before this worker takes its part of them after all.
LEAVE_TO_SIBLINGS = 0.02

#: Seconds between two tasks of a worker that is pressed: siblings have the time to take the others.
PRESSED = 0.1

#: Seconds between two looks of a worker that may begin no more tasks, whether it may again.
SPENT = 0.05

#: What the log says of an id that is passed over.
PASSED_OVER = {
    Passed.MISSING: (logging.WARNING, "has no hash, so there is nothing to run"),
    Passed.EARLY: (logging.DEBUG, "has no hash yet; it is looked at again for two seconds"),
    Passed.WRONG_TYPE: (logging.WARNING, "has a key that is no hash, so there is nothing to run"),
    Passed.RUNNING: (logging.INFO, "runs already"),
    Passed.LOCAL: (logging.WARNING, "is local to a worker and cannot be queued"),
    Passed.STOPPED: (logging.DEBUG, "was stopped while it waited"),
    Passed.REMOVED: (logging.DEBUG, "was removed while it waited"),
    Passed.ENDED: (logging.INFO, "has ended already; the entry was left over from a push that came late"),
}


class _Mode(Enum):
    """What the claimer is to do."""

    CLAIMING = auto()
    QUIET = auto()  #: it claims nothing new, until it is told to again
    STOPPING = auto()  #: it claims no more


@dataclass(frozen=True)
class _Request:
    """What was sent to Redis, and was not answered yet."""

    token: str
    is_take: bool  #: it may have moved an id into the inbox, where no other worker looks


@dataclass(frozen=True)
class Intake:
    """What bounds a claim."""

    allowance: Allowance  #: how many more may be claimed
    backpressure: Backpressure  #: whether to claim less than that
    places: int  #: tasks at once, for the log


class Claimer(Service):
    """The way in of a worker.

    Args:
        store: the worker's store.
        link: whether Redis can be reached.
        executor: where tasks go.
        intake: how much to claim.
        nudges: whether another worker has put something into the inbox.
        early: looks again at ids that came before their hash.
    """

    def __init__(
        self, store: WorkerStore, link: RedisLink, executor: Executor, intake: Intake, nudges: Nudges, early: Early
    ) -> None:
        super().__init__()
        self._store = store
        self._link = link
        self._executor = executor
        self._intake = intake
        self._allowance = intake.allowance
        self._backpressure = intake.backpressure
        self._nudges = nudges
        self._early = early
        self._number = 0
        self._mode = _Mode.CLAIMING
        self._is_not_quiet = Event()
        self._is_not_quiet.set()
        self._unanswered: _Request | None = None
        #: Take a part of the queue though others hold fewer tasks.
        self._insists = False
        self._is_full_news = News()
        self.gone = Event()  #: set when it claims no more

    def next_token(self) -> str:
        """Return a claim token that was never given before."""
        self._number += 1
        return f"{self._store.worker}:{self._number}"

    def claim_no_more(self) -> None:
        """Stop in good order; :attr:`gone` is set when a claim under way has come in."""
        self._enter(_Mode.STOPPING)
        self._executor.has_room.set()  # if it waits for room, it need not

    def quiet(self, is_on: bool) -> None:
        """Claim nothing new, or claim again."""
        self._nudges.quiet(is_on)
        if self._mode is not _Mode.STOPPING:
            self._enter(_Mode.QUIET if is_on else _Mode.CLAIMING)

    def _enter(self, mode: _Mode) -> None:
        self._mode = mode
        if mode is _Mode.QUIET:
            self._is_not_quiet.clear()
        else:
            self._is_not_quiet.set()

    @property
    def _is_stopping(self) -> bool:
        return self._mode is _Mode.STOPPING

    def run(self) -> None:
        """Claim until stopped."""
        complaints = Complaints(
            log,
            "No tasks can be claimed",
            f"Trying every {PAUSE:g} s until the keys are mended",
            bug="A bug in pytask: claiming failed; trying again in a second",
        )
        try:
            self._link.serve(
                self.turn, complaints, wait_for_work=self._wait_for_room, is_over=lambda: self._is_stopping
            )
        finally:
            self.gone.set()

    @property
    def _room(self) -> int:
        return self._allowance.room

    @property
    def _is_held_back(self) -> bool:
        """Whether it is quiet; what a take may have moved is claimed even so."""
        return self._mode is _Mode.QUIET and not (self._unanswered is not None and self._unanswered.is_take)

    def _wait_for_room(self) -> None:
        """Wait until it may claim, and has room."""
        while not self._is_stopping:
            if self._is_held_back:
                self._is_not_quiet.wait()
            if self._room:
                return
            if self._executor.room:
                self._wait_as_spent()
            else:
                self._wait_as_full()

    def _wait_as_spent(self) -> None:
        if self._allowance.tell():
            log.info("This worker has begun as many tasks as it may, and claims no more until it is replaced")
        gevent.sleep(SPENT)

    def _wait_as_full(self) -> None:
        if self._is_full_news.is_news():
            log.warning(
                "All %d places of this worker are taken, so tasks wait in the queue. Raise concurrency, or start more "
                "workers. (Said once.)",
                self._intake.places,
            )
        self._executor.has_room.wait(1)

    def turn(self) -> None:
        """Claim once, and wait for more where nothing is left."""
        room = self._room
        # It may have become quiet while it waited for Redis.
        if not room or self._is_stopping or self._is_held_back:
            return
        is_pressed = self._backpressure.is_high
        asked = 1 if is_pressed or self._mode is not _Mode.CLAIMING else room
        claims = self._claim(asked)
        if claims.tasks or claims.passed:
            self._insists = False
            if is_pressed:
                gevent.sleep(PRESSED)
            elif not claims.left and len(claims.tasks) + len(claims.passed) < min(asked, BATCH):
                # Nothing else waits, so what was claimed runs before the next request is even written.
                gevent.sleep(0)
                self._take()
        elif claims.left:
            gevent.sleep(LEAVE_TO_SIBLINGS)
            self._insists = True
        else:
            self._take()

    def _take(self) -> None:
        """Wait for an id and claim it, again and again as long as nothing waits behind it."""
        while (room := self._room) and not self._nudges.is_filled and self._mode is _Mode.CLAIMING:
            request = self._unanswered = _Request(self.next_token(), is_take=True)
            self._insists = False
            with self._link.guard(), self._nudges.taking():
                claims = self._store.take_and_claim(TAKE_TIMEOUT, request.token, room)
            self._receive(request, claims)
            if not (claims.tasks or claims.passed):
                return
            # What was claimed runs first, as above.
            gevent.sleep(PRESSED if self._backpressure.is_high else 0)
            if claims.left:
                return

    def _claim(self, room: int) -> Claims:
        is_again = self._unanswered is not None
        request = self._unanswered = self._unanswered or _Request(self.next_token(), is_take=False)
        with self._link.guard():
            was_filled = self._nudges.look()
            claims = self._store.claim(request.token, room, insist=self._insists, again=is_again)
        if was_filled and len(claims.tasks) + len(claims.passed) >= min(room, BATCH):
            self._nudges.fill()  # There may be more than was asked for.
        self._receive(request, claims)
        return claims

    def _receive(self, request: _Request, claims: Claims) -> None:
        self._unanswered = None
        self._allowance.spend(len(claims.tasks))
        # What comes in now begins no more; the worker hands back all that it holds as it leaves.
        for task in () if self._is_stopping else claims.tasks:
            self._executor.receive(Execution(task.id, request.token, task.name, task.data), claims.waited.get(task.id))
        if any(why == Passed.EARLY for _, why in claims.passed):
            self._early.look()
        for task_id, why in claims.passed:
            level, words = PASSED_OVER[Passed(why)]
            log.log(level, "The id %r from the new queue %s; passed over", task_id, words)
