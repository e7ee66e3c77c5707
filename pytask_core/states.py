"""Task states, a sentence each, and the moves between them.

The moves themselves are made by the scripts in ``scripts/``; this table says which are legal.
"""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """The values of the field ``state`` in a task's hash. No value at all means ``WAIT``."""

    WAIT = "WAIT"  #: stands in the new queue, any worker may claim it
    RUNNING = "RUNNING"  #: in a worker's hands, locked to it by a claim token
    SUCCESS = "SUCCESS"  #: ``start`` returned; its value is the output
    ERROR = "ERROR"  #: the task raised ``self.Error``; its message is the output
    EXCEPTION = "EXCEPTION"  #: anything else was raised; the traceback is the output
    STOPPED = "STOPPED"  #: stopped on purpose before it could end


#: States that carry an output and leave the active set for the end queue.
FINAL = frozenset({TaskState.SUCCESS, TaskState.ERROR, TaskState.EXCEPTION})

#: Legal moves. Removal is legal from every state.
TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.WAIT: frozenset({TaskState.RUNNING, TaskState.STOPPED, TaskState.EXCEPTION}),
    TaskState.RUNNING: FINAL | {TaskState.STOPPED, TaskState.WAIT},
    TaskState.STOPPED: frozenset({TaskState.WAIT, TaskState.RUNNING}),
    # STOPPED where another program has pushed it once more, and it is stopped before that starts it.
    **{state: frozenset({TaskState.WAIT, TaskState.RUNNING, TaskState.STOPPED}) for state in FINAL},
}
