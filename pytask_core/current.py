"""Which task is speaking: known in its greenlet, in ``stop``, and in all greenlets these spawn.

The runner says whose greenlet it is; ``TaskIdFilter`` tells it to log handlers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gevent import getcurrent

from .middleware import Middleware

if TYPE_CHECKING:
    from .worker.execution import Execution

_KEY = "pytask-task-id"


def current_task_id() -> str | None:
    """Return the id of the task that the current greenlet works for, or None."""
    return getattr(getcurrent(), "spawn_tree_locals", {}).get(_KEY)


class CurrentTask(Middleware):
    """Has the greenlets in which a task's methods run, and all that they spawn from then on, work for the task."""

    def before_run(self, execution: Execution) -> None:
        """That of ``start``."""
        greenlet: Any = getcurrent()
        # Its own dictionary: until now it shares that of its spawner.
        greenlet.spawn_tree_locals = {_KEY: execution.id}

    def before_stop(self, execution: Execution) -> None:
        """That of ``stop``."""
        self.before_run(execution)


class TaskIdFilter(logging.Filter):
    """Put the attribute ``task_id`` on each record: the task that logs, or None. Add it to a handler, not to a logger.

    Records that have the attribute already, as from ``extra={'task_id': …}``, keep it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if not hasattr(record, "task_id"):
            record.task_id = current_task_id()
        return True
