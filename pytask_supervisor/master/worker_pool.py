"""``WorkerPool``: the slots on this server, the workers in them, and when an empty one is refilled."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pytask_supervisor.child.assignment import Closable
from pytask_supervisor.host.limits import explain_shortage
from pytask_supervisor.master.death_log import Cause
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.shared.respawn import PROVEN_AFTER, RespawnPolicy

log = logging.getLogger("pytask.supervisor")


@dataclass
class Slot:
    """Worker number ``slot``, whichever process that is now."""

    slot: int
    policy: RespawnPolicy
    worker: WorkerHandle | None = None
    #: It takes over once it is ready.
    successor: WorkerHandle | None = None
    #: Those that were replaced and are not gone yet.
    leaving: list[WorkerHandle] = field(default_factory=list)
    #: When to fork the next one; None while a worker is there.
    due: float | None = None
    #: Not to be filled again.
    is_retired: bool = False
    #: Why no worker could be forked, as it was said.
    shortage: str = ""
    #: How its last worker ended, and how often in a row it was the same.
    last_end: str = ""
    same_ends: int = 0
    #: How often it was filled again.
    restarts: int = 0

    @property
    def all(self) -> list[WorkerHandle]:
        """All workers that live here."""
        return [worker for worker in (self.worker, self.successor, *self.leaving) if worker]


class WorkerPool(Part):
    """Knows numbers and times; what a death means is the supervisor's to judge."""

    def __init__(
        self,
        spawn: Callable[[int, Iterable[Closable]], WorkerHandle],
        *,
        clock: Callable[[], float] = time.monotonic,
        policy: Callable[[], RespawnPolicy] = RespawnPolicy,
    ) -> None:
        self._spawn = spawn
        self._clock = clock
        self._policy = policy
        self._slots: dict[int, Slot] = {}
        self._hidden: tuple[Closable, ...] = ()
        #: How often a slot that is to be filled lost its worker.
        self.losses = 0

    @property
    def slots(self) -> list[Slot]:
        """Those that are to be filled, in order."""
        return [slot for _, slot in sorted(self._slots.items()) if not slot.is_retired]

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return len(self.slots)

    @property
    def workers(self) -> list[WorkerHandle]:
        """All that live, also those on their way out."""
        return [worker for slot in self._slots.values() for worker in slot.all]

    @property
    def ready(self) -> list[WorkerHandle]:
        """Those that work."""
        return [worker for worker in self.workers if worker.stage is Stage.READY]

    @property
    def is_whole(self) -> bool:
        """Whether a ready worker sits in every slot."""
        return all(slot.worker and slot.worker.stage is Stage.READY for slot in self.slots)

    @property
    def is_proven(self) -> bool:
        """Whether some worker has been ready for long enough to show that the app works."""
        return any(worker.ready_for >= PROVEN_AFTER for worker in self.ready)

    @property
    def foreign(self) -> tuple[Closable, ...]:
        """What a process that is forked must not keep of the master's."""
        return (*self.workers, *self._hidden)

    def hide_from_workers(self, *things: Closable) -> None:
        """No new worker is to keep these."""
        self._hidden += things

    def find(self, pid: int) -> WorkerHandle | None:
        """The worker with that process id."""
        return next((worker for worker in self.workers if worker.pid == pid), None)

    def slot_of(self, worker: WorkerHandle) -> Slot:
        """Where it sits, or is about to, or sat."""
        return self._slots[worker.slot]

    def grow(self) -> None:
        """One slot more, to be filled at once; it takes the lowest free number."""
        number = next(n for n in range(1, len(self._slots) + 2) if n not in self._slots)
        self._slots[number] = Slot(number, self._policy(), due=self._clock())

    def shrink(self, cause: Cause) -> None:
        """One slot less: the newest."""
        self.retire(self.slots[-1], cause)

    def retire(self, slot: Slot, cause: Cause) -> None:
        """Ask its workers to leave, and fill it no more."""
        slot.is_retired = True
        slot.due = None
        for worker in slot.all:
            worker.stop(cause)
        self._forget_empty(slot)

    def close(self, cause: Cause) -> None:
        """No slot is filled any more, and all workers are asked to leave."""
        for slot in list(self._slots.values()):
            self.retire(slot, cause)

    @property
    def deadline(self) -> float | None:
        """See ``Part``: when the next slot is to be filled."""
        return min((slot.due for slot in self._slots.values() if slot.due is not None), default=None)

    def turn(self) -> None:
        """See ``Part``: fork for each slot whose time has come."""
        for slot in self._slots.values():
            if slot.due is not None and slot.due <= self._clock():
                self._fill(slot)

    def postpone(self, slot: Slot, seconds: float) -> None:
        """Let an empty slot wait for so long at least."""
        if slot.due is not None:
            slot.due = max(slot.due, self._clock() + seconds)

    def pause_before(self, slot: Slot) -> float:
        """Seconds until the slot is filled again."""
        return 0.0 if slot.due is None else max(0.0, slot.due - self._clock())

    def start_successor(self, slot: Slot) -> WorkerHandle:
        """Fork one that is to take over. Raises ``OSError`` if that cannot be."""
        slot.successor = self._fork(slot)
        return slot.successor

    def drop_successor(self, slot: Slot, cause: Cause) -> None:
        """It is not to take over any more; it has no task that would need time to stop."""
        if slot.successor is not None:
            slot.leaving.append(slot.successor)
            slot.successor.stop_at_once(cause)
            slot.successor = None

    def promote(self, slot: Slot, cause: Cause) -> None:
        """The successor takes the slot, and its predecessor is asked to leave once its short tasks have ended."""
        if slot.worker is not None:
            slot.leaving.append(slot.worker)
            slot.worker.drain(cause)
        slot.worker, slot.successor = slot.successor, None
        slot.restarts += 1

    def remove(self, worker: WorkerHandle) -> Slot:
        """Its slot may be empty now, and due after a pause unless another worker is there."""
        slot = self._slots[worker.slot]
        worker.close()
        if worker is slot.worker:
            slot.worker, slot.successor = slot.successor, None
            slot.restarts += 1
            self.losses += 0 if slot.is_retired else 1
            if slot.worker is None and not slot.is_retired:
                slot.due = self._clock() + slot.policy.pause_after(worker.ready_for)
        elif worker is slot.successor:
            slot.successor = None
        else:
            slot.leaving.remove(worker)
        self._forget_empty(slot)
        return slot

    def _fill(self, slot: Slot) -> None:
        try:
            slot.worker = self._fork(slot)
            slot.due = None
            slot.shortage = ""
        except OSError as error:
            pause = slot.policy.pause_without_fork()
            slot.due = self._clock() + pause
            why = explain_shortage(error)
            level = logging.DEBUG if why == slot.shortage else logging.ERROR
            slot.shortage = why
            text = "worker %s cannot be started: %s; trying again every few seconds"
            log.log(level, text, slot.slot, why)

    def _fork(self, slot: Slot) -> WorkerHandle:
        worker = self._spawn(slot.slot, self.foreign)
        # With --preload the process id is told by a process that has the app's code in it.
        if self.find(worker.pid) is not None:
            worker.close()
            raise OSError(errno.ESRCH, f"its process id was told as {worker.pid}, which is another worker's")
        return worker

    def _forget_empty(self, slot: Slot) -> None:
        if slot.is_retired and not slot.all:
            self._slots.pop(slot.slot, None)
