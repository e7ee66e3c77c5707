"""``native_locks``: while a worker lives, no lock of ``logging`` that native threads and greenlets share is gevent's.

Such a lock hangs greenlets for ever once a native thread logs beside them. What it guards here never gives way to
another greenlet, so a native lock, which belongs to the thread, does no harm. Handlers that send over a network keep
theirs.
"""

from __future__ import annotations

import logging
import logging.handlers

from gevent import monkey

#: Handlers that write by themselves and give way to nobody meanwhile. Not their subclasses, of which nothing is known.
_WRITERS = {
    logging.StreamHandler,
    logging.FileHandler,
    logging.handlers.WatchedFileHandler,
    logging.handlers.RotatingFileHandler,
    logging.handlers.TimedRotatingFileHandler,
}


def native_locks() -> None:
    """Give native locks to ``logging`` and to the handlers there are."""
    native = monkey.get_original("_thread", "RLock")
    logging._lock = native()  # type: ignore[attr-defined] # theirs
    for reference in list(logging._handlerList):  # type: ignore[attr-defined] # theirs
        handler = reference()
        if handler is not None and type(handler) in _WRITERS and handler.lock is not None:
            handler.lock = native()
