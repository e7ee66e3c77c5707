"""``Backpressure``: has a worker claim less while its loop is late or its memory is nearly full."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import gevent

from ...process.news import News
from ...process.service import Service

log = logging.getLogger("pytask.pressure")

#: Seconds between two measurements. Shorter follows the load sooner, longer wakes an idle worker less.
INTERVAL = 0.25

#: Seconds by which the loop is late when a worker begins to claim less, and below which it claims as before. Every task
#: waits so long for each of its turns. Lower keeps tasks prompt, higher bears more load.
HIGH, LOW = 0.5, 0.25

#: Seconds that it lasts before it is said: a moment of it tells an operator nothing.
SAID_AFTER = 5.0


class Backpressure(Service):
    """One for each worker.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: Seconds by which the loop was late when it was last measured.
        self.lag = 0.0
        self._late_since: float | None = None
        self._memory = ""
        self._news = News()

    @property
    def is_high(self) -> bool:
        """Whether to claim one task at a time."""
        return self._late_since is not None or bool(self._memory)

    def turn(self) -> None:
        """Measure once."""
        before = self._clock()
        gevent.sleep(INTERVAL)
        self.measured(self._clock() - before - INTERVAL)

    def measured(self, lag: float) -> None:
        """The loop was late by so many seconds."""
        self.lag, now = max(0.0, lag), self._clock()
        if self.lag < LOW:
            self._late_since = None
        elif self.lag >= HIGH and self._late_since is None:
            self._late_since = now
        if self._late_since is not None and now - self._late_since >= SAID_AFTER:
            self._say("loop", f"its loop is {self.lag:.1f} s late: tasks here compute for long without giving way")

    def memory(self, words: str) -> None:
        """Memory is nearly used up, as the words say; empty: it is not."""
        self._memory = words
        if words:
            self._say("memory", words)

    def _say(self, what: str, words: str) -> None:
        if self._news.is_news(what):
            log.warning("This worker claims one task at a time for now, since %s. (Said once.)", words)
