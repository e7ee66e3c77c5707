"""``ProcessStats``: the figures in a beat: tasks held, how late the loop is, memory used."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psutil

from pytask_supervisor.shared.logs import dropped_lines

if TYPE_CHECKING:
    from pytask_core.worker.worker import Worker

log = logging.getLogger("pytask.supervisor")

#: Seconds between two measurements of the memory, which takes the kernel some milliseconds for a
#: large process. Shorter: growth is seen sooner. Longer: it costs less.
MEMORY_EVERY = 2.0
#: The part of ``--max-memory`` from which on a worker claims less. Below nine tenths, where the first are replaced.
NEAR = 0.85


class ProcessStats:
    """Measures between two beats. One for each worker's life.

    ``max_memory``: bytes at which the worker is replaced, 0 for no limit; near it, it is to claim less.
    """

    def __init__(self, worker: Worker, max_memory: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker = worker
        self._max_memory = max_memory
        self._clock = clock
        self._process = _this_process()
        self._rss = 0
        self._memory = 0
        self._memory_at = float("-inf")
        self._before = clock()
        self._done_before = 0
        self._cpu_before = time.process_time()
        self._cpu_told = 0.0
        self._dropped_told = dropped_lines()

    def read(self) -> dict[str, Any]:
        """The figures as they are now.

        ``at``: when, on the clock that all processes share. ``running``, ``done``: tasks;
        ``spent``: whether it has begun all that it may; ``names``: those that run,
        by name; ``rate``: those that ended a second. ``lag``: seconds that the loop is late. ``memory``: PSS in bytes,
        where what is shared with other workers counts in part; ``rss``: bytes. ``cpu``: share of one. ``up``: Redis is
        reached.
        """
        now, cpu, done = self._clock(), time.process_time(), self._worker.done
        if now >= self._memory_at + MEMORY_EVERY:
            self._measure()
            self._memory_at = now
            self._worker.backpressure.memory(self._nearness())
        elapsed = max(now - self._before, 0.001)
        figures = {
            "at": now,
            "running": self._worker.running,
            "spent": self._worker.allowance.is_spent,
            "done": done,
            "names": self._worker.running_by_name,
            "rate": round((done - self._done_before) / elapsed, 2),
            "lag": round(self._worker.backpressure.lag, 4),
            "memory": self._memory,
            "rss": self._rss,
            "cpu": round((cpu - self._cpu_before) / elapsed, 4),
            "up": self._worker.link.up,
        }
        self._done_before, self._cpu_before = done, cpu
        self._before = now
        return figures

    def _measure(self) -> None:
        if self._process is None:
            return
        try:
            self._memory, self._rss = _memory(self._process), self._process.memory_info().rss
        except (psutil.Error, OSError):
            return  # The next time will do: perhaps no descriptor is free.

    def _nearness(self) -> str:
        if not self._max_memory or self._memory < NEAR * self._max_memory:
            return ""
        return f"its memory is {self._memory >> 20} MiB, near the {self._max_memory >> 20} MiB of --max-memory"

    def take(self) -> dict[str, Any]:
        """What was done since this was called last, for the sums; ``cpu`` in seconds, ``dropped`` in lines."""
        cpu, dropped = time.process_time(), dropped_lines()
        spent, self._cpu_told = cpu - self._cpu_told, cpu
        lost, self._dropped_told = dropped - self._dropped_told, dropped
        return {"cpu": round(spent, 6), "dropped": lost, **self._worker.stats.take()}


def _this_process() -> psutil.Process | None:
    try:
        return psutil.Process()
    except (psutil.Error, OSError) as error:
        log.warning(
            "the memory of this worker is not known (%s), so it is not replaced for it: is there no /proc?", error
        )
        return None


def _memory(process: psutil.Process) -> int:
    """Bytes; where the kernel does not tell the PSS, the RSS."""
    try:
        return int(process.memory_full_info().pss)
    except (AttributeError, psutil.Error):
        return int(process.memory_info().rss)
