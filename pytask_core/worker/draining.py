"""Lets a worker that will be replaced finish its short tasks, so that none has to start again.

Nothing tells a short task from one that runs for ever. What has run for longer than one would wait for it will hardly
end just now, so it is not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import gevent

from .execution import Execution


def wait_for_young(tasks: Mapping[str, Execution], patience: float) -> None:
    """Return once all tasks have ended that began less than ``patience`` seconds ago; after ``patience`` at the latest.

    Args:
        tasks: in the worker's hands, by id, as they come and go; local ones are not waited for.
        patience: seconds.
    """
    began = time.monotonic()
    while True:
        young = [
            entry.greenlet
            for entry in tasks.values()
            if not entry.local and entry.greenlet and (entry.began or began) > began - patience
        ]
        if not young or not (left := began + patience - time.monotonic()) > 0:
            return
        gevent.joinall(young, timeout=left)
        # A reload has begun it again, or its end is on its way to Redis.
        gevent.sleep(0.01)
