"""``Watchdog``: which workers give no sign of life, and what to do about it.

A worker has two voices: its loop, and a native thread beside it, which tells how long the loop has been
silent. A blocked loop is named by that thread, and told here when it is too much; of a worker of which both
are silent ``thread_times.py`` tells why, unless it was stopped, or the thread had named before what blocks the loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from pytask_supervisor.host import thread_times
from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import LOADING, WHY_IT_LOADS_LONG

log = logging.getLogger("pytask.supervisor")

#: Seconds without a sign of either voice after which we say so. Below three, a busy machine is taken for a fault.
SILENT_AFTER = 4.0
#: Seconds without such a sign after which we begin to look why: three signs have not come.
LOOKED_AT_AFTER = 1.5
#: Seconds between asking a silent worker for its stack and killing it.
LAST_LOOK = 0.5
#: Seconds beyond the timeout after which a blocked loop is judged here, if the thread does not tell.
MARGIN = 3.0
#: Seconds between two turns of ours beyond which we were away ourselves, and no worker is to blame.
AWAY = 3.0


class Watchdog(Part):
    """``state_of`` tells the kernel's letter for what a process does, such as ``T`` for stopped."""

    def __init__(
        self,
        state: MasterState,
        pool: WorkerPool,
        clock: Callable[[], float] = time.monotonic,
        state_of: Callable[[int], str] | None = None,
        sample: Callable[[int, int | None, float], thread_times.Sample | None] = thread_times.sample,
    ) -> None:
        self._state = state
        self._pool = pool
        self._clock = clock
        self._state_of = state_of or _state_of
        self._sample = sample
        #: What was counted of those that are silent, as that began.
        self._samples: dict[int, thread_times.Sample | None] = {}
        self._turned_at: float | None = None
        self._named: set[int] = set()
        self._asked: dict[int, float] = {}

    def turn(self) -> None:
        """See ``Part``: look at every worker, all that it has said being heard; ``--hang-timeout 0`` kills none."""
        now, before = self._clock(), self._turned_at
        workers = [worker for worker in self._pool.workers if worker.stage is not Stage.KILLED]
        # Without a worker to watch there is nothing to wake for.
        self._turned_at = now if workers else None
        pids = {worker.pid for worker in workers}
        self._named &= pids
        self._asked = {pid: at for pid, at in self._asked.items() if pid in pids}
        self._samples = {worker.pid: self._sample_of(worker) for worker in workers if worker.silence >= LOOKED_AT_AFTER}
        if before is not None and now - before > AWAY:
            log.info("the supervisor itself did not run for %.0f s; no worker is blamed for that time", now - before)
            for worker in workers:
                worker.excuse()
            return
        for worker in workers:
            self._judge(worker, self._state.tried.hang_timeout)

    def _sample_of(self, worker: WorkerHandle) -> thread_times.Sample | None:
        """The first of this silence."""
        if worker.pid not in self._samples:
            return self._sample(worker.pid, worker.thread, self._clock())
        return self._samples[worker.pid]

    def _judge(self, worker: WorkerHandle, timeout: float) -> None:
        if worker.silence < SILENT_AFTER:
            if worker.pid in self._named:
                self._named.discard(worker.pid)
                log.info("%s gives signs of life again", worker)
            self._asked.pop(worker.pid, None)
        else:
            self._name(worker, timeout)
        if not timeout:
            return
        if worker.hung is not None:
            self._kill(worker, worker.hung)
        elif worker.silence >= timeout:
            self._kill_silent(worker)
        elif worker.loop_silence >= timeout + MARGIN:
            self._kill(worker, worker.blocked or "its loop was blocked, and what blocked it is not known")
        elif worker.worker_id is None and worker.uptime >= LOADING * timeout:
            self._kill(worker, f"it was loading the app for {worker.uptime:.0f} s; {WHY_IT_LOADS_LONG}")

    def _name(self, worker: WorkerHandle, timeout: float) -> None:
        if worker.pid in self._named:
            return
        self._named.add(worker.pid)
        then = f"it is killed after {timeout:g} s" if timeout else "nothing is done, since --hang-timeout is 0"
        log.warning("%s has given no sign of life for %.0f s: %s; %s", worker, worker.silence, self._why(worker), then)
        # At once, and not only before the kill: with --hang-timeout 0 there is none.
        if self._state_of(worker.pid) != "T":
            worker.ask_for_stack()

    def _kill_silent(self, worker: WorkerHandle) -> None:
        why = self._why(worker)
        if self._state_of(worker.pid) == "T":
            worker.culprit = ""  # The one that stopped it is to blame, not a task.
        else:
            # Its thread cannot speak, but its signal handler can: it writes the stack where it stands.
            if worker.pid not in self._asked:
                self._asked[worker.pid] = self._clock()
                worker.ask_for_stack()
            if self._clock() < self._asked[worker.pid] + LAST_LOOK:
                return
        self._kill(worker, why)

    def _kill(self, worker: WorkerHandle, why: str) -> None:
        log.warning("%s hangs and is killed: %s", worker, why)
        worker.kill(Cause(Kind.HANG, f"hung and was killed: {why}"))

    def _why(self, worker: WorkerHandle) -> str:
        if self._state_of(worker.pid) == "T":
            return "it is stopped (SIGSTOP, or a debugger)"
        if worker.blocked:
            return worker.blocked
        now = self._sample(worker.pid, worker.thread, self._clock())
        return thread_times.explain(self._samples.get(worker.pid), now)


def _state_of(pid: int) -> str:
    """From ``/proc``; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]
