"""``Allowance``: how many more tasks a worker may begin before it is replaced.

Tasks that have run for long are counted when they end: else a worker full of tasks for ever would be replaced, and its
successor, which gets them all, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..executor import Executor

#: Seconds from the beginning of a task on after which it counts only once it ends. Longer: fewer tasks beyond the
#: limit. Shorter: a worker whose tasks are long is held up for less time.
YOUNG = 10.0

#: More than any pool has room for.
NO_LIMIT = 1_000_000_000


class Allowance:
    """One worker's.

    Args:
        max_tasks: how many tasks may end here; 0: no limit.
        executor: where they run.
        clock: seconds, monotonic.
    """

    def __init__(self, max_tasks: int, executor: Executor, clock: Callable[[], float] = time.monotonic) -> None:
        self._step = self._most = max_tasks
        self._executor = executor
        self._clock = clock
        #: So many are left for sure, since they were counted last.
        self._sure = max_tasks
        self._is_told = False
        #: Called once it is used up: the master, which replaces the worker, should know at once.
        self.on_spent: Callable[[], object] = lambda: None

    @property
    def left(self) -> int:
        """How many more tasks may be claimed now."""
        if not self._step:
            return NO_LIMIT
        if self._sure <= 0:
            self._sure = self._most - self._executor.done - self._young
        return max(0, self._sure)

    @property
    def room(self) -> int:
        """How many of them the worker has room for."""
        return min(self._executor.room, self.left)

    @property
    def is_spent(self) -> bool:
        """Whether the worker is to be replaced; not while most of what it counts still runs, and may run for ever."""
        return bool(self._step) and not self.left and 2 * self._executor.done >= self._most

    def spend(self, count: int) -> None:
        """So many were claimed."""
        self._sure -= count

    def tell(self) -> bool:
        """Tell once that the worker is to be replaced; return whether that was now."""
        if self._is_told or not self.is_spent:
            return False
        self._is_told = True
        self.on_spent()
        return True

    def extend(self) -> None:
        """No successor takes over yet: go on for as many more."""
        self._most = self._executor.done + self._step
        self._sure, self._is_told = 0, False

    @property
    def _young(self) -> int:
        since = self._clock() - YOUNG
        tasks = self._executor.tasks.values()
        return sum(not entry.local and (not entry.began or entry.began > since) for entry in tasks)
