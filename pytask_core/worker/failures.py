"""What the log and the output say of a run that failed."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

from ..payload import encode
from ..states import TaskState
from ..task import Task, of_class
from .execution import Execution

log = logging.getLogger("pytask.runner")

#: Characters of a traceback or message that are kept: the beginning of one that is longer says nothing more. In JSON a
#: character has twelve bytes at most, so that this many are always below ``MAX_PAYLOAD``.
_TEXT_CAP = 80_000


#: How a run ended: the state, the output as JSON, and what has ended it as ``EXCEPTION``.
RunResult = tuple[TaskState, str, BaseException | None]


def is_expected(task_class: type[Task], error: BaseException) -> bool:
    """Whether a task has raised its ``Error``."""
    own = of_class(task_class, "Error")
    return isinstance(error, Task.Error) or (isinstance(own, type) and isinstance(error, own))


def failed(execution: Execution, error: BaseException, trace: TracebackType | None, *, expected: bool) -> RunResult:
    """Return how a run has ended that has raised something, and log it.

    Args:
        execution: which.
        error: what it has raised.
        trace: the part of its traceback that tells the user something.
        expected: whether it is the task's ``Error``.
    """
    try:
        if expected:
            message = str(error)[:_TEXT_CAP]
            log.warning("Task %r (%s) ended as ERROR: %.200s", execution.id, execution.name, message)
            return TaskState.ERROR, encode("the message", message), None
        text = "".join(traceback.format_exception(type(error), error, trace))
        log.error("Task %r (%s) ended as EXCEPTION:\n%s", execution.id, execution.name, text[:5000].rstrip())
        return TaskState.EXCEPTION, encode("the traceback", text[:_TEXT_CAP]), error
    except BaseException as trouble:  # noqa: BLE001 - an error that cannot even be written ends its task as well
        words = f"{type(error).__name__}, whose text cannot be had, since that raises {type(trouble).__name__}"
        log.error("Task %r (%s) ended as EXCEPTION: %s", execution.id, execution.name, words)
        return TaskState.EXCEPTION, encode("the traceback", words), error
