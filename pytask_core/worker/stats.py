"""``WorkerStats``: counts what a worker has done since its last report, for metrics.

Plain counters, no clock, no Redis. The claimer and the executor count, and each report takes the sums away. Sums
since the last time, and not since the start, so that their sum over all workers never falls when one dies.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..middleware import Middleware

if TYPE_CHECKING:
    from .execution import Execution

#: Upper bounds in seconds. Tasks may take a millisecond or an hour. More would tell finer, and each costs a time series
#: for each name.
BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

#: Names that are told apart. More tells more, and costs time series; the rest counts as ``OTHER``.
MOST_NAMES = 100

#: Where the names beyond that are counted, and names that no class has.
OTHER = "other"


class Histogram:
    """Times by their size."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def as_json(self, whole: bool) -> dict[str, Any]:
        """Counts by upper bound, each without those below it; ``whole``: the empty ones too."""
        counts = zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True)
        return {"sum": round(self.sum, 6), "counts": {bound: n for bound, n in counts if n or whole}}


@dataclass(slots=True, eq=False)
class _OfName:
    """What is counted for one name."""

    ended: dict[str, int] = field(default_factory=dict)
    run: Histogram = field(default_factory=Histogram)
    queue: Histogram = field(default_factory=Histogram)


class WorkerStats(Middleware):
    """The counters of one worker.

    Args:
        known: the names of its task classes. Anybody can write any name to Redis, so others are not told apart.
    """

    def __init__(self, known: Container[str]) -> None:
        self._known = known
        self._told_apart: set[str] = set()
        self._told_before: set[str | None] = set()
        self._names: dict[str | None, _OfName] = {}
        self._claimed = 0

    def on_claim(self, execution: Execution, waited: float | None) -> None:
        """Count it."""
        self.claimed(execution.name, waited)

    def on_settled(self, execution: Execution, state: str | None) -> None:
        """Count it, if it has ended or stopped here."""
        if state is not None:
            self.ended(execution.name, state, execution.took)

    def claimed(self, name: str | None, waited: float | None) -> None:
        """Count a claimed task, which has waited so many seconds, if that is known."""
        self._claimed += 1
        if waited is not None:
            found = self._names.get(name) or self._of(name)
            found.queue.add(waited)

    def ended(self, name: str | None, state: str, seconds: float | None) -> None:
        """Count a task that is now in a state, after it has run for so many seconds, if it came to its end."""
        found = self._names.get(name) or self._of(name)
        found.ended[state] = found.ended.get(state, 0) + 1
        if seconds is not None:
            found.run.add(seconds)

    def by_name(self, names: Iterable[str | None]) -> dict[str, int]:
        """How often each name stands there, in the same bounds."""
        counts: dict[str, int] = {}
        for name, count in Counter(names).items():
            label = self._label(name)
            counts[label] = counts.get(label, 0) + count
        return counts

    def take(self) -> dict[str, Any]:
        """Return what was counted since the last time, for JSON, and begin anew."""
        names, self._names = self._names, {}
        claimed, self._claimed = self._claimed, 0
        tasks = {name: self._told(name, found) for name, found in names.items()}
        self._told_before.update(tasks)
        return {"claimed": claimed, "tasks": tasks}

    def _told(self, name: str | None, found: _OfName) -> dict[str, Any]:
        # Whole the first time, so that whoever adds up knows all the bounds.
        whole = name not in self._told_before
        return {"ended": found.ended, "run": found.run.as_json(whole), "queue": found.queue.as_json(whole)}

    def _of(self, name: str | None) -> _OfName:
        label = self._label(name)
        found = self._names.get(label)
        if found is None:
            found = self._names[label] = _OfName()
        return found

    def _label(self, name: str | None) -> str:
        if name in self._told_apart:
            return str(name)
        if name is None or name not in self._known or len(self._told_apart) >= MOST_NAMES:
            return OTHER
        self._told_apart.add(name)
        return name
