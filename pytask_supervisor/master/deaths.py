"""``Deaths``: what a worker's end means: nothing, a successor, or the end of the supervisor."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from pytask_supervisor.host.oom import OomCounter
from pytask_supervisor.master.death_log import Cause, Death, DeathLog, Kind
from pytask_supervisor.master.handback import Handback
from pytask_supervisor.master.rolling import Roll
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.master.worker_pool import Slot, WorkerPool
from pytask_supervisor.shared.exits import Exit, explain
from pytask_supervisor.shared.logs import counted
from pytask_supervisor.shared.respawn import DEATHS_TO_GIVE_UP, LONG_RUN

log = logging.getLogger("pytask.supervisor")

#: Exit codes of a child that another try would not change.
FATAL = (Exit.LOAD, Exit.REFUSED)
#: Seconds after the first failed boot of a place until the next one: by then the others' have told whether it is all.
UNTIL_OTHERS_TELL = 3.0
#: How often in a row the same quick end of a place is told.
MOST_TOLD = 3


@dataclass(frozen=True)
class Verdict:
    """Why the supervisor cannot go on."""

    code: Exit
    sentence: str


class Deaths:
    """Buries children and writes them into the ledger; the supervisor reaps them and acts on the verdict."""

    def __init__(
        self,
        pool: WorkerPool,
        orders: Handback,
        roll: Roll,
        death_log: DeathLog,
        oom: OomCounter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._orders = orders
        self._roll = roll
        self._death_log = death_log
        self._oom = oom
        self._wall_clock = wall_clock
        #: Some worker was ready once: the app can be loaded and Redis takes us.
        self.was_ever_ready = False
        #: Children that had to be killed when all were to leave.
        self.killed = 0
        #: Places whose worker could not even begin.
        self._failed_boots: set[int] = set()
        self._excused_boots: set[int] = set()

    def bury(self, child: WorkerHandle, status: int, *, is_stopping: bool) -> Verdict | None:
        """Empty its place, see that its tasks are handed back, and judge."""
        if not child.has_left:
            # What its tasks started must not go on beside what their next run starts.
            child.kill_group()
            self._orders.add(child)
        if is_stopping and child.stage is Stage.KILLED and _was_killed(status):
            self.killed += 1
        death = self._write_down(child, status)
        if self._roll.failed(child, f"{death.cause}{_failure(child)}"):
            self._pool.bury(child)
            return None
        verdict = None if is_stopping else self._judge_fatal(child, status)
        place = self._pool.bury(child)
        if verdict is None and place.policy.is_hopeless and not (is_stopping or self._pool.is_proven):
            verdict = _crash_loop(death)
        if verdict is None and self._is_first_failed_boot(child):
            self._excused_boots.add(child.slot)
            self._pool.postpone(place, UNTIL_OTHERS_TELL)
        elif verdict is None:
            _tell(death, child, status, place, self._pool)
        return verdict

    def _write_down(self, child: WorkerHandle, status: int) -> Death:
        cause = self._cause(child, status)
        death = Death(child.slot, child.pid, self._wall_clock(), child.uptime, cause.kind, cause.words, child.running)
        self._death_log.add(death)
        return death

    def _cause(self, child: WorkerHandle, status: int) -> Cause:
        """Ours, where it ended as we wished; else what its status tells."""
        is_as_wished = _was_killed(status) if child.stage is Stage.KILLED else status == 0
        if child.cause is not None and is_as_wished:
            return child.cause
        if not os.WIFSIGNALED(status):
            return Cause(Kind.EXIT, explain(status))
        if _was_killed(status) and self._oom.take_one():
            return Cause(Kind.OOM, "was killed by the kernel: its cgroup is out of memory (oom_kill +1)")
        return Cause(Kind.SIGNAL, explain(status))

    def _judge_fatal(self, child: WorkerHandle, status: int) -> Verdict | None:
        code = os.waitstatus_to_exitcode(status)
        if self.was_ever_ready or code not in FATAL or child.failure is None:
            return None
        # Another one may get ready all the same; if all fail alike, that is soon known.
        self._failed_boots.add(child.slot)
        is_for_all = {place.number for place in self._pool.places} <= self._failed_boots
        if not is_for_all:
            return None
        sentence, detail = child.failure
        if detail:
            log.debug("%s", detail)
        return Verdict(Exit(code), sentence)

    def _is_first_failed_boot(self, child: WorkerHandle) -> bool:
        """Told to nobody yet, since that of the others may be the same and the end of us."""
        return child.slot in self._failed_boots and not self.was_ever_ready and child.slot not in self._excused_boots


def _was_killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _failure(child: WorkerHandle) -> str:
    return f": {child.failure[0]}" if child.failure else ""


def _tell(death: Death, child: WorkerHandle, status: int, place: Slot, pool: WorkerPool) -> None:
    if place.due is None:
        # Where somebody is there already, or nobody is to follow, a death that was asked for is
        # no news. A failure was meant to be told once; that of the first is why we stop.
        is_news = child.stage is not Stage.KILLED and status != 0 and not (place.is_retired and child.failure)
        if is_news:
            log.warning("%s while it was stopping%s", death, _failure(child))
        else:
            log.log(logging.DEBUG if place.is_retired else logging.INFO, "%s, after %.0f s", death, death.uptime)
        return
    pause = pool.pause_before(place)
    when = "at once" if pause <= 0 else f"in {pause:.1f} s"
    last_seen = "" if child.has_left or child.failure else f", last seen with {counted(child.running, 'task')} running"
    end = f"{death.cause}{_failure(child)}"
    place.same_ends = place.same_ends + 1 if end == place.last_end and death.uptime < LONG_RUN else 1
    place.last_end = end
    more = "; the same is not told again" if place.same_ends == MOST_TOLD else ""
    level = logging.WARNING if place.same_ends <= MOST_TOLD else logging.DEBUG
    log.log(level, "%s%s%s; the next one starts %s%s", death, _failure(child), last_seen, when, more)


def _crash_loop(death: Death) -> Verdict:
    return Verdict(
        Exit.CRASH_LOOP,
        f"giving up: worker {death.slot} died {DEATHS_TO_GIVE_UP} times in a row before it had "
        f"been ready for a second; the last one {death.cause}",
    )
