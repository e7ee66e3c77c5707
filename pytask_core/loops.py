"""Loops and pauses: ``run_loop`` for users, ``Backoff`` for code that waits for Redis."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import gevent


def run_loop(function: Callable[[], object], interval: float) -> None:
    """Call ``function`` every ``interval`` seconds, for ever.

    Calls are due at fixed times after the first, so late ones do not add up to a drift. A call that takes longer than
    the interval is followed by the next at once; calls that were missed meanwhile are not made up for.

    Args:
        function: called without arguments. What it raises ends the loop and reaches the caller.
        interval: seconds from the beginning of one call to the next; 0 or more.
    """
    due = time.monotonic()
    while True:
        function()
        due += interval
        pause = due - time.monotonic()
        if pause < 0:
            due -= pause
            pause = 0
        gevent.sleep(pause)


class Backoff:
    """Growing pauses with jitter, so that many workers do not knock in step.

    Args:
        first: the first pause, in seconds.
        most: the longest pause, in seconds. Shorter finds Redis back sooner, longer spares it while it starts.
        rand: gives numbers in [0, 1).
    """

    def __init__(
        self,
        first: float = 0.05,
        most: float = 1.0,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._most = most
        self._rand = rand
        self._next = first

    def pause(self) -> float:
        """Return the next pause, in seconds: between half of the planned one and all of it."""
        pause = self._next * (0.5 + self._rand() / 2)
        self._next = min(self._next * 2, self._most)
        return pause

    def reset(self) -> None:
        """Begin again with the first pause."""
        self._next = self._first
