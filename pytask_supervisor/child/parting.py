"""``part``: does what Python does at its end, in a worker that has left. Called by ``run_child``."""

from __future__ import annotations

import atexit
import logging
import sys
import threading

import gevent

log = logging.getLogger("pytask.supervisor")

#: Seconds that what the app runs at exit has: at least, and at most where the graceful timeout leaves as much. Longer
#: lets pools finish what they have begun, shorter lets workers leave.
LEAST, MOST = 0.5, 5.0


def part(patience: float) -> None:
    """Tell pools of threads and processes that it is over, as Python does first, and then run what ``atexit`` knows.

    Processes of pools that have not ended in ``patience`` seconds are killed, since nothing else would end them.
    """
    running = gevent.spawn(_run)
    running.join(max(LEAST, min(MOST, patience)))
    if running.ready():
        return
    pools = sys.modules.get("multiprocessing.process")
    children = list(pools.active_children()) if pools is not None else []
    log.warning(
        "what the app runs at exit has not ended in time, and is not waited for; killed with it: %s",
        "1 process" if len(children) == 1 else f"{len(children)} processes",
    )
    for child in children:
        child.kill()


def _run() -> None:
    # Executors ask to be told before ``atexit``, since they wait for what they have in hand. Not the whole of Python's
    # own function: it waits for every thread of the app, for ever.
    for call in reversed(threading._threading_atexits):  # type: ignore[attr-defined] # theirs
        try:
            call()
        except Exception:
            log.exception("a pool of the app could not be ended")
    atexit._run_exitfuncs()
