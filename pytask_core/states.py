"""The states of a task, the commands to it, and why a copy leaves its worker, each word once.

The Lua scripts take these words from here (``store/scripts.py``). They make the moves between the states;
``tests/support/legal_moves.py`` says which are legal.
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


class OldState(StrEnum):
    """States that pytask 1.0 wrote. We read them and never write them."""

    COMPLETE = "COMPLETE"  #: now SUCCESS


class Command(StrEnum):
    """The values of the field ``command``: what a running task is to do. The control channel carries the same words."""

    STOP = "stop"  #: leave, and stay stopped
    RESTART = "restart"  #: leave, and run again
    RELOAD = "reload"  #: run again in the same worker, on the data that the hash has now


class Reason(StrEnum):
    """Why a copy of a task leaves its worker."""

    STOP = "stop"  #: the task was stopped on purpose, or restarted
    REQUEUE = "requeue"  #: the worker stops, and another is to run the task
    RELOAD = "reload"  #: the worker runs it again on fresh data
    LOST = "lost"  #: the task is no longer this worker's
    ELSEWHERE = "elsewhere"  #: this worker does not know its name, and passes it on


#: States that carry an output and leave the active set for the end queue.
FINAL = frozenset({TaskState.SUCCESS, TaskState.ERROR, TaskState.EXCEPTION})
