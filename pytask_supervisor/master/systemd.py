"""``SystemdNotifier``: tells the service manager how the supervisor is.

The supervisor gives it a turn in each turn of its own. It says that all is well only while some worker could run a
task: a master that lives, and none of whose workers answers, is restarted by the watchdog as one that hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pytask_supervisor.host.sd_notify import Notify
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.reloads import Reloads
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.logs import counted

#: Seconds without a sign of life, two of which come each second, after which a worker counts for nothing. Longer: a
#: busy machine is taken for a sick one less often. Shorter: the watchdog bites sooner.
FRESH = 5.0
#: While we start or stop, the service manager is told every so many seconds to wait so many more: what takes long is
#: bounded by us, by the graceful timeout.
EXTEND_EVERY, EXTEND_BY = 5.0, 15.0
#: Seconds between two words on how many tasks run. Shorter: fresher. Longer: less noise.
STATUS_EVERY = 1.0


class SystemdNotifier(Part):
    """Says what has changed, and the watchdog's word in time."""

    def __init__(
        self,
        notify: Notify,
        state: MasterState,
        pool: WorkerPool,
        reloads: Reloads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notify = notify
        self._state = state
        self._pool = pool
        self._reloads = reloads
        self._clock = clock
        #: How many reloads were told.
        self._reloads_told = 0
        self._is_ready = False
        self._is_stopping = False
        self._is_reloading = False
        self._status = ""
        self._status_due = self._extend_due = self._watchdog_due = 0.0

    @property
    def deadline(self) -> float | None:
        """See ``Part``."""
        if not self._notify.is_wanted:
            return None
        due = []
        if self._is_stopping or not self._is_ready:
            due.append(self._extend_due)
        if self._notify.watchdog is not None and self._is_ready:
            due.append(self._watchdog_due)
        return min(due, default=None)

    def turn(self) -> None:
        """See ``Part``: tell what is new."""
        if not self._notify.is_wanted:
            return
        if self._state.is_stopping and not self._is_stopping:
            self._is_stopping, self._extend_due = True, 0.0
            self._notify.send("STOPPING=1")
        elif not self._is_ready and not self._is_stopping and self._pool.slots and self._pool.is_whole:
            self._is_ready = True
            self._notify.send("READY=1")
        self._tell_reload()
        self._tell_status()
        self._extend()
        self._feed_watchdog()

    def _tell_reload(self) -> None:
        """That one was asked for, and that it is over."""
        is_new, self._reloads_told = self._reloads.count != self._reloads_told, self._reloads.count
        if is_new and self._is_ready and not self._is_stopping:
            self._is_reloading = True
            # The time, by which systemd knows that it is its own SIGHUP that we answer.
            self._notify.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")
            self._status = "reloading"
        if self._is_reloading and not self._is_stopping and not self._reloads.is_under_way:
            self._is_reloading = False
            self._notify.send("READY=1")

    def _tell_status(self) -> None:
        now = self._clock()
        status = self._describe()
        if status != self._status and (now >= self._status_due or self._is_stopping):
            self._status, self._status_due = status, now + STATUS_EVERY
            self._notify.send(f"STATUS={status}")

    def _describe(self) -> str:
        pool = self._pool
        running = counted(sum(worker.running for worker in pool.workers), "task")
        if self._is_stopping:
            return f"stopping: {counted(len(pool.workers), 'worker')} left, {running} running"
        doing = "reloading: " if self._is_reloading else ""
        return f"{doing}{len(pool.ready)} of {counted(pool.size, 'worker')} ready, {running} running"

    def _extend(self) -> None:
        now = self._clock()
        if (self._is_stopping or not self._is_ready) and now >= self._extend_due:
            self._extend_due = now + EXTEND_EVERY
            self._notify.send(f"EXTEND_TIMEOUT_USEC={int(EXTEND_BY * 1e6)}")

    def _feed_watchdog(self) -> None:
        now = self._clock()
        if self._notify.watchdog is None or now < self._watchdog_due:
            return
        self._watchdog_due = now + self._notify.watchdog / 3
        if self._is_stopping or any(worker.silence + worker.loop_silence < FRESH for worker in self._pool.ready):
            self._notify.send("WATCHDOG=1")
