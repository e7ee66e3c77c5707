"""``Sums``: writes the first of many similar log lines, and counts the rest in one line.

``logs`` asks it for each line of ours. A producer of tasks can make a worker log the same line for a million ids.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

from pytask_supervisor.shared.shown import is_ours, message_of

#: Lines of one kind in one period. More: each line of a storm can be read. Fewer: the log is smaller, and other lines
#: are found.
MOST_ALIKE = 200
#: Seconds in one period. Longer: fewer lines in a long storm. Shorter: the count is reported sooner.
PERIOD = 10.0


@dataclass
class _Kind:
    since: float
    written: int = 0
    left_out: int = 0
    last: logging.LogRecord | None = None


class Sums:
    """Lines are of one kind if one logger writes them from one template."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def takes(self, record: logging.LogRecord) -> bool:
        """Whether to write it; otherwise it is counted."""
        # Text that is only passed on, such as the stacks that an operator asked for, always goes out.
        if not is_ours(record) or record.msg == "%s":
            return True
        now = self._clock()
        kind = self._kinds.setdefault((record.name, str(record.msg)), _Kind(now))
        if now - kind.since >= PERIOD and not kind.left_out:
            kind.since, kind.written = now, 0
        if kind.written < MOST_ALIKE:
            kind.written += 1
            return True
        kind.left_out += 1
        kind.last = record
        return False

    def due(self, *, at_once: bool = False) -> list[logging.LogRecord]:
        """A line for each kind of which lines were left out in a period that is over; ``at_once``: of all kinds."""
        now, found = self._clock(), []
        for kind in self._kinds.values():
            if kind.left_out and kind.last and (at_once or now - kind.since >= PERIOD):
                found.append(_summed(kind.last, kind.left_out))
                kind.since, kind.written, kind.left_out, kind.last = now, 0, 0, None
        return found


def _summed(last: logging.LogRecord, count: int) -> logging.LogRecord:
    summed = copy(last)
    summed.msg, summed.args = "%d more lines like this one were left out: %s", (count, message_of(last))
    summed.exc_info = summed.exc_text = summed.stack_info = None
    return summed
