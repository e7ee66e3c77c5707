"""``Monitor`` and ``Cleanup``: the tasks that keep a system in shape. Any number of workers may run them."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import InvalidTask
from .maintenance.cleanup import CleanupService, Handler
from .maintenance.monitor import MonitorService, Patience
from .process import log_lines
from .task import Task

if TYPE_CHECKING:
    from .worker.worker import Worker

__all__ = ["Cleanup", "Monitor"]

log_lines.install()

#: Seconds that any time here may last, ten years: what is longer is a mistake, and more than Redis can count.
LONGEST = 10 * 365 * 86_400.0


def _worker_of(task: Task) -> Worker:
    assert task.__pytask__ is not None, "a worker makes it"
    return task.__pytask__.tools.worker


class Monitor(Task):
    """Requeues the tasks of workers that are gone.

    Many may run: each interval one of them has a round, the others find it done.

    Args:
        loop_interval: seconds between rounds. Shorter finds a lost host sooner, longer costs less.
        task_timeout: seconds without a renewal after which a task goes to another worker; default that of the app.
            Where it is shorter than a worker's own, that worker learns so with its next renewal, renews more often, and
            is judged by it from then on. Of several Monitors the shortest counts.
    """

    NAME = "pytask/monitor"

    def __init__(self, loop_interval: float = 10, task_timeout: float | None = None) -> None:
        timeout = _worker_of(self).config.task_timeout if task_timeout is None else task_timeout
        for name, value in (("loop_interval", loop_interval), ("task_timeout", timeout)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
                raise InvalidTask(f"{name} must be a number of seconds above 0 and at most {LONGEST:g}, not {value!r}")
        self.loop_interval = loop_interval
        self.task_timeout = timeout

    def start(self) -> None:
        """Check for ever."""
        self._service(self.check_tasks).run()

    def check_tasks(self) -> None:
        """Have one round, unless another Monitor has had it."""
        self._service().check()

    def _service(self, round_: Callable[[], None] | None = None) -> MonitorService:
        worker = _worker_of(self)
        patience = Patience(
            interval=self.loop_interval,
            task_timeout=self.task_timeout,
            unpromised=worker.config.task_timeout,
            unknown_timeout=worker.config.unknown_timeout,
        )
        return MonitorService(worker.means.keeper, worker.means.link, patience, round_)


class Cleanup(Task):
    """Drains the end queue: calls a handler with each ended task, and then forgets it.

    The handler is called at least once for each: also after a crash in the middle. Where it raises, that is logged and
    the task stays in the task set.

    Args:
        task_handler: ``module:attribute`` of ``handler(task_id, task)``, task being the hash as a dict. A Cleanup that
            is started through Redis may name only what the app lists in ``cleanup_handlers``.
        retention: seconds for which ended tasks stay readable, rounded up; 0: they are removed at once. Longer lets
            people look, shorter spares memory.

    Raises:
        InvalidTask: the handler is not allowed or cannot be imported.
    """

    NAME = "pytask/cleanup"

    def __init__(self, task_handler: str | None = None, retention: float = 0) -> None:
        if isinstance(retention, bool) or not isinstance(retention, (int, float)) or not 0 <= retention <= LONGEST:
            raise InvalidTask(f"retention must be a number of seconds, 0 to {LONGEST:g}, not {retention!r}")
        self.retention = math.ceil(retention)
        self.task_handler: Handler | None = None
        if task_handler is not None:
            allowed = _worker_of(self).config.cleanup_handlers
            if not _worker_of(self).is_local(self.id) and task_handler not in allowed:
                raise InvalidTask(
                    f"a Cleanup that is started through Redis may not call {task_handler!r}; list it in "
                    "PyTask(cleanup_handlers=…), or start the Cleanup with start_local_task"
                )
            self.task_handler = _load(task_handler)

    def start(self) -> None:
        """Clean up for ever."""
        CleanupService(_worker_of(self).means, self.task_handler, self.retention).run()


def _load(path: str) -> Handler:
    module, _, attribute = path.partition(":")
    try:
        handler: Any = import_module(module)
        for part in attribute.split("."):
            handler = vars(handler)[part]
    except (ImportError, ValueError, KeyError, TypeError) as error:
        raise InvalidTask(f"the cleanup handler {path!r} cannot be imported as module:attribute: {error!r}") from error
    if not callable(handler):
        raise InvalidTask(f"the cleanup handler {path!r} cannot be called")
    return handler  # type: ignore[no-any-return] # any callable will do
