"""``safe_locks``: keeps gevent's locks out of ``logging``, where native threads would hang a worker.

Such a lock hangs greenlets for ever once a native thread logs beside them. What Python's own handlers write gives way
to no other greenlet, so a native lock, which belongs to the thread, does no harm there. Of other handlers nothing is
known, and some send over a network: they have a lock that belongs to one greenlet of one thread.
"""

from __future__ import annotations

import logging
import logging.handlers
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import monkey
from gevent._hub_local import get_hub_if_exists

from ..current import current_task_id
from .greenlets import once

log = logging.getLogger("pytask.worker")

#: Handlers that write by themselves and switch to no other greenlet meanwhile. Not their subclasses, which may do
#: anything.
_WRITERS = {
    logging.StreamHandler,
    logging.FileHandler,
    logging.handlers.WatchedFileHandler,
    logging.handlers.RotatingFileHandler,
    logging.handlers.TimedRotatingFileHandler,
}

#: Seconds between two looks at a lock that another has. Shorter: lines go out sooner. Longer: waiting costs less.
PAUSE = 0.001

#: Seconds that a greenlet waits for a handler until the log tells of it. Shorter finds a deaf log server sooner.
SAY_AFTER = 10.0

_native_lock: Any = monkey.get_original("_thread", "allocate_lock")
_native_rlock: Any = monkey.get_original("_thread", "RLock")
_native_sleep: Any = monkey.get_original("time", "sleep")


class GreenletLock:
    """As ``threading.RLock``, for greenlets of several threads: its owner is one greenlet, and others look again.

    Args:
        name: what it guards, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._at_fork_reinit()

    def _at_fork_reinit(self) -> None:
        # By this name ``logging`` asks for it in a forked process.
        self._lock = _native_lock()
        self._owner: Any = None
        self._owner_task: str | None = None
        self._depth = 0
        self._is_told = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; False where that was not possible at once, or in ``timeout`` seconds."""
        own = gevent.getcurrent()
        if self._owner is own:
            self._depth += 1
            return True
        if not self._lock.acquire(False) and not (blocking and self._wait(timeout)):
            return False
        self._owner, self._owner_task, self._depth = own, current_task_id(), 1
        return True

    def _wait(self, timeout: float) -> bool:
        began = time.monotonic()
        # A native thread that has no loop, such as one of a pool, is to get none from us.
        in_loop = get_hub_if_exists() is not None
        while not self._lock.acquire(False):
            waited = time.monotonic() - began
            if 0 <= timeout <= waited:
                return False
            if in_loop and waited > SAY_AFTER and not self._is_told:
                self._is_told = True
                once(self._tell)
            (gevent.sleep if in_loop else _native_sleep)(PAUSE)
        return True

    def _tell(self) -> None:
        task_id = self._owner_task
        log.warning(
            "%s has been busy with one record for %g s, and all that log by it wait for that%s. Does what it sends to "
            "answer? It should have a timeout",
            self._name,
            SAY_AFTER,
            "" if task_id is None else f"; the record is of task {task_id!r}",
        )

    def release(self) -> None:
        """Let go of it once.

        Raises:
            RuntimeError: another has it.
        """
        if self._owner is not gevent.getcurrent():
            raise RuntimeError("cannot release a lock that another greenlet has")
        self._depth -= 1
        if not self._depth:
            self._owner = self._owner_task = None
            self._is_told = False
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()


@contextmanager
def safe_locks() -> Iterator[None]:
    """Give such locks to ``logging``, to the handlers there are, and to those that are made for a while."""
    logging._lock = _native_rlock()  # type: ignore[attr-defined] # theirs
    for reference in list(logging._handlerList):  # type: ignore[attr-defined] # theirs
        handler = reference()
        # What has another kind of lock, or none, wanted that.
        if handler is not None and isinstance(handler.lock, type(threading.RLock())):
            handler.lock = _lock_for(handler)
    create = logging.Handler.createLock

    def create_safe(handler: logging.Handler) -> None:
        create(handler)
        handler.lock = _lock_for(handler)

    logging.Handler.createLock = create_safe  # type: ignore[method-assign,assignment] # what is made from now on asks for it
    try:
        yield
    finally:
        if logging.Handler.createLock is create_safe:
            logging.Handler.createLock = create  # type: ignore[method-assign] # as it was


def _lock_for(handler: logging.Handler) -> Any:
    return _native_rlock() if type(handler) in _WRITERS else GreenletLock(f"The log handler {type(handler).__name__}")
