"""``Watchdog``: which workers give no sign of life, and what to do about it.

A child has two voices: its loop, and a native thread beside it, which tells how long the loop has been
silent. A blocked loop is named by that thread, and told here when it is too much; of a child of which both
are silent ``thread_times.py`` tells why, unless it was stopped, or the thread had named before what blocks the loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pytask_supervisor.host import thread_times
from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.shared.exits import LOADING, WHY_IT_LOADS_LONG

log = logging.getLogger("pytask.supervisor")

#: Seconds without a sign of either voice after which we say so. Below three, a busy machine is taken for a fault.
SILENT_AFTER = 4.0
#: Seconds without such a sign after which we begin to look why: three signs have not come.
LOOKED_AT_AFTER = 1.5
#: Seconds between asking a silent child for its stack and killing it.
LAST_LOOK = 0.5
#: Seconds beyond the timeout after which a blocked loop is judged here, if the thread does not tell.
MARGIN = 3.0
#: Seconds between two turns of ours beyond which we were away ourselves, and nobody else is to blame.
AWAY = 3.0


class Watchdog:
    """``state_of`` tells the kernel's letter for what a process does, such as ``T`` for stopped."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        state_of: Callable[[int], str] | None = None,
        sample: Callable[[int, int | None, float], thread_times.Sample | None] = thread_times.sample,
    ) -> None:
        self._clock = clock
        self._state_of = state_of or _state_of
        self._sample = sample
        #: What was counted of those that are silent, as that began.
        self._samples: dict[int, thread_times.Sample | None] = {}
        self._turned_at: float | None = None
        self._named: set[int] = set()
        self._asked: dict[int, float] = {}

    def turn(self, children: Iterable[WorkerHandle], timeout: float) -> None:
        """Look at everybody, all they have said being heard; ``timeout`` 0 kills nobody."""
        now, before = self._clock(), self._turned_at
        children = [child for child in children if child.stage is not Stage.KILLED]
        # Where there is nobody to watch, there is nothing to wake for.
        self._turned_at = now if children else None
        pids = {child.pid for child in children}
        self._named &= pids
        self._asked = {pid: at for pid, at in self._asked.items() if pid in pids}
        self._samples = {child.pid: self._sample_of(child) for child in children if child.silence >= LOOKED_AT_AFTER}
        if before is not None and now - before > AWAY:
            log.info("the supervisor itself did not run for %.0f s; no worker is blamed for that time", now - before)
            for child in children:
                child.excuse()
            return
        for child in children:
            self._judge(child, timeout)

    def _sample_of(self, child: WorkerHandle) -> thread_times.Sample | None:
        """The first of this silence."""
        if child.pid not in self._samples:
            return self._sample(child.pid, child.thread, self._clock())
        return self._samples[child.pid]

    def _judge(self, child: WorkerHandle, timeout: float) -> None:
        if child.silence < SILENT_AFTER:
            if child.pid in self._named:
                self._named.discard(child.pid)
                log.info("%s gives signs of life again", child)
            self._asked.pop(child.pid, None)
        else:
            self._name(child, timeout)
        if not timeout:
            return
        if child.hung is not None:
            self._kill(child, child.hung)
        elif child.silence >= timeout:
            self._kill_silent(child)
        elif child.loop_silence >= timeout + MARGIN:
            self._kill(child, child.blocked or "its loop was blocked, and what blocked it is not known")
        elif child.worker_id is None and child.uptime >= LOADING * timeout:
            self._kill(child, f"it was loading the app for {child.uptime:.0f} s; {WHY_IT_LOADS_LONG}")

    def _name(self, child: WorkerHandle, timeout: float) -> None:
        if child.pid in self._named:
            return
        self._named.add(child.pid)
        then = f"it is killed after {timeout:g} s" if timeout else "nothing is done, since --hang-timeout is 0"
        log.warning("%s has given no sign of life for %.0f s: %s; %s", child, child.silence, self._why(child), then)
        # At once, and not only before the kill: with --hang-timeout 0 there is none.
        if self._state_of(child.pid) != "T":
            child.ask_for_stack()

    def _kill_silent(self, child: WorkerHandle) -> None:
        why = self._why(child)
        if self._state_of(child.pid) == "T":
            child.culprit = ""  # The one that stopped it is to blame, not a task.
        else:
            # Its thread cannot speak, but its signal handler can: it writes the stack where it stands.
            if child.pid not in self._asked:
                self._asked[child.pid] = self._clock()
                child.ask_for_stack()
            if self._clock() < self._asked[child.pid] + LAST_LOOK:
                return
        self._kill(child, why)

    def _kill(self, child: WorkerHandle, why: str) -> None:
        log.warning("%s hangs and is killed: %s", child, why)
        child.kill(Cause(Kind.HANG, f"hung and was killed: {why}"))

    def _why(self, child: WorkerHandle) -> str:
        if self._state_of(child.pid) == "T":
            return "it is stopped (SIGSTOP, or a debugger)"
        if child.blocked:
            return child.blocked
        return thread_times.explain(self._samples.get(child.pid), self._sample(child.pid, child.thread, self._clock()))


def _state_of(pid: int) -> str:
    """From ``/proc``; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]
