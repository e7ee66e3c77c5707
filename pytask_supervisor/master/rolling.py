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
    """A place is to be filled anew, for that reason; ``on_failure`` is told why it could not be.

    ``change`` is told of all else that becomes of it; its default is one that nobody looks at.
    """

    place: Slot
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
        #: By number, for places that were empty when their turn came: whoever fills them fulfils these.
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
        """Replace these. A place that has its turn already has another one: its successor may be outdated."""
        for wish in wishes:
            number = wish.place.number
            for old in (self._wishes.pop(number, None), self._fills.pop(number, None)):
                if old is not None:
                    old.change.superseded(wish.change)
            self._wishes[number] = wish
            self._begin_anew(wish)

    def is_asked(self, place: Slot) -> bool:
        """Whether the place is to be filled anew, or is being."""
        is_current = self._current is not None and self._current.place is place
        return is_current or place.number in self._wishes

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
            place = wish.place
            if place.is_retired or (place.child is not None and place.child.stage is Stage.READY):
                del self._fills[number]
                _end(wish, place.is_retired)

    def failed(self, child: WorkerHandle, why: str) -> bool:
        """A child has died; whether it was a successor of ours, whose predecessor goes on."""
        wish = self._current
        fill = self._fills.get(child.slot)
        if fill is not None and fill.place.child is child:
            del self._fills[child.slot]
            fill.change.give_up(f"worker {child.slot} was not there, and the new one {why}")
        if wish is None or child is not self._successor or self._is_replaced:
            return False
        self._current = None
        wish.on_failure(why)
        return wish.place.successor is child

    def _begin_anew(self, later: Wish) -> None:
        """Give up a successor that is not ready: it may be one that never will be, and would hold up everybody."""
        wish, successor, place = self._current, self._successor, later.place
        if wish is None or successor is None or wish.place is not place or successor.stage is not Stage.STARTED:
            return
        self._current = None
        wish.change.superseded(later.change)
        if place.successor is successor:  # Else its predecessor has died, and it took the place at once.
            self._pool.drop_successor(place, DROPPED)

    def _advance(self) -> bool:
        wish, successor = self._current, self._successor
        if wish is None or successor is None:
            return self._begin()
        place = wish.place
        if place.is_retired:
            self._current = None
            _end(wish, is_left_out=not self._is_replaced)
            return True
        if not self._is_replaced and successor.stage is Stage.READY:
            self._is_replaced = True
            log.info("worker %s is pid %s from now on", place.number, successor.pid)
            if place.successor is successor:  # Else its predecessor has died, and it took the place at once.
                self._pool.promote(place, wish.cause)
            wish.on_success()
            return True
        if self._is_replaced and not place.leaving:
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
        if wish.place.leaving and not wish.place.is_retired:
            return False
        del self._wishes[wish.place.number]
        if wish.place.is_retired:
            wish.change.left_out()
            return True
        # An empty place is filled with what is wished for in any case.
        wish.change.begun()
        if wish.place.child is None:
            self._fills[wish.place.number] = wish
            return True
        try:
            self._successor = self._pool.start_successor(wish.place)
        except OSError as error:
            wish.on_failure(f"could not be started: {explain_shortage(error)}")
            return True
        log.info("worker %s is about to be replaced by pid %s", wish.place.number, self._successor.pid)
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
