"""``Recovery``: hands back the tasks of dead workers, and counts the queues for the master."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import gevent
from gevent.pool import Group

from ..connection.complaints import PAUSE, Complaints
from ..connection.link import RedisLink, ServerError, Unreachable
from ..policy.poison import Hang, tell_deaths, tell_hang
from ..process.greenlets import once
from .claiming.claimer import TAKE_TIMEOUT
from .takes import Takes

if TYPE_CHECKING:
    from ..helpers import PyTaskHelpers
    from ..store import KeeperStore
    from ..store.keeper import HandedBack

log = logging.getLogger("pytask.worker")


class Recovery:
    """Works when it is asked to; each method returns at once.

    Args:
        link: whether Redis can be reached.
        keeper: hands back.
        takes: cuts the takes of the dead short.
        helpers: count.
    """

    def __init__(self, link: RedisLink, keeper: KeeperStore, takes: Takes, helpers: PyTaskHelpers) -> None:
        self._link = link
        self._keeper = keeper
        self._takes = takes
        self._helpers = helpers
        self._greenlets = Group()

    def stop(self) -> None:
        """Leave what is not done: the connections are about to be closed."""
        self._greenlets.kill()

    def hand_back(self, worker_id: str, on_done: Callable[[int], None] | None, hang: Hang | None) -> None:
        """See ``Worker.hand_back``."""
        self._greenlets.add(once(self._hand_back, worker_id, on_done, hang))

    def count_queues(self, on_done: Callable[[dict[str, int]], None]) -> None:
        """See ``Worker.count_queues``."""
        self._greenlets.add(once(self._count_queues, on_done))

    def _hand_back(self, worker_id: str, on_done: Callable[[int], None] | None, hang: Hang | None) -> None:
        # The master counts on it, and there may be no other worker to do it.
        complaints = Complaints(
            log,
            f"What the dead worker {worker_id} held cannot be handed back",
            f"Trying again in {PAUSE:g} s",
            bug=f"A bug in pytask: what the dead worker {worker_id} held is not handed back yet",
            is_once=False,
        )
        is_cut, done = self._link.insist(lambda: self._cut_and_hand_back(worker_id, hang), complaints)
        log.debug("Handed back what the dead worker %s held: %d tasks wait again", worker_id, done.waiting)
        if hang is not None:
            tell_hang(hang, done.convicted)
        else:
            tell_deaths(done.convicted, done.often)
        if on_done is not None:
            on_done(done.waiting)
        if not is_cut:
            gevent.sleep(TAKE_TIMEOUT)
            self._link.insist(lambda: self._unbox(worker_id), Complaints(log))

    def _cut_and_hand_back(self, worker_id: str, hang: Hang | None) -> tuple[bool, HandedBack]:
        # The server may not know yet that the connection is dead: what is handed back must not be moved at once into
        # the inbox of a worker that will never look.
        is_cut = self._takes.cut(worker_id)
        with self._link.guard():
            return is_cut, self._keeper.hand_back(worker_id, hang=hang)

    def _unbox(self, worker_id: str) -> None:
        """Hand back what a take that could not be cut short has moved since."""
        try:
            with self._link.guard():
                self._keeper.hand_back(worker_id)
        except ServerError as error:
            log.warning("The inbox of the dead worker %s cannot be looked at once more: %s", worker_id, error)

    def _count_queues(self, on_done: Callable[[dict[str, int]], None]) -> None:
        try:
            with self._link.guard(tell=False):
                lengths = self._helpers.queue_lengths()
        except (Unreachable, ServerError):
            return
        on_done(lengths)
