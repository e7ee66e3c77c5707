"""pytask: tasks that wait on the network, run for milliseconds or for ever, and are never lost."""

from .current import TaskIdFilter, current_task_id
from .errors import InvalidTask, MissingTaskError, PayloadTooLarge, PyTaskException, RedisRefused, StopTask
from .helpers import PyTaskHelpers, run_loop
from .process.log_lines import install as bound_log_lines
from .pytask import PyTask
from .states import TaskState
from .task import Task
from .tasks import Cleanup, Monitor

bound_log_lines()

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
