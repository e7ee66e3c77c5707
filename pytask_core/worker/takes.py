"""``Takes``: ends blocking takes before their time: those of this worker, and those of the dead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from ..connection import unblock, unblock_own
from ..connection.link import RedisLink, ServerError, Unreachable

log = logging.getLogger("pytask.worker")


def take_name(worker_id: str) -> str:
    """Return as what ``CLIENT LIST`` shows the connection on which a worker waits for work."""
    return f"pytask-take-{worker_id}"


class Takes:
    """Each method returns False where the server does not let us: then the take ends by itself.

    Args:
        worker_id: of this worker.
        client: by which the server is asked.
        waiting: the client with which this worker waits for work.
        new_queue: on what all takes wait.
        link: whether Redis can be reached.
    """

    def __init__(self, worker_id: str, client: Any, waiting: Any, new_queue: str, link: RedisLink) -> None:
        self._worker_id = worker_id
        self._client = client
        self._waiting = waiting
        self._new_queue = new_queue
        self._link = link

    def cut_own(self) -> bool:
        """End the take of this worker that is under way, by the number of its connection, if there is one."""
        return self._cut(self._worker_id, partial(unblock_own, self._client, self._waiting))

    def cut(self, worker_id: str) -> bool:
        """End all takes of a worker, also over connections that it has lost and the server still believes in."""
        return self._cut(worker_id, partial(unblock, self._client))

    def _cut(self, worker_id: str, unblock_by: Callable[[str, str], None]) -> bool:
        try:
            with self._link.guard(tell=False):
                unblock_by(take_name(worker_id), self._new_queue)
        except (Unreachable, ServerError) as error:
            log.debug("The blocking take of %s could not be cut short: %s", worker_id, error)
            return False
        except Exception:
            log.warning("The blocking take of %s could not be cut short; it ends by itself", worker_id, exc_info=True)
            return False
        return True
