"""pytask: tasks that wait on the network, run for milliseconds or for ever, and are never lost.

Each public name is loaded when it is first used. Who needs only ``keys``, ``states`` or ``urls``, as the supervisor's
master does, loads neither gevent nor redis.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .current import TaskIdFilter, current_task_id
    from .errors import InvalidTask, MissingTaskError, PayloadTooLarge, PyTaskException, RedisRefused, StopTask
    from .helpers import PyTaskHelpers, run_loop
    from .pytask import PyTask
    from .states import TaskState
    from .task import Task
    from .tasks import Cleanup, Monitor

__all__ = [
    "PyTask",
    "Task",
    "PyTaskHelpers",
    "Monitor",
    "Cleanup",
    "run_loop",
    "current_task_id",
    "TaskIdFilter",
    "TaskState",
    "PyTaskException",
    "StopTask",
    "MissingTaskError",
    "InvalidTask",
    "PayloadTooLarge",
    "RedisRefused",
]

#: The public modules, and which of the names above each has.
_MODULES = {
    "pytask": ("PyTask",),
    "task": ("Task",),
    "helpers": ("PyTaskHelpers", "run_loop"),
    "tasks": ("Monitor", "Cleanup"),
    "current": ("current_task_id", "TaskIdFilter"),
    "states": ("TaskState",),
    "errors": (
        "PyTaskException",
        "StopTask",
        "MissingTaskError",
        "InvalidTask",
        "PayloadTooLarge",
        "RedisRefused",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

# Type checkers see the imports above instead: with this function any name would pass as one of ours.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the module that has ``name``, or is called so (PEP 562)."""
        if name not in _HOMES and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f".{_HOMES.get(name, name)}", __name__)
        found = globals()[name] = getattr(module, name) if name in _HOMES else module
        return found


def __dir__() -> list[str]:
    """Every public name, loaded or not."""
    return sorted({*globals(), *__all__, *_MODULES})
