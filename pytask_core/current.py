"""Which task is speaking: known in its greenlet, in ``stop``, and in all greenlets these spawn.

The runner says whose greenlet it is; ``TaskIdFilter`` tells it to log handlers.
"""

from __future__ import annotations

import logging
from typing import Any

from gevent import getcurrent

_KEY = "pytask-task-id"


def current_task_id() -> str | None:
    """Return the id of the task that the current greenlet works for, or None."""
    return getattr(getcurrent(), "spawn_tree_locals", {}).get(_KEY)


def work_for(task_id: str) -> None:
    """Make the current greenlet, and all that it spawns from now on, work for a task."""
    greenlet: Any = getcurrent()
    # Its own dictionary: until now it shares that of whoever spawned it.
    greenlet.spawn_tree_locals = {_KEY: task_id}


class TaskIdFilter(logging.Filter):
    """Put the attribute ``task_id`` on each record: the task that logs, or None. Add it to a handler, not to a logger.

    Records that have the attribute already, as from ``extra={'task_id': …}``, keep it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if not hasattr(record, "task_id"):
            record.task_id = current_task_id()
        return True
