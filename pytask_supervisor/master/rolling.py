"""``Roll``: replaces workers one slot at a time, each only after its successor is ready.

There is never a worker less at work than before, and one process more at most.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pytask_supervisor.host.limits import explain_shortage
from pytask_supervisor.master.changes import Change
from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.master.worker_pool import Slot, WorkerPool

log = logging.getLogger("pytask.supervisor")

#: Seconds after which a successor that is not ready is told of. Shorter: a wrong address is noticed sooner. Longer:
#: apps that load slowly, and blinks of Redis, make no noise.
SLOW = 30.0
DROPPED = Cause(Kind.RELOADED, "was not ready yet when its place was to be filled anew once more")


@dataclass(frozen=True)
class Wish:
    """A slot is to be filled anew, for that reason; ``on_failure`` is told why it could not be.

    ``change`` is told of all else that becomes of it; its default is one that nobody looks at.
    """

    slot: Slot
    cause: Cause
    on_failure: Callable[[str], None]
    on_success: Callable[[], None] = lambda: None
    change: Change = field(default_factory=Change)


class Roll:
    """Ask for it with ``ask``, and give it its ``turn`` whenever something has happened."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        #: By number, in the order in which they come; the first may be under way.
        self._wishes: dict[int, Wish] = {}
        #: By number, for slots that were empty when their turn came: whoever fills them fulfils these.
        self._fills: dict[int, Wish] = {}
        self._current: Wish | None = None
        self._successor: WorkerHandle | None = None
        #: The current wish is fulfilled, but for the predecessor's leaving.
        self._is_replaced = False
        #: It was told that the successor takes long.
        self._is_told = False

    def __bool__(self) -> bool:
        return bool(self._wishes) or self._current is not None

    def ask(self, wishes: Iterable[Wish]) -> None:
        """Replace these. A slot that has its turn already has another one: its successor may be outdated."""
        for wish in wishes:
            number = wish.slot.slot
            for old in (self._wishes.pop(number, None), self._fills.pop(number, None)):
                if old is not None:
                    old.change.superseded(wish.change)
            self._wishes[number] = wish
            self._begin_anew(wish)

    def is_asked(self, slot: Slot) -> bool:
        """Whether the slot is to be filled anew, or is being."""
        is_current = self._current is not None and self._current.slot is slot
        return is_current or slot.slot in self._wishes

    def drop(self, is_dropped: Callable[[Wish], bool]) -> list[Wish]:
        """Forget what has not begun; returns it."""
        dropped = [wish for wish in self._wishes.values() if is_dropped(wish)]
        self._wishes = {number: wish for number, wish in self._wishes.items() if not is_dropped(wish)}
        return dropped

    def turn(self) -> None:
        """Go on as far as can be."""
        while self._advance():
            pass
        for number, wish in list(self._fills.items()):
            slot = wish.slot
            if slot.is_retired or (slot.worker is not None and slot.worker.stage is Stage.READY):
                del self._fills[number]
                _end(wish, slot.is_retired)

    def failed(self, worker: WorkerHandle, why: str) -> bool:
        """A worker has died; whether it was a successor of ours, whose predecessor goes on."""
        wish = self._current
        fill = self._fills.get(worker.slot)
        if fill is not None and fill.slot.worker is worker:
            del self._fills[worker.slot]
            fill.change.give_up(f"worker {worker.slot} was not there, and the new one {why}")
        if wish is None or worker is not self._successor or self._is_replaced:
            return False
        self._current = None
        wish.on_failure(why)
        return wish.slot.successor is worker

    def _begin_anew(self, later: Wish) -> None:
        """Give up a successor that is not ready: it may be one that never will be, and would hold up everybody."""
        wish, successor, slot = self._current, self._successor, later.slot
        if wish is None or successor is None or wish.slot is not slot or successor.stage is not Stage.STARTED:
            return
        self._current = None
        wish.change.superseded(later.change)
        if slot.successor is successor:  # Else its predecessor has died, and it took the slot at once.
            self._pool.drop_successor(slot, DROPPED)

    def _advance(self) -> bool:
        wish, successor = self._current, self._successor
        if wish is None or successor is None:
            return self._begin()
        slot = wish.slot
        if slot.is_retired:
            self._current = None
            _end(wish, is_left_out=not self._is_replaced)
            return True
        if not self._is_replaced and successor.stage is Stage.READY:
            self._is_replaced = True
            log.info("worker %s is pid %s from now on", slot.slot, successor.pid)
            if slot.successor is successor:  # Else its predecessor has died, and it took the slot at once.
                self._pool.promote(slot, wish.cause)
            wish.on_success()
            return True
        if self._is_replaced and not slot.leaving:
            self._current = None
            wish.change.replaced()
            return True
        if not self._is_replaced and not self._is_told and successor.uptime >= SLOW:
            self._is_told = True
            _tell_slow(successor)
        return False

    def _begin(self) -> bool:
        if not self._wishes:
            return False
        wish = next(iter(self._wishes.values()))
        # Who was given up leaves first, so that there is one process more at most.
        if wish.slot.leaving and not wish.slot.is_retired:
            return False
        del self._wishes[wish.slot.slot]
        if wish.slot.is_retired:
            wish.change.left_out()
            return True
        # An empty slot is filled with what is wished for in any case.
        wish.change.begun()
        if wish.slot.worker is None:
            self._fills[wish.slot.slot] = wish
            return True
        try:
            self._successor = self._pool.start_successor(wish.slot)
        except OSError as error:
            wish.on_failure(f"could not be started: {explain_shortage(error)}")
            return True
        log.info("worker %s is about to be replaced by pid %s", wish.slot.slot, self._successor.pid)
        self._current, self._is_replaced, self._is_told = wish, False, False
        return True


def _end(wish: Wish, is_left_out: bool) -> None:
    if is_left_out:
        wish.change.left_out()
    else:
        wish.change.replaced()


def _tell_slow(successor: WorkerHandle) -> None:
    what = "it still loads the app" if successor.worker_id is None else "it waits for Redis"
    text = (
        "%s, which is to take over, is not ready after %.0f s: %s; nobody else is replaced before; if code or "
        "configuration are wrong, mend them and reload, which begins anew"
    )
    log.warning(text, successor, successor.uptime, what)
