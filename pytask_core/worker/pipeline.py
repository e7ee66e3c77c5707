"""``Pipeline``: one run of a task, step by step.

It finds the class, decodes the data, enters the context, makes the instance, starts it, and encodes what it returns.
The executor calls it in the task's greenlet, and reports the result. Middlewares stand around the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

import gevent

from ..connection.link import ServerError, Unreachable
from ..errors import MissingTaskError, PyTaskException
from ..middleware import Chain
from ..payload import decode_data, encode
from ..process.forks import end_copy
from ..states import Reason, TaskState
from ..task import LONGEST_NAME, Bond, Task, Tools
from .execution import Execution
from .failures import RunResult, failed, is_expected
from .reporter import Reporter


class Pipeline:
    """The steps of a run.

    Args:
        classes: task classes by name.
        max_payload: bytes of JSON that data, an output or an event may have.
        tools: what every task is given, such as ``redis`` and ``helpers``.
        chain: the middlewares.
        reporter: where events go.
        misplaced: called with each task whose name has no class here.
        unmade: called with a local task that could not be made, and why; returns whether the caller sees to it.
        requeue: called with a task that goes back to the queue, through no fault of its own.
    """

    def __init__(
        self,
        classes: Mapping[str, type[Task]],
        max_payload: int,
        tools: Tools,
        chain: Chain,
        reporter: Reporter,
        misplaced: Callable[[Execution], object],
        unmade: Callable[[Execution, BaseException], bool],
        requeue: Callable[[Execution], object],
    ) -> None:
        self._classes = classes
        self._max_payload = max_payload
        self._tools = tools
        self._before_run = chain.before_run
        self._perform_inside = chain.around(self._perform)
        self._reporter = reporter
        self._misplaced = misplaced
        self._unmade = unmade
        self._requeue = requeue
        #: This is a process that a task has forked: it ends with that task, and Redis hears nothing.
        self.is_copy = False

    def run(self, execution: Execution) -> RunResult | None:
        """Run a task; None: it gave way, and what asked it to leave reports what it is now."""
        try:
            for prepare in self._before_run:
                prepare(execution)
            cls = self._classes.get(execution.name or "")
            if cls is None:
                self._leave_to_others(execution)
                return None
            execution.arguments = decode_data(execution.data, self._max_payload)
            execution.data = None  # Once is enough in memory.
            value = self._perform_inside(execution, cls)
            if execution.leaving is not None:  # as most are not, and a call is felt
                shows = value is not None and not isinstance(value, gevent.GreenletExit)
                if not execution.has_ended(shows=shows):
                    return None
            return TaskState.SUCCESS, encode("the output", value, self._max_payload), None
        except (Unreachable, ServerError):
            if execution.leaving is None:
                self._requeue(execution)
            return None
        except BaseException as error:  # noqa: BLE001 - SystemExit of a task is that task's exception
            return self._fail(execution, error)

    def _leave_to_others(self, execution: Execution) -> None:
        """No class of that name here: leave the task to a worker that has it, or will have it."""
        if not execution.name:
            raise MissingTaskError("no worker knows a task named '': its hash has no field 'task'")
        if execution.local:
            raise MissingTaskError(f"this worker knows no task named {execution.name!r}, and it is a local one")
        if len(execution.name) > LONGEST_NAME:
            raise MissingTaskError(f"no task has a name of {len(execution.name):,} characters")
        execution.leaving = Reason.ELSEWHERE
        self._misplaced(execution)

    def _perform(self, execution: Execution, cls: type[Task]) -> Any:
        """Make the instance and start it, inside its context."""
        with cls.provide_context():
            try:
                arguments, execution.arguments = execution.arguments, None
                execution.task = task = cls.__new__(cls)
                # Not by its own ``__setattr__``, which may know no such field, or refuse all.
                object.__setattr__(task, "__pytask__", Bond(execution.id, partial(self._emit, execution), self._tools))
                task.__init__(**arguments or {})  # type: ignore[misc] # the instance is bound before it is initialised
                del arguments
                execution.started = True
                # An attribute of that name, such as the time, is the user's own.
                value = task.start() if callable(task.start) else cls.start(task)
            except BaseException as error:
                if self.is_copy:
                    end_copy(error)
                raise
            if self.is_copy:
                end_copy()
        return value

    def _fail(self, execution: Execution, error: BaseException) -> RunResult | None:
        expected = is_expected(self._classes.get(execution.name or "", Task), error)
        if not execution.has_ended(shows=expected):
            return None
        if execution.local and not execution.started and self._unmade(execution, error):
            self._requeue(execution)
            return None
        return failed(execution, error, _users_part(error.__traceback__), expected=expected)

    def _emit(self, execution: Execution, event: str, data: Any) -> None:
        if self.is_copy:
            raise PyTaskException(
                f"task {execution.id!r} has forked this process, which is not a worker and cannot emit; let the task "
                "do so"
            )
        payload = encode(f"the event {event!r}", {"event": event, "data": data}, self._max_payload)
        self._reporter.emit(execution, payload)


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this room and of the chain, which tell the user nothing."""
    while trace is not None and trace.tb_frame.f_code.co_filename in _OURS:
        trace = trace.tb_next
    return trace


#: Whose frames stand between the greenlet of a task and the code of its user.
_OURS = {__file__, Chain.around.__code__.co_filename}
