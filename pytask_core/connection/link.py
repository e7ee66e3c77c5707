"""Whether Redis can be reached: one answer and one prober for all parts of a worker.

Rooms wrap what they send in :meth:`RedisLink.guard`, and have their turns by :meth:`RedisLink.serve`, which waits for
Redis before each and sees to what goes wrong.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import gevent
from gevent.event import Event

from ..loops import Backoff
from ..process.greenlets import keep, once
from ..process.news import News
from . import denied, is_answer, is_full, outage, shortage
from .complaints import PAUSE, Complaints

log = logging.getLogger("pytask.link")


#: Seconds for which Redis must have been well before a further loss is news. Longer says less of a link that comes and
#: goes.
SETTLED = 10.0

#: Seconds between tries while we lack something ourselves.
LACKING = 0.25

Found = TypeVar("Found")


class Unreachable(Exception):  # noqa: N818 - it is a state of affairs
    """Redis cannot be reached now. Caught by the rooms; never reaches users."""


class ServerError(Exception):
    """Redis answers with an error: other data stands where ours should. Caught by the rooms."""


class RedisLink:
    """The worker's view of its server.

    Args:
        where: names the server in the log.
        probe: asks the server whether it can serve us, and raises if not.
        grace: tells the seconds that tasks run on while it is away; for the log.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        where: str,
        probe: Callable[[], object],
        grace: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._where = where
        self._probe = probe
        self._grace = grace
        self._clock = clock
        self._up = Event()
        self._since = 0.0
        self._prober: gevent.Greenlet | None = None
        #: When it was last back.
        self._returned: float | None = None
        #: How often in a row it was lost again soon after it was back.
        self._relapses = 0
        #: Whether it is expected to come and go, which is not said then.
        self._fitful = False
        #: When we were last found to lack something ourselves.
        self._lacked = float("-inf")
        #: The reasons that were said, in short.
        self._said = News()
        #: Called each time that Redis is back, each in a greenlet of its own.
        self.on_back: list[Callable[[], object]] = []

    @property
    def up(self) -> bool:
        """Whether Redis could be reached at the last try."""
        return bool(self._up.is_set())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until Redis can be reached, for ``timeout`` seconds at most; return whether it can."""
        return bool(self._up.wait(timeout))

    def begin(self) -> None:
        """Redis answered at start."""
        self._since = self._clock()
        self._up.set()

    @contextmanager
    def guard(self, *, tell: bool = True) -> Iterator[None]:
        """Run one exchange with Redis.

        Args:
            tell: whether its failure means that Redis is away for all. False: for what is done aside, and then a right
                that is missing is an answer.

        Raises:
            Unreachable: Redis could not serve it, or we lack what it takes to ask.
            ServerError: Redis answered with an error. Everything else passes as it is.
        """
        began = self._clock()
        try:
            yield
        except Exception as error:
            lack = shortage(error)
            if lack is not None:
                self._tell_lack(lack)
                gevent.sleep(LACKING)  # a second try at once would find the same
                raise Unreachable(lack) from error
            why = outage(error)
            if why is None or (not tell and denied(error)):
                if is_answer(error):
                    raise ServerError(why or str(error)) from error
                raise
            # An exchange that began before Redis was last found well says nothing about now.
            if tell and self.up and began >= self._since:
                # Who has a connection goes on, and who opens one is refused: it comes and goes from the first time on.
                self._lose(why, fitful=is_full(error))
            raise Unreachable(why) from error

    def serve(
        self,
        turn: Callable[[], object],
        complaints: Complaints,
        *,
        wait_for_work: Callable[[], object] = lambda: None,
        is_over: Callable[[], object] = lambda: False,
        pause: float = PAUSE,
    ) -> None:
        """Have one turn after another, each once there is something to do and Redis can be reached.

        Args:
            turn: some exchanges, each in :meth:`guard`.
            complaints: what is said of a turn that fails.
            wait_for_work: returns once there is something to do.
            is_over: whether to return instead of having another turn.
            pause: seconds after a turn that failed though Redis could be reached.
        """
        while not is_over():
            wait_for_work()
            self.wait()
            self.attempt(turn, complaints, pause)

    def insist(self, turn: Callable[[], Found], complaints: Complaints) -> Found:
        """Have one turn again and again, until it goes well; return what it has returned."""
        found: list[Found] = []
        self.wait()
        while not self.attempt(lambda: found.append(turn()), complaints):
            self.wait()
        return found[0]

    def attempt(self, turn: Callable[[], object], complaints: Complaints, pause: float = PAUSE) -> bool:
        """Have one turn; return whether it went well. Arguments as of :meth:`serve`."""
        try:
            turn()
        except Unreachable:
            return False  # it is said already, and the next turn waits
        except ServerError as error:
            complaints.rejects(error)
        except Exception:  # noqa: BLE001 - it is told, or raised again
            complaints.fails()
        else:
            complaints.over()
            return True
        gevent.sleep(pause)
        return False

    def _tell_lack(self, lack: str) -> None:
        """Redis is not away: who has a connection goes on, and who has none waits for what we lack ourselves."""
        now = self._clock()
        if now - self._lacked > SETTLED:
            log.error("What needs another connection to Redis waits: %s. Some task may hold them all", lack)
        self._lacked = now

    def _lose(self, why: str, *, fitful: bool) -> None:
        now = self._clock()
        is_relapse = self._returned is not None and now - self._returned < SETTLED
        if not is_relapse:
            self._said.over()
        self._relapses = self._relapses + 1 if is_relapse else 0
        was_fitful = self._fitful and is_relapse
        self._fitful = fitful or is_relapse
        self._up.clear()
        self._since = now
        self._tell_loss(why, is_news=self._fitful and not was_fitful)
        if self._prober is not None:
            self._prober.kill(block=False)  # it waits to say that all is well
        self._prober = keep(self._knock)

    def _tell_loss(self, why: str, *, is_news: bool) -> None:
        """Say so once for each reason, until it has been well for :data:`SETTLED`."""
        is_news = self._said.is_news(_kind(why)) or is_news
        log.log(
            logging.WARNING if is_news else logging.DEBUG,
            "Redis at %s is away%s%s: %s. Tasks run on for %g s, then they are stopped; trying to reach it",
            self._where,
            " again" if self._relapses else "",
            ", and that it comes and goes is not said any more" if self._fitful else "",
            why,
            self._grace(),
        )

    def _knock(self) -> None:
        backoff = Backoff()
        while True:
            gevent.sleep(backoff.pause())
            try:
                self._probe()
            except Exception as error:  # noqa: BLE001 - it is told
                self._tell_answer(error)
                continue
            break
        away = self._clock() - self._since
        self._since = self._returned = self._clock()
        if not self._fitful:
            log.warning("Redis at %s is back after %.1f s", self._where, away)
        self._up.set()
        for call in self.on_back:
            once(call)
        if self._fitful:
            self._settle(self._since)

    def _tell_answer(self, error: Exception) -> None:
        why = outage(error)
        if why is None:
            log.exception("Redis at %s gives an answer that was not expected", self._where)
        elif is_answer(error) and self._said.is_news(_kind(why)):
            # It went without an error, and now there is one: that is what an operator has to mend.
            log.warning("Redis at %s answers again, but does not serve us: %s", self._where, why)

    def _settle(self, since: float) -> None:
        """Say that it is well again, once it has been so for a while."""
        gevent.sleep(SETTLED)
        if self.up and self._since == since:
            times = f"{self._relapses + 1} times" if self._relapses else "once"
            log.warning("Redis at %s is well again; it had come and gone %s", self._where, times)

    def close(self) -> None:
        """Stop probing."""
        if self._prober is not None:
            self._prober.kill()


def _kind(why: str) -> str:
    """What an outage is, without the server's own words, which differ from script to script."""
    return why.partition(" (")[0]
