"""``Recycling``: which workers to replace because of their memory, tasks or age."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.rolling import Purpose, Rolling, Wish
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.master.worker_pool import Slot, WorkerPool
from pytask_supervisor.shared.respawn import LONG_RUN, RespawnPolicy

#: A worker's own limits are drawn between so much of what was asked for and all of it, so that workers that
#: were started together are not all due together. Less: they spread more, and are replaced more often.
LEAST_PART = 0.9
#: Seconds within which a worker is over its memory as soon as that counts: beats and measurements come every two.
SOON = 5.0
#: The longest time for which the memory of a worker does not count, its predecessors having needed so much at once.
#: Longer: fewer tasks change hands in vain. Shorter: a leak that is as quick as that is cut short sooner.
LONGEST_GRACE = 600.0


@dataclass(frozen=True)
class Limits:
    """What one worker may reach; 0: no limit."""

    memory: int  #: bytes
    tasks: int
    age: float  #: seconds

    def exceeded_by(self, worker: WorkerHandle) -> str:
        """Why it is to be replaced, in words; empty if it is not."""
        if self.memory and worker.memory >= self.memory:
            return f"its memory is {megabytes(worker.memory)}, and {megabytes(self.memory)} its limit"
        if self.tasks and worker.done >= self.tasks:
            return f"{worker.done} tasks have ended there, and {self.tasks} is its limit"
        if self.tasks and worker.is_spent:
            return f"{worker.done} tasks have ended there, and with those that run it has begun all it may"
        if self.age and worker.uptime >= self.age:
            return f"it is {worker.uptime:.0f} s old, and {self.age:.0f} s is its limit"
        return ""


class Recycling(Part, Purpose):
    """Has each worker that is over its limits replaced: one at a time, the successor first."""

    def __init__(
        self,
        state: MasterState,
        pool: WorkerPool,
        rolling: Rolling,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._state = state
        self._pool = pool
        self._rolling = rolling
        self._tell = tell
        self._clock = clock
        self._jitter = jitter
        self._parts: dict[int, float] = {}
        self._policy = RespawnPolicy(jitter)
        #: After a successor that failed, no worker is replaced before that.
        self._not_before = float("-inf")
        #: Seconds for which the memory of a slot's worker does not count, where that is longer than for others.
        self._graces: dict[int, float] = {}
        #: The limit for which they were found, and whether the log has named it.
        self._max_memory = 0
        self._is_told = False

    def turn(self) -> None:
        """See ``Part``: look at every worker, as its last beat told."""
        config = self._state.tried
        if self._state.is_stopping:
            return
        if not (config.max_memory or config.max_tasks or config.max_age) or self._clock() < self._not_before:
            return
        if config.max_memory != self._max_memory:
            self._max_memory, self._graces, self._is_told = config.max_memory, {}, False
        self._rolling.request(self._wishes(config))

    def _wishes(self, config: SupervisorConfig) -> Iterator[Wish]:
        slots = [slot for slot in self._pool.slots if slot.worker is not None]
        living = {slot.worker.pid for slot in slots if slot.worker}
        self._parts = {pid: part for pid, part in self._parts.items() if pid in living}
        for slot in slots:
            worker = slot.worker
            if worker is None or worker.stage is not Stage.READY or self._rolling.is_requested(slot):
                continue
            part = self._parts.setdefault(worker.pid, LEAST_PART + (1 - LEAST_PART) * self._jitter())
            grace = self._graces.get(slot.slot, LONG_RUN)
            limits = _limits(config, part, worker, grace)
            why = limits.exceeded_by(worker)
            if why:
                if limits.memory and worker.memory >= limits.memory:
                    self._learn(slot, worker, grace)
                cause = Cause(Kind.RECYCLED, f"was recycled: {why}")
                yield Wish(slot, cause, self)

    def _learn(self, slot: Slot, worker: WorkerHandle, grace: float) -> None:
        """Who is over the limit as soon as it counts needs so much, as the successor will: replace it more rarely."""
        if worker.ready_for >= grace + SOON:
            self._graces.pop(slot.slot, None)
            return
        self._graces[slot.slot] = min(2 * grace, LONGEST_GRACE)
        # The first may have had a task that took so much; the second shows that it is the app.
        if grace > LONG_RUN and not self._is_told:
            self._is_told = True
            self._tell(
                f"worker {slot.slot} takes {megabytes(worker.memory)} {worker.ready_for:.0f} s after it was ready, "
                f"and --max-memory is {megabytes(self._max_memory)}: its successor will take as much, so it is "
                "replaced for that ever more rarely; raise --max-memory"
            )

    def successor_ready(self) -> None:
        """See ``Purpose``."""
        self._policy = RespawnPolicy(self._jitter)

    def successor_failed(self, slot: Slot, why: str) -> None:
        """See ``Purpose``."""
        if slot.worker is not None and slot.worker.is_spent:
            # It claims nothing any more, and no successor does in its place.
            slot.worker.channel.send({"carry_on": True})
        pause = self._policy.pause_after(0.0)
        self._not_before = self._clock() + pause
        self._tell(f"worker {slot.slot} is not recycled yet: the new one {why}; again in {pause:.1f} s")


def _limits(config: SupervisorConfig, part: float, worker: WorkerHandle, grace: float) -> Limits:
    memory = 0 if worker.ready_for < grace else int(config.max_memory * part)
    return Limits(memory, math.ceil(config.max_tasks * part), config.max_age * part)


def megabytes(size: int) -> str:
    """In MiB, as an operator reads it."""
    return f"{size / 1024**2:.0f} MiB"
