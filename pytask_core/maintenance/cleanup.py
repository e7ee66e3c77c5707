"""``CleanupService``: drains the end queue, and shows a handler what has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import gevent

from ..connection import disconnect
from ..connection.complaints import PAUSE, Complaints
from ..connection.link import ServerError, Unreachable
from ..errors import StopTask
from ..process.service import Service
from .means import Means

log = logging.getLogger("pytask.cleanup")

#: Seconds that a Cleanup waits for an ended task before it looks whether it is to stop.
WAIT_TIMEOUT = 1.0

Handler = Callable[[str, dict[str, str]], object]


class CleanupService(Service):
    """Many may work: each collects other tasks.

    Args:
        means: of the worker in which it works.
        handler: called with the id and the hash of each ended task; None: none.
        retention: seconds for which ended tasks stay readable.
    """

    def __init__(self, means: Means, handler: Handler | None, retention: int) -> None:
        super().__init__()
        self._means = means
        self._handler = handler
        self._retention = retention

    def run(self) -> None:
        """Clean up for ever."""
        complaints = Complaints(log, "Ended tasks cannot be cleaned up", f"Trying every {PAUSE:g} s")
        blocking = self._means.new_client(f"pytask-cleanup-{self._means.worker}")
        try:
            self._means.link.serve(lambda: self._clean_up(blocking), complaints)
        finally:
            disconnect(blocking)
            self._put_back()

    def _put_back(self) -> None:
        """Leave what was not dealt with to other Cleanups, which else would get it only after this worker's end."""
        means = self._means
        with means.cleaning, suppress(Unreachable, ServerError), means.link.guard(tell=False):
            means.keeper.put_back(means.worker)

    def _clean_up(self, blocking: Any) -> None:
        means = self._means
        with means.cleaning:
            with means.link.guard(tell=False):
                ended = means.keeper.collect(means.worker, hashes=self._handler is not None)
            if ended:
                done = [(task_id, not self._handle(task_id, task), task.get("owner", "")) for task_id, task in ended]
                with means.link.guard(tell=False):
                    count = means.keeper.discard(means.worker, done, self._retention)
                log.debug("Cleaned up %d ended tasks", count)
        if not ended:
            with means.link.guard(tell=False):
                means.keeper.wait_for_ended(blocking, WAIT_TIMEOUT)

    def _handle(self, task_id: str, task: Mapping[str, str]) -> bool:
        """Call the handler; return whether the task may be forgotten."""
        if self._handler is None or not task:
            return True
        try:
            self._handler(task_id, dict(task))
        except (StopTask, gevent.GreenletExit):
            raise  # it is this Cleanup that is to stop; the next one deals with the task
        except BaseException:
            log.exception(
                "The cleanup handler failed for task %r; the task stays in the task set, where it can be looked at",
                task_id,
            )
            return False
        return True
