"""``Commands``: all that an operator can ask of a running supervisor, by signal or otherwise.

Each method does its work at once, or sets it going, and returns a sentence for the operator.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytask_supervisor.config.settings import ConfigError
from pytask_supervisor.config.types import MOST_WORKERS
from pytask_supervisor.master.death_log import Cause, Death, DeathLog, Kind
from pytask_supervisor.master.reloads import Reloads
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_handle import WorkerHandle
from pytask_supervisor.master.worker_pool import Slot, WorkerPool
from pytask_supervisor.shared.logs import counted


@dataclass(frozen=True)
class SlotReport:
    """A slot as it is shown."""

    slot: int
    pid: int | None  #: None while it is empty.
    stage: str  #: ``started``, ``ready``, ``draining``, ``stopping``, ``killed``, or ``empty``.
    uptime: float  #: Seconds since the fork.
    restarts: int  #: How often the slot was filled again.
    running: int
    done: int
    #: The last beat as it came; see ``WorkerHandle.figures``.
    figures: dict[str, Any] = field(default_factory=dict)


class OrderError(Exception):
    """What was asked for cannot be; the text is a sentence."""


class Commands:
    """Steers the workers; the supervisor's loop carries out what takes time."""

    def __init__(self, state: MasterState, pool: WorkerPool, death_log: DeathLog, reloads: Reloads) -> None:
        self._state = state
        self._pool = pool
        self._death_log = death_log
        self._reloads = reloads

    # What there is.

    @property
    def slot_reports(self) -> list[SlotReport]:
        """All slots, also those whose worker is to leave for good."""
        shown = [_shown(slot, slot.worker) for slot in self._pool.slots]
        members = {slot.worker for slot in self._pool.slots}
        shown += [_shown(self._pool.slot_of(worker), worker) for worker in self._pool.workers if worker not in members]
        return sorted(shown, key=lambda report: report.slot)

    @property
    def deaths(self) -> tuple[Death, ...]:
        """The last deaths, oldest first."""
        return self._death_log.deaths

    @property
    def death_counts(self) -> dict[str, int]:
        """Deaths since the start, by kind; each kind is there."""
        return {kind.value: self._death_log.counts[kind] for kind in Kind}

    @property
    def changes(self) -> list[dict[str, Any]]:
        """What became of each reload and restart, oldest first."""
        return self._reloads.told()

    @property
    def is_quiet(self) -> bool:
        """Whether no worker claims anything new."""
        return self._state.is_quiet

    @property
    def is_stopping(self) -> bool:
        """Whether all workers are to leave."""
        return self._state.is_stopping

    # What can be done.

    def scale(self, count: int, by: str = "scale") -> str:
        """So many workers; raises ``OrderError`` where that makes no sense, or while stopping."""
        self._refuse_while_stopping()
        if not 1 <= count <= MOST_WORKERS:
            raise OrderError(f"there can be 1 to {MOST_WORKERS} workers, not {count}")
        before = self._pool.size
        while self._pool.size < count:
            self._pool.grow()
        while self._pool.size > count:
            self._pool.shrink(Cause(Kind.ASKED, f"was one too many ({by})"))
        return f"{counted(count, 'worker')} now, {before} before"

    def more(self, by: str) -> str:
        """One worker more."""
        self.scale(self._pool.size + 1, by)
        return f"one more, {counted(self._pool.size, 'worker')} now"

    def fewer(self, by: str) -> str:
        """One worker fewer; it stays at one."""
        if self._pool.size == 1:
            return "it stays at 1 worker"
        self.scale(self._pool.size - 1, by)
        return f"one fewer, {counted(self._pool.size, 'worker')} now"

    def stop_slot(self, number: int, by: str = "stop") -> str:
        """Stop that worker for good; raises ``OrderError`` if it is the last, or is not there."""
        self._refuse_while_stopping()
        slot = self._slot(number)
        if self._pool.size == 1:
            raise OrderError(f"worker {number} is the last one: stop the supervisor itself")
        self._pool.retire(slot, Cause(Kind.ASKED, f"was asked to stop ({by})"))
        return f"worker {number} stops; {counted(self._pool.size, 'worker')} now"

    def quiet(self, is_on: bool) -> str:
        """No worker claims anything new, or all do again; the tasks that run go on."""
        self._refuse_while_stopping()
        self._state.is_quiet = is_on
        for worker in self._pool.workers:
            worker.tell_quiet(is_on)
        return "workers are quiet: running tasks go on, nothing new is claimed" if is_on else "workers claim again"

    def dump(self) -> str:
        """Every worker logs where each of its tasks stands."""
        for worker in self._pool.workers:
            worker.tell_dump()
        return f"{counted(len(self._pool.workers), 'worker')} to tell where each task stands"

    def restart(self, number: int | None = None, by: str = "restart") -> str:
        """Replace all workers, or one, one at a time, each once its successor is ready. Code is loaded again."""
        self._refuse_while_stopping()
        slots = self._pool.slots if number is None else [self._slot(number)]
        return self._reloads.begin_restart(slots, by)

    def reload(self, by: str = "reload") -> str:
        """Replace all workers, with the configuration read again; raises ``OrderError`` if that cannot be used."""
        self._refuse_while_stopping()
        try:
            return self._reloads.begin_reload(by)
        except ConfigError as error:
            raise OrderError(f"the configuration cannot be used, so nothing changes: {error}") from error

    def _slot(self, number: int) -> Slot:
        for slot in self._pool.slots:
            if slot.slot == number:
                return slot
        numbers = ", ".join(str(slot.slot) for slot in self._pool.slots)
        raise OrderError(f"there is no worker {number}; there are: {numbers}")

    def _refuse_while_stopping(self) -> None:
        if self._state.is_stopping or not self._pool.size:
            raise OrderError("not now: the supervisor is starting or stopping")


def _shown(slot: Slot, worker: WorkerHandle | None) -> SlotReport:
    if worker is None:
        return SlotReport(slot.slot, None, "empty", 0.0, slot.restarts, 0, 0)
    stage, figures = worker.stage.name.lower(), worker.figures
    return SlotReport(slot.slot, worker.pid, stage, worker.uptime, slot.restarts, worker.running, worker.done, figures)
