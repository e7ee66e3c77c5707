"""``MasterStats``: what all workers have done since the master started. Pure: messages in, sums out.

Workers tell what they did since they told last, so a worker that dies takes nothing back, and no sum
ever gets smaller. What it did in its last second may be missing.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pytask_core.states import FINAL, TaskState

#: Names that are told apart, whatever workers say; the rest counts as ``OTHER``, as it does in a worker.
MOST_NAMES = 200
#: Upper bounds in one histogram; the rest counts as infinity.
MOST_BOUNDS = 40
OTHER = "other"

#: In which a run ends.
STATES = tuple(state.value for state in TaskState if state in FINAL or state is TaskState.STOPPED)


@dataclass
class SummedTimes:
    """Times by their size: how many were above the bound before and not above this one; seconds."""

    counts: Counter[float] = field(default_factory=Counter)
    sum: float = 0.0

    def add(self, told: dict[str, Any]) -> None:
        """Add what a worker tells."""
        self.sum += told["sum"]
        for text, count in told["counts"].items():
            bound = float(text)
            known = bound in self.counts or len(self.counts) < MOST_BOUNDS
            self.counts[bound if known else math.inf] += count

    def buckets(self) -> list[tuple[float, int]]:
        """Bounds and how many were not above each, in order; the last bound is infinity."""
        found, total = [], 0
        for bound in sorted({*self.counts, math.inf}):
            total += self.counts[bound]
            found.append((bound, total))
        return found


@dataclass
class SumsOfName:
    """The sums for one task name."""

    ended: Counter[str] = field(default_factory=Counter)
    run: SummedTimes = field(default_factory=SummedTimes)
    queue: SummedTimes = field(default_factory=SummedTimes)


class MasterStats:
    """The sums, and the last word on the queues."""

    def __init__(self) -> None:
        self.names: dict[str, SumsOfName] = {}
        self.claimed = 0
        #: Seconds of CPU.
        self.cpu = 0.0
        #: Lines, logged or printed, that could not be written.
        self.dropped = 0
        #: How many ids wait (``new``), are ``active``, have ended (``end``) and, where there are some, are ``parked``;
        #: empty until a worker has counted.
        self.queues: dict[str, int] = {}

    def add(self, told: dict[str, Any]) -> None:
        """Add what a worker tells: ``messages.TALLY``."""
        self.claimed += told["claimed"]
        self.cpu += told["cpu"]
        self.dropped += told.get("dropped", 0)
        for name, one in told["tasks"].items():
            sums = self._of(name)
            for state in STATES:
                sums.ended[state] += one["ended"].get(state, 0)
            sums.run.add(one["run"])
            sums.queue.add(one["queue"])

    def ended(self) -> dict[str, int]:
        """How many tasks ended in each state."""
        return {state: sum(one.ended[state] for one in self.names.values()) for state in STATES}

    def _of(self, name: str) -> SumsOfName:
        if name not in self.names and len(self.names) >= MOST_NAMES:
            name = OTHER
        return self.names.setdefault(name, SumsOfName())
