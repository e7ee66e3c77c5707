"""``Nudges``: has a worker look into its inbox at once when another one has put ids there.

Idle, a worker is blocked on the new queue, and would look only when that take is over. Pub/sub says that there is
something, and the take is cut short. A nudge that gets lost costs the rest of the take, a second at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent

from .greenlets import once

#: Seconds until a take that was perhaps still on its way to the server is cut short again; then twice as long.
PAUSE = 0.002


class Nudges:
    """What the control listener hears and the claimer asks.

    Args:
        cut_short: ends the take that is under way, if it waits; returns False where the server does not let us.
    """

    def __init__(self, cut_short: Callable[[], bool]) -> None:
        self._cut_short = cut_short
        self._is_taking = False
        self._waking: gevent.Greenlet | None = None
        #: Something came into the inbox since the claimer has begun to look there last.
        self.is_filled = False

    def fill(self) -> None:
        """Something has come into the inbox; returns at once."""
        self.is_filled = True
        if self._is_taking and (self._waking is None or self._waking.ready()):
            self._waking = once(self._wake)

    @contextmanager
    def taking(self) -> Iterator[None]:
        """While a take is under way, cut it short when something comes."""
        self._is_taking = True
        try:
            yield
        finally:
            self._is_taking = False

    def close(self) -> None:
        """Wake nobody any more."""
        if self._waking is not None:
            self._waking.kill()

    def _wake(self) -> None:
        pause = PAUSE
        while self.is_filled and self._is_taking and self._cut_short():
            gevent.sleep(pause)
            pause *= 2
