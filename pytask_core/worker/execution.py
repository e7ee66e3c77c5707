"""``Execution``: one copy of a task in a worker's hands, as the worker's rooms see it.

Its life: claimed, ``began``, ``started``, ``ended``; a copy that cannot be made ends without having started. At any
time it may be asked to leave, and is then ``leaving`` for a reason, until it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import gevent

from ..states import Reason
from ..task import Task


class StopCall(Enum):
    """How far the call of a task's ``stop`` is."""

    NOT_MADE = auto()
    UNDER_WAY = auto()
    OVER = auto()


@dataclass(slots=True, eq=False)
class Execution:
    """One copy of a task in this worker's hands."""

    id: str
    token: str
    name: str | None
    data: str | int | None  #: JSON, or how many bytes of it there are, too many to be read; None once it is decoded
    local: bool = False
    arguments: dict[str, Any] | None = None  #: the data once it is decoded, and until the instance is made
    task: Task | None = None
    greenlet: gevent.Greenlet | None = None
    # Its life.
    began: float = 0.0  #: when its greenlet first ran: seconds, monotonic; 0: not yet
    started: bool = False  #: ``start`` has begun
    ended: bool = False  #: ``start`` is over and the end is on its way to Redis
    took: float | None = None  #: seconds from ``began`` to that end
    # Its way out.
    leaving: Reason | None = None  #: why it leaves the worker, once it was asked to
    stop_call: StopCall = StopCall.NOT_MADE
    thrown: BaseException | None = None  #: what was last thrown into it, or is about to be
    interrupted: bool = False  #: something was raised in it before that

    def throw(self, error: BaseException) -> None:
        """Have an exception raised in it, as soon as it is its turn."""
        assert self.greenlet is not None
        self.interrupted = self.is_interrupted
        self.thrown = error
        self.greenlet.kill(error, block=False)

    @property
    def is_interrupted(self) -> bool:
        """Whether what we threw into it was raised there."""
        # An exception has a traceback from the moment on in which it is raised in the task.
        return self.interrupted or (self.thrown is not None and self.thrown.__traceback__ is not None)

    def has_ended(self, *, shows: bool) -> bool:
        """Whether a copy that is over has ended by itself; otherwise it gave way to the one that asked it to leave.

        Args:
            shows: it has something to show: a value that it returned, or its own ``Error``. A task that was told to
                stop and returns nothing has obeyed; one that returns something while its ``stop`` waits has ended.
        """
        if self.leaving is None:
            return True
        if self.leaving is Reason.LOST or self.is_interrupted:
            return False
        return self.stop_call is StopCall.NOT_MADE or (shows and self.stop_call is StopCall.UNDER_WAY)
