"""``Recovery``: hands back the tasks of dead workers, and counts the queues for the master."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pool import Group

from ..connection import unblock, unblock_own
from ..connection.link import RedisLink, ServerError, Unreachable
from ..keys import RedisKeys
from ..policy.poison import Hang, tell_deaths, tell_hang
from .claimer import TAKE_TIMEOUT

if TYPE_CHECKING:
    from ..helpers import PyTaskHelpers
    from ..store import KeeperStore

log = logging.getLogger("pytask.worker")

#: Seconds between tries while Redis answers with an error.
RETRY = 1.0


def take_name(worker_id: str) -> str:
    """Return as what ``CLIENT LIST`` shows the connection on which a worker waits for work."""
    return f"pytask-take-{worker_id}"


class Recovery:
    """Each method but those that cut a take short returns at once."""

    def __init__(
        self, client: Any, keys: RedisKeys, link: RedisLink, keeper: KeeperStore, helpers: PyTaskHelpers
    ) -> None:
        self._client = client
        self._keys = keys
        self._link = link
        self._keeper = keeper
        self._helpers = helpers
        self._greenlets = Group()

    def hand_back(self, worker_id: str, on_done: Callable[[int], None] | None, hang: Hang | None) -> None:
        """See ``Worker.hand_back``."""
        self._greenlets.spawn(self._hand_back, worker_id, on_done, hang)

    def count_queues(self, on_done: Callable[[dict[str, int]], None]) -> None:
        """See ``Worker.count_queues``."""
        self._greenlets.spawn(self._count_queues, on_done)

    def close(self) -> None:
        """Leave what is not done: the connections are about to be closed."""
        self._greenlets.kill()

    def cut_take_short(self, worker_id: str) -> bool:
        """End the blocking take of a worker; return False where the server does not let us, and it ends by itself."""
        return self._cut_short(worker_id, partial(unblock, self._client))

    def cut_own_take_short(self, waiting: Any, worker_id: str) -> bool:
        """As :meth:`cut_take_short`, for this worker itself, which waits for work with the client ``waiting``."""
        return self._cut_short(worker_id, partial(unblock_own, self._client, waiting))

    def _cut_short(self, worker_id: str, unblock_by: Callable[[str, str], None]) -> bool:
        try:
            with self._link.guard(tell=False):
                unblock_by(take_name(worker_id), self._keys.new_queue)
        except (Unreachable, ServerError) as error:
            log.debug("The blocking take of %s could not be cut short: %s", worker_id, error)
            return False
        except Exception:
            log.warning("The blocking take of %s could not be cut short; it ends by itself", worker_id, exc_info=True)
            return False
        return True

    def _hand_back(self, worker_id: str, on_done: Callable[[int], None] | None, hang: Hang | None) -> None:
        while True:
            self._link.wait()
            try:
                # The server may not know yet that the connection is dead: what is handed back must not be moved at
                # once into the inbox of somebody who will never look.
                is_cut = self.cut_take_short(worker_id)
                with self._link.guard():
                    done = self._keeper.hand_back(worker_id, hang=hang)
                break
            except Unreachable:
                continue
            except ServerError as error:
                log.error(
                    "What the dead worker %s held cannot be handed back: %s. Trying again in %g s",
                    worker_id,
                    error,
                    RETRY,
                )
                gevent.sleep(RETRY)
            except Exception:
                # The master counts on it, and there may be no other worker to do it.
                log.exception("A bug in pytask: what the dead worker %s held is not handed back yet", worker_id)
                gevent.sleep(RETRY)
        log.debug("Handed back what the dead worker %s held: %d tasks wait again", worker_id, done.waiting)
        if hang is not None:
            tell_hang(hang, done.convicted)
        else:
            tell_deaths(done.convicted, done.often)
        if on_done is not None:
            on_done(done.waiting)
        if not is_cut:
            gevent.sleep(TAKE_TIMEOUT)
            self._unbox(worker_id)

    def _unbox(self, worker_id: str) -> None:
        """Hand back what a take that could not be cut short has moved since."""
        while True:
            self._link.wait()
            try:
                with self._link.guard():
                    self._keeper.hand_back(worker_id)
            except Unreachable:
                continue
            except ServerError as error:
                log.warning("The inbox of the dead worker %s cannot be looked at once more: %s", worker_id, error)
            return

    def _count_queues(self, on_done: Callable[[dict[str, int]], None]) -> None:
        try:
            with self._link.guard(tell=False):
                lengths = self._helpers.queue_lengths()
        except (Unreachable, ServerError):
            return
        on_done(lengths)
