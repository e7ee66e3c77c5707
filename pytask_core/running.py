"""``Running``: one copy of a task in a worker's hands, as the worker's rooms see it."""

from __future__ import annotations

from dataclasses import dataclass

import gevent

from .task import Task


@dataclass(slots=True, eq=False)
class Running:
    """One copy of a task in this worker's hands."""

    id: str
    token: str
    name: str | None
    data: str | None
    local: bool = False
    task: Task | None = None
    greenlet: gevent.Greenlet | None = None
    began: float = 0.0  #: when its greenlet first ran: seconds, monotonic; 0: not yet
    started: bool = False  #: ``start`` has begun
    ended: bool = False  #: ``start`` is over and the end is on its way to Redis
    took: float | None = None  #: seconds from ``began`` to that end
    leaving: str | None = None  #: what it is to be: stop, reload, requeue or lost
    told: bool = False  #: its ``stop`` was called, or something was thrown into it before
    thrown: BaseException | None = None  #: what was last thrown into it, or is about to be

    @property
    def gives_way(self) -> bool:
        """Whether it leaves; one that ended by itself before it heard that it is to be requeued has simply ended."""
        if self.leaving != "requeue":
            return self.leaving is not None
        # An exception has a traceback from the moment on in which it is raised in the task.
        return self.told or (self.thrown is not None and self.thrown.__traceback__ is not None)
