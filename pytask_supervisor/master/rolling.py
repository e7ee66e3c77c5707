"""``Rolling``: replaces workers one slot at a time, each only after its successor is ready.

There is never a worker less at work than before, and one process more at most.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from pytask_supervisor.host.limits import explain_shortage
from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.master.worker_pool import Slot, WorkerPool

log = logging.getLogger("pytask.supervisor")

#: Seconds after which the log says that a successor is not ready. Shorter: a wrong address is noticed sooner. Longer:
#: apps that load slowly, and blinks of Redis, make no noise.
SLOW = 30.0
DROPPED = Cause(Kind.RELOADED, "was not ready yet when its slot was to be filled again")


class Purpose:
    """What slots are filled again for: it is told what becomes of each; by default it makes nothing of that.

    Each slot is either replaced, left out or superseded one day, unless all is given up after a failure.
    """

    def successor_started(self) -> None:
        """A successor was started."""

    def successor_ready(self) -> None:
        """It has taken over; its predecessor, if there is one, is about to leave."""

    def successor_failed(self, slot: Slot, why: str) -> None:
        """It could not take over; its predecessor goes on."""

    def empty_slot_failed(self, slot: Slot, why: str) -> None:
        """The slot was empty, and the worker that was to fill it died before it was ready."""

    def slot_replaced(self) -> None:
        """A slot has a new worker, and its old one is gone."""

    def slot_left_out(self) -> None:
        """A slot is not to be filled any more."""

    def slot_superseded(self, later: Purpose) -> None:
        """A slot is filled again for another purpose."""


@dataclass(frozen=True)
class Wish:
    """A slot is to be filled again, for that reason."""

    slot: Slot
    cause: Cause
    purpose: Purpose


class Rolling(Part):
    """Ask for it with ``request``."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        #: By slot, in the order in which they come; the first may be under way.
        self._wishes: dict[int, Wish] = {}
        #: By slot, for those that were empty when their turn came: the next worker there fulfils these.
        self._fills: dict[int, Wish] = {}
        self._current: Wish | None = None
        self._successor: WorkerHandle | None = None
        #: The current wish is fulfilled, but for the predecessor's leaving.
        self._is_replaced = False
        #: The log says that the successor takes long.
        self._is_told = False

    def __bool__(self) -> bool:
        return bool(self._wishes) or self._current is not None

    def request(self, wishes: Iterable[Wish]) -> None:
        """Replace these. A slot that has its turn already has another one: its successor may be outdated."""
        for wish in wishes:
            number = wish.slot.slot
            for old in (self._wishes.pop(number, None), self._fills.pop(number, None)):
                if old is not None:
                    old.purpose.slot_superseded(wish.purpose)
            self._wishes[number] = wish
            self._drop_unready_successor(wish)

    def is_requested(self, slot: Slot) -> bool:
        """Whether the slot is to be filled again, or is being."""
        is_current = self._current is not None and self._current.slot is slot
        return is_current or slot.slot in self._wishes

    def cancel(self, kind: Kind) -> list[Wish]:
        """Forget what has not begun of that kind; returns it."""
        cancelled = [wish for wish in self._wishes.values() if wish.cause.kind is kind]
        self._wishes = {number: wish for number, wish in self._wishes.items() if wish.cause.kind is not kind}
        return cancelled

    def note_death(self, worker: WorkerHandle, why: str) -> bool:
        """A worker has died; whether it was a successor of ours, whose predecessor goes on.

        Where its slot was stopped for good meanwhile, it has not failed but was asked to leave: see ``turn``.
        """
        fill = self._fills.get(worker.slot)
        if fill is not None and fill.slot.worker is worker and not fill.slot.is_retired:
            del self._fills[worker.slot]
            fill.purpose.empty_slot_failed(fill.slot, why)
        wish = self._current
        if wish is None or worker is not self._successor or self._is_replaced or wish.slot.is_retired:
            return False
        self._current = None
        wish.purpose.successor_failed(wish.slot, why)
        return wish.slot.successor is worker

    def turn(self) -> None:
        """See ``Part``: go on as far as can be."""
        while self._advance():
            pass
        for number, wish in list(self._fills.items()):
            slot = wish.slot
            if slot.is_retired or (slot.worker is not None and slot.worker.stage is Stage.READY):
                del self._fills[number]
                if not slot.is_retired:
                    wish.purpose.successor_ready()
                _end(wish, is_left_out=slot.is_retired)

    def _drop_unready_successor(self, later: Wish) -> None:
        """It may be one that never gets ready, and would hold up all others."""
        wish, successor, slot = self._current, self._successor, later.slot
        if wish is None or successor is None or wish.slot is not slot or successor.stage is not Stage.STARTED:
            return
        self._current = None
        wish.purpose.slot_superseded(later.purpose)
        if slot.successor is successor:  # Else its predecessor has died, and it took the slot at once.
            self._pool.drop_successor(slot, DROPPED)

    def _advance(self) -> bool:
        """One step; whether there may be another."""
        wish, successor = self._current, self._successor
        if wish is None or successor is None:
            return self._start_next()
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
            wish.purpose.successor_ready()
            return True
        if self._is_replaced and not slot.leaving:
            self._current = None
            wish.purpose.slot_replaced()
            return True
        if not self._is_replaced and not self._is_told and successor.uptime >= SLOW:
            self._is_told = True
            _tell_slow(successor)
        return False

    def _start_next(self) -> bool:
        if not self._wishes:
            return False
        number, wish = next(iter(self._wishes.items()))
        # A worker that was given up leaves first, so that there is one process more at most.
        if wish.slot.leaving and not wish.slot.is_retired:
            return False
        del self._wishes[number]
        if wish.slot.is_retired:
            wish.purpose.slot_left_out()
            return True
        wish.purpose.successor_started()
        # An empty slot is filled with what is wished for in any case.
        if wish.slot.worker is None:
            self._fills[number] = wish
            return True
        try:
            self._successor = self._pool.start_successor(wish.slot)
        except OSError as error:
            wish.purpose.successor_failed(wish.slot, f"could not be started: {explain_shortage(error)}")
            return True
        log.info("worker %s is about to be replaced by pid %s", number, self._successor.pid)
        self._current, self._is_replaced, self._is_told = wish, False, False
        return True


def _end(wish: Wish, *, is_left_out: bool) -> None:
    if is_left_out:
        wish.purpose.slot_left_out()
    else:
        wish.purpose.slot_replaced()


def _tell_slow(successor: WorkerHandle) -> None:
    what = "it still loads the app" if successor.worker_id is None else "it waits for Redis"
    text = (
        "%s, which is to take over, is not ready after %.0f s: %s; until it is, no other worker is replaced; if code "
        "or configuration are wrong, mend them and reload, which begins again"
    )
    log.warning(text, successor, successor.uptime, what)
