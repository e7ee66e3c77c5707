"""``Middleware``: what is done around every run of a task. ``Chain`` calls several of them, hook by hook.

The ids in log records, the statistics and the exception handlers are middlewares, and so is whatever comes next. A
hook that a middleware does not override is not called at all, so it costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .states import TaskState
    from .task import Task
    from .worker.execution import Execution

log = logging.getLogger("pytask.runner")

_FAILED = "The hook %r of a middleware failed; the task and its worker go on"


class Middleware:
    """Override the hooks that you need. The first of several is the outermost: it begins first and is told last.

    A hook up to the end of ``start`` belongs to the task: what it raises is as if the task had raised it. What a later
    hook raises is logged and changes nothing.
    """

    def on_claim(self, execution: Execution, waited: float | None) -> None:
        """A task has come from the queue, where it has waited for so many seconds, if that is known."""

    def before_run(self, execution: Execution) -> None:
        """Its greenlet begins: nothing of the task has been looked at yet."""

    def around_run(self, execution: Execution, call: Callable[[], Any]) -> Any:  # noqa: ARG002 - it is a hook
        """Do as you like around ``return call()``, which enters the context, makes the instance and runs ``start``.

        What this returns is the output. ``call`` may be left out, and what it raises may be caught.
        """
        return call()

    def before_stop(self, execution: Execution) -> None:
        """The greenlet begins in which ``stop`` is to run, beside that of ``start``."""

    def on_end(self, execution: Execution, state: TaskState, output: str) -> None:
        """The task has ended, and its end is on the way to Redis.

        Args:
            execution: which.
            state: ``SUCCESS``, ``ERROR`` or ``EXCEPTION``.
            output: as JSON.
        """

    def on_exception(self, execution: Execution, error: BaseException) -> None:
        """It has ended as ``EXCEPTION`` by this error; called after :meth:`on_end`, in the task's greenlet too."""

    def on_requeue(self, execution: Execution) -> None:
        """The task has not ended, and is on its way back to the queue."""

    def on_settled(self, execution: Execution, state: str | None) -> None:
        """The task has left this worker's hands, in Redis too.

        Args:
            execution: which.
            state: what it is since it has ended or stopped here; None where it waits again or is another worker's.
        """


#: What runs a task, and what a chain makes of it.
Perform = Callable[["Execution", "type[Task]"], Any]


class Chain:
    """Middlewares in order, the outermost first.

    Args:
        middlewares: all of them.
    """

    def __init__(self, middlewares: Iterable[Middleware]) -> None:
        inwards = list(middlewares)
        outwards = inwards[::-1]
        #: What they raise is the task's.
        self.before_run = [m.before_run for m in inwards if type(m).before_run is not Middleware.before_run]
        self.before_stop = [m.before_stop for m in inwards if type(m).before_stop is not Middleware.before_stop]
        self._around_run = [m.around_run for m in outwards if type(m).around_run is not Middleware.around_run]
        self._on_claim = [m.on_claim for m in inwards if type(m).on_claim is not Middleware.on_claim]
        self._on_end = [m.on_end for m in outwards if type(m).on_end is not Middleware.on_end]
        self._on_exception = [m.on_exception for m in outwards if type(m).on_exception is not Middleware.on_exception]
        #: Whether anything is done at an end; most tasks are so short that a call for nothing would be felt.
        self.hears_ends = bool(self._on_end)
        self._on_requeue = [m.on_requeue for m in outwards if type(m).on_requeue is not Middleware.on_requeue]
        self._on_settled = [m.on_settled for m in outwards if type(m).on_settled is not Middleware.on_settled]

    def around(self, perform: Perform) -> Perform:
        """Return ``perform`` inside all middlewares, which is itself where none stands around a run."""
        for hook in self._around_run:
            perform = _inside(hook, perform)
        return perform

    # What they raise from here on is logged, and harms neither the task nor the worker.

    def on_claim(self, execution: Execution, waited: float | None) -> None:
        """See :meth:`Middleware.on_claim`."""
        for hook in self._on_claim:
            try:
                hook(execution, waited)
            except BaseException:
                log.exception(_FAILED, hook)

    def on_end(self, execution: Execution, state: TaskState, output: str) -> None:
        """See :meth:`Middleware.on_end`."""
        for hook in self._on_end:
            try:
                hook(execution, state, output)
            except BaseException:
                log.exception(_FAILED, hook)

    def on_exception(self, execution: Execution, error: BaseException) -> None:
        """See :meth:`Middleware.on_exception`."""
        for hook in self._on_exception:
            try:
                hook(execution, error)
            except BaseException:
                log.exception(_FAILED, hook)

    def on_requeue(self, execution: Execution) -> None:
        """See :meth:`Middleware.on_requeue`."""
        for hook in self._on_requeue:
            try:
                hook(execution)
            except BaseException:
                log.exception(_FAILED, hook)

    def on_settled(self, execution: Execution, state: str | None) -> None:
        """See :meth:`Middleware.on_settled`."""
        for hook in self._on_settled:
            try:
                hook(execution, state)
            except BaseException:
                log.exception(_FAILED, hook)


def _inside(hook: Callable[[Execution, Callable[[], Any]], Any], perform: Perform) -> Perform:
    return lambda execution, cls: hook(execution, partial(perform, execution, cls))
