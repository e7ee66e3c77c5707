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
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.shared.respawn import PROVEN_AFTER, RespawnPolicy

log = logging.getLogger("pytask.supervisor")


@dataclass
class Slot:
    """Worker number so and so, whoever that is just now."""

    number: int
    policy: RespawnPolicy
    child: WorkerHandle | None = None
    #: It takes over once it is ready.
    successor: WorkerHandle | None = None
    #: Those that were replaced and are not gone yet.
    leaving: list[WorkerHandle] = field(default_factory=list)
    #: When to fork the next one; None while somebody sits there.
    due: float | None = None
    #: Not to be filled again.
    is_retired: bool = False
    #: Why no worker could be forked, as it was said.
    shortage: str = ""
    #: How its last worker ended, and how often in a row it was the same.
    last_end: str = ""
    same_ends: int = 0
    #: How often it was filled anew.
    restarts: int = 0

    @property
    def all(self) -> list[WorkerHandle]:
        """Everybody who lives here."""
        return [child for child in (self.child, self.successor, *self.leaving) if child]


class WorkerPool:
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
        self._places: dict[int, Slot] = {}
        #: What a new child must not keep of the master's, beside the lines to other children.
        self.foreign: tuple[Closable, ...] = ()

    @property
    def places(self) -> list[Slot]:
        """Those that are to be filled, in order."""
        return [place for _, place in sorted(self._places.items()) if not place.is_retired]

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return len(self.places)

    @property
    def children(self) -> list[WorkerHandle]:
        """All that live, also those on their way out."""
        return [child for place in self._places.values() for child in place.all]

    @property
    def ready(self) -> list[WorkerHandle]:
        """Those that work."""
        return [child for child in self.children if child.stage is Stage.READY]

    @property
    def is_whole(self) -> bool:
        """Whether a ready worker sits in every place."""
        return all(place.child and place.child.stage is Stage.READY for place in self.places)

    @property
    def is_proven(self) -> bool:
        """Whether some worker has been ready for long enough to show that the app works."""
        return any(child.ready_for >= PROVEN_AFTER for child in self.ready)

    def find(self, pid: int) -> WorkerHandle | None:
        """The child with that process id."""
        return next((child for child in self.children if child.pid == pid), None)

    def is_missed(self, child: WorkerHandle) -> bool:
        """Whether its death leaves a place empty that is to be filled."""
        place = self._places[child.slot]
        return place.child is child and not place.is_retired

    def place_of(self, child: WorkerHandle) -> Slot:
        """Where it sits, or is about to, or sat."""
        return self._places[child.slot]

    def grow(self) -> None:
        """One place more, to be filled at once; it takes the lowest free number."""
        number = next(n for n in range(1, len(self._places) + 2) if n not in self._places)
        self._places[number] = Slot(number, self._policy(), due=self._clock())

    def shrink(self, cause: Cause) -> None:
        """One place less: the newest."""
        self.retire(self.places[-1], cause)

    def retire(self, place: Slot, cause: Cause) -> None:
        """Ask whoever sits there to leave, for good."""
        place.is_retired = True
        place.due = None
        for child in place.all:
            child.stop(cause)
        self._forget_empty(place)

    def close(self, cause: Cause) -> None:
        """No place is filled any more, and everybody is asked to leave."""
        for place in list(self._places.values()):
            self.retire(place, cause)

    def fill_due(self) -> None:
        """Fork for each place whose time has come."""
        for place in self._places.values():
            if place.due is not None and place.due <= self._clock():
                self._fill(place)

    def next_due(self) -> float | None:
        """When ``fill_due`` has something to do."""
        return min((p.due for p in self._places.values() if p.due is not None), default=None)

    def postpone(self, place: Slot, seconds: float) -> None:
        """Let an empty place wait for so long at least."""
        if place.due is not None:
            place.due = max(place.due, self._clock() + seconds)

    def pause_before(self, place: Slot) -> float:
        """Seconds until the place is filled again."""
        return 0.0 if place.due is None else max(0.0, place.due - self._clock())

    def start_successor(self, place: Slot) -> WorkerHandle:
        """Fork one that is to take over. Raises ``OSError`` if that cannot be."""
        place.successor = self._fork(place)
        return place.successor

    def drop_successor(self, place: Slot, cause: Cause) -> None:
        """It is not to take over any more; it has no task that would need time to stop."""
        if place.successor is not None:
            place.leaving.append(place.successor)
            place.successor.stop_at_once(cause)
            place.successor = None

    def promote(self, place: Slot, cause: Cause) -> None:
        """The successor takes the place, and its predecessor is asked to leave once its short tasks have ended."""
        if place.child is not None:
            place.leaving.append(place.child)
            place.child.drain(cause)
        place.child, place.successor = place.successor, None
        place.restarts += 1

    def bury(self, child: WorkerHandle) -> Slot:
        """Its place may be empty now, and due after a pause unless somebody else is there or to come."""
        place = self._places[child.slot]
        child.close()
        if child is place.child:
            place.child, place.successor = place.successor, None
            place.restarts += 1
            if place.child is None and not place.is_retired:
                place.due = self._clock() + place.policy.pause_after(child.ready_for)
        elif child is place.successor:
            place.successor = None
        else:
            place.leaving.remove(child)
        self._forget_empty(place)
        return place

    def _fill(self, place: Slot) -> None:
        try:
            place.child = self._fork(place)
            place.due = None
            place.shortage = ""
        except OSError as error:
            pause = place.policy.pause_without_fork()
            place.due = self._clock() + pause
            why = explain_shortage(error)
            level = logging.DEBUG if why == place.shortage else logging.ERROR
            place.shortage = why
            text = "worker %s cannot be started: %s; trying again every few seconds"
            log.log(level, text, place.number, why)

    def _fork(self, place: Slot) -> WorkerHandle:
        child = self._spawn(place.number, (*self.children, *self.foreign))
        # With --preload the process id is told by a process that has the app's code in it.
        if self.find(child.pid) is not None:
            child.close()
            raise OSError(errno.ESRCH, f"its process id was told as {child.pid}, which is another worker's")
        return child

    def _forget_empty(self, place: Slot) -> None:
        if place.is_retired and not place.all:
            self._places.pop(place.number, None)
