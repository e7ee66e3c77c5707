"""The one polling loop of the tests: wait for a condition, never for a span of time.

Called by tests and by the other rooms of ``tests.support``. Works the same in a process that
gevent has patched, since ``time.sleep`` then yields to the hub.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T],
    timeout: float = 10.0,
    message: str = "",
    interval: float = 0.01,
) -> T:
    """Call ``predicate`` until it returns something true, and return that.

    ``timeout`` and ``interval`` are seconds. ``message`` says what was waited for. Raises
    ``AssertionError`` with the message and the last value once the time is over; what the
    predicate itself raises goes through at once.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            waited_for = message or getattr(predicate, "__name__", "the condition")
            raise AssertionError(f"waited {timeout:g} s in vain for: {waited_for} (last value: {value!r})")
        time.sleep(interval)
