"""``hear``: takes signals for a while and gives them back after it, also in a forked process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import gevent

from .forks import forks


@contextmanager
def hear(signals: Sequence[int], call: Callable[[], object]) -> Iterator[None]:
    """Have signals call a function in the loop.

    Args:
        signals: their numbers.
        call: takes no arguments.
    """
    watchers = {number: gevent.signal_handler(number, call) for number in signals}

    def give_back() -> None:
        for number, watcher in watchers.items():
            watcher.cancel()
            # The loop has left the default there. What Python thinks is what the user has set.
            handler = signal.getsignal(number)
            if handler is not None:
                with suppress(ValueError):  # in another thread than the main one
                    signal.signal(number, handler)

    with forks.life(give_back):
        try:
            yield
        finally:
            give_back()
