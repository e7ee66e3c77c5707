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
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.rolling import Rolling
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.master.worker_pool import Slot, WorkerPool
from pytask_supervisor.shared.exits import Exit, explain
from pytask_supervisor.shared.logs import counted
from pytask_supervisor.shared.respawn import DEATHS_TO_GIVE_UP, LONG_RUN

log = logging.getLogger("pytask.supervisor")

#: Exit codes of a worker that another try would not change.
FATAL = (Exit.LOAD, Exit.REFUSED)
#: Seconds after the first failed boot of a slot until the next one: by then the others' have told whether it is all.
UNTIL_OTHERS_TELL = 3.0
#: How often in a row the same quick end of a slot is told.
MOST_TOLD = 3


@dataclass(frozen=True)
class Verdict:
    """Why the supervisor cannot go on."""

    code: Exit
    sentence: str


class Deaths(Part):
    """Writes dead workers into the log of deaths; the supervisor reaps them and acts on the verdict."""

    def __init__(
        self,
        state: MasterState,
        pool: WorkerPool,
        handback: Handback,
        rolling: Rolling,
        death_log: DeathLog,
        oom: OomCounter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._pool = pool
        self._handback = handback
        self._rolling = rolling
        self._death_log = death_log
        self._oom = oom
        self._wall_clock = wall_clock
        self._was_ever_ready = False
        #: Workers that had to be killed when all were to leave.
        self.killed = 0
        #: Slots whose worker could not even begin.
        self._failed_boots: set[int] = set()
        self._excused_boots: set[int] = set()

    def turn(self) -> None:
        """See ``Part``: all that has died by now is buried, so an older kill by the kernel explains no later death."""
        self._oom.forget_old()

    def note_ready(self) -> None:
        """Some worker is ready: the app can be loaded, and Redis takes us."""
        self._was_ever_ready = True

    def bury(self, worker: WorkerHandle, status: int) -> Verdict | None:
        """Empty its slot, see that its tasks are handed back, and judge."""
        is_stopping = self._state.is_stopping
        if not worker.has_left:
            # What its tasks started must not go on beside what their next run starts.
            worker.kill_group()
            self._handback.add(worker)
        if is_stopping and worker.stage is Stage.KILLED and _was_killed(status):
            self.killed += 1
        death = self._write_down(worker, status)
        if self._rolling.note_death(worker, f"{death.cause}{_failure(worker)}"):
            self._pool.remove(worker)
            return None
        verdict = None if is_stopping else self._judge_fatal(worker, status)
        slot = self._pool.remove(worker)
        if verdict is None and slot.policy.is_hopeless and not (is_stopping or self._pool.is_proven):
            verdict = _crash_loop(death)
        if verdict is None and self._is_first_failed_boot(worker):
            self._excused_boots.add(worker.slot)
            self._pool.postpone(slot, UNTIL_OTHERS_TELL)
        elif verdict is None:
            _tell(death, worker, status, slot, self._pool)
        return verdict

    def _write_down(self, worker: WorkerHandle, status: int) -> Death:
        cause = self._cause(worker, status)
        now = self._wall_clock()
        death = Death(worker.slot, worker.pid, now, worker.uptime, cause.kind, cause.words, worker.running)
        self._death_log.add(death)
        return death

    def _cause(self, worker: WorkerHandle, status: int) -> Cause:
        """Ours, where it ended as we wished; else what its status tells."""
        is_as_wished = _was_killed(status) if worker.stage is Stage.KILLED else status == 0
        if worker.cause is not None and is_as_wished:
            return worker.cause
        if not os.WIFSIGNALED(status):
            return Cause(Kind.EXIT, explain(status))
        if _was_killed(status) and self._oom.take_one():
            return Cause(Kind.OOM, "was killed by the kernel: its cgroup is out of memory (oom_kill +1)")
        return Cause(Kind.SIGNAL, explain(status))

    def _judge_fatal(self, worker: WorkerHandle, status: int) -> Verdict | None:
        code = os.waitstatus_to_exitcode(status)
        if self._was_ever_ready or code not in FATAL or worker.failure is None:
            return None
        # Another one may still get ready; if all fail alike, that is soon known.
        self._failed_boots.add(worker.slot)
        is_for_all = {slot.slot for slot in self._pool.slots} <= self._failed_boots
        if not is_for_all:
            return None
        sentence, detail = worker.failure
        if detail:
            log.debug("%s", detail)
        return Verdict(Exit(code), sentence)

    def _is_first_failed_boot(self, worker: WorkerHandle) -> bool:
        """Not said yet, since that of the others may be the same and the end of us."""
        return worker.slot in self._failed_boots and not self._was_ever_ready and worker.slot not in self._excused_boots


def _was_killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _failure(worker: WorkerHandle) -> str:
    return f": {worker.failure[0]}" if worker.failure else ""


def _tell(death: Death, worker: WorkerHandle, status: int, slot: Slot, pool: WorkerPool) -> None:
    if slot.due is None:
        # Where a worker is there already, or none is to follow, a death that was asked for is
        # no news. A failure was meant to be told once; that of the first is why we stop.
        is_news = worker.stage is not Stage.KILLED and status != 0 and not (slot.is_retired and worker.failure)
        if is_news:
            log.warning("%s while it was stopping%s", death, _failure(worker))
        else:
            log.log(logging.DEBUG if slot.is_retired else logging.INFO, "%s, after %.0f s", death, death.uptime)
        return
    pause = pool.pause_before(slot)
    when = "at once" if pause <= 0 else f"in {pause:.1f} s"
    is_known = worker.has_left or worker.failure is not None
    last_seen = "" if is_known else f", last seen with {counted(worker.running, 'task')} running"
    end = f"{death.cause}{_failure(worker)}"
    slot.same_ends = slot.same_ends + 1 if end == slot.last_end and death.uptime < LONG_RUN else 1
    slot.last_end = end
    more = "; the same is not told again" if slot.same_ends == MOST_TOLD else ""
    level = logging.WARNING if slot.same_ends <= MOST_TOLD else logging.DEBUG
    log.log(level, "%s%s%s; the next one starts %s%s", death, _failure(worker), last_seen, when, more)


def _crash_loop(death: Death) -> Verdict:
    return Verdict(
        Exit.CRASH_LOOP,
        f"giving up: worker {death.slot} died {DEATHS_TO_GIVE_UP} times in a row before it had "
        f"been ready for a second; the last one {death.cause}",
    )
