"""``Executor``: starts the tasks of a worker as greenlets, and decides how each ended.

The claimer hands tasks in, the control listener and the heartbeat pass commands, and ends go out through the reporter.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

import gevent
from gevent.event import Event

from ..config import CoreConfig
from ..connection.link import RedisLink, ServerError, Unreachable
from ..current import work_for
from ..errors import MissingTaskError, PyTaskException
from ..payload import decode_data, encode
from ..process.forks import end_copy
from ..states import Reason, TaskState
from ..store import WorkerStore
from ..task import LONGEST_NAME, Bond, Task, Tools, of_class
from .execution import Execution
from .reporter import Reporter
from .stats import WorkerStats
from .stopping import Stopper

log = logging.getLogger("pytask.runner")

#: Characters of a traceback or message that are kept: the beginning of one that is longer says nothing more. In JSON a
#: character has twelve bytes at most, so that this many are always below ``MAX_PAYLOAD``.
_TEXT_CAP = 80_000


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this room, which tell the user nothing."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


class _TaskGreenlet(gevent.Greenlet):  # type: ignore[misc] # it has no types
    """A task's own. Where it was spawned is known, so noting that stack, which is a fifth of the cost, is left out."""

    spawning_stack_limit = 0


class Executor:
    """Runs tasks.

    Args:
        classes: task classes by name.
        store: for reloads and tasks that belong elsewhere.
        reporter: where ends and events go.
        link: whether Redis can be reached.
        config: what the app was told.
        tools: what every task is given, such as ``redis`` and ``helpers``.
        handlers: called with each unexpected exception of a task.
    """

    def __init__(
        self,
        classes: Mapping[str, type[Task]],
        store: WorkerStore,
        reporter: Reporter,
        link: RedisLink,
        config: CoreConfig,
        tools: Tools,
        handlers: list[Callable[[BaseException], object]],
    ) -> None:
        self._classes = classes
        self._store = store
        self._reporter = reporter
        self._link = link
        self._config = config
        self._tools = tools
        self._handlers = handlers
        self._busy = 0
        #: This is a process that a task has forked.
        self._is_copy = False
        self._leaving = Stopper(store, reporter, link, config.stop_timeout, self._spawn, self.settle)
        #: Set while there is room for more.
        self.has_room = Event()
        self.has_room.set()
        #: Set while nothing is running.
        self.idle = Event()
        self.idle.set()
        #: Tasks in this worker's hands, by id.
        self.tasks: dict[str, Execution] = {}
        #: How many tasks have ended here, in whatever way.
        self.done = 0
        #: The same by name and state, and more.
        self.figures = WorkerStats(classes)
        #: Called with a local task that could not be made, and why; returns whether the caller sees to it.
        self.on_unmade: Callable[[Execution, BaseException], bool] = lambda _entry, _error: False
        #: Called with each task whose name has no class here; it takes it out of this worker's hands.
        self.on_misplaced: Callable[[Execution], object] = self.settle
        reporter.on_settled = self.settle

    def become_copy(self) -> None:
        """From now on this is a process that a task has forked: it ends with that task, and Redis hears nothing."""
        self._is_copy = True

    # Room

    @property
    def room(self) -> int:
        """How many more tasks may be claimed now."""
        if not self._config.concurrency:
            return 1_000_000
        return max(0, self._config.concurrency - self._busy)

    def _count(self, by: int) -> None:
        self._busy += by
        if self.room:
            self.has_room.set()
        else:
            self.has_room.clear()

    # Life of a task

    def start(self, entry: Execution) -> None:
        """Run a task that was claimed."""
        # A copy that lost the id, and has not learned so yet, must not run on beside the new one, unseen by renewals.
        self.ask(entry.id, Reason.LOST)
        self.idle.clear()
        if not entry.local:
            self._count(1)
        self._spawn(entry)

    def _spawn(self, entry: Execution) -> None:
        self.tasks[entry.id] = entry
        entry.greenlet = _TaskGreenlet.spawn(self._live, entry)

    def _live(self, entry: Execution) -> None:
        try:
            self._run(entry)
        finally:
            if self._is_copy:
                end_copy()
            # Each knows the other, and what the task has in hand, such as a file, is to be let go at once and not when
            # Python looks for rings. A traceback would keep it too.
            entry.task = entry.thrown = None

    def _run(self, entry: Execution) -> None:
        entry.began = time.monotonic()
        work_for(entry.id)
        failure: BaseException | None = None
        try:
            state, output = TaskState.SUCCESS, self._perform(entry)
        except (Unreachable, ServerError):
            if entry.leaving is None:
                entry.leaving = Reason.REQUEUE
                self._reporter.requeue(entry)
            return
        except BaseException as error:  # noqa: BLE001 - SystemExit of a task is that task's exception
            if not entry.has_ended(shows=self._is_expected(entry, error)):
                return
            if entry.local and not entry.started and self.on_unmade(entry, error):
                entry.leaving = Reason.REQUEUE
                self._reporter.requeue(entry)
                return
            state, output = self._failed(entry, error)
            failure = error if state is TaskState.EXCEPTION else None
        if output is None:
            return  # whoever asked it to leave reports what it is now
        entry.ended, entry.took = True, time.monotonic() - entry.began
        self._reporter.end(entry, state, output)
        if failure is not None:
            try:
                self._handle(failure)
            finally:
                # Its traceback knows this frame, and keeps what was in the task's hands.
                failure = None

    def _perform(self, entry: Execution) -> str | None:
        """Make the instance and run ``start``, inside the context; the output as JSON, or None if it gave way."""
        cls = self._classes.get(entry.name or "")
        if cls is None:
            self._misplaced(entry)
            return None
        data = decode_data(entry.data, self._config.max_payload)
        entry.data = None  # Once is enough in memory.
        value = None
        with cls.provide_context():
            try:
                entry.task = task = cls.__new__(cls)
                # Not by its own ``__setattr__``, which may know no such field, or refuse all.
                object.__setattr__(task, "__pytask__", Bond(entry.id, partial(self._emit, entry), self._tools))
                task.__init__(**data)  # type: ignore[misc] # the instance is bound before it is initialised
                del data
                entry.started = True
                # An attribute of that name, such as the time, is the user's own.
                value = task.start() if callable(task.start) else cls.start(task)
            except BaseException as error:
                if self._is_copy:
                    end_copy(error)
                raise
            if self._is_copy:
                end_copy()
        if not entry.has_ended(shows=value is not None and not isinstance(value, gevent.GreenletExit)):
            return None
        return encode("the output", value, self._config.max_payload)

    def _misplaced(self, entry: Execution) -> None:
        """No class of that name here: leave the task to a worker that has it, or will have it."""
        if not entry.name:
            raise MissingTaskError("no worker knows a task named '': its hash has no field 'task'")
        if entry.local:
            raise MissingTaskError(f"this worker knows no task named {entry.name!r}, and it is a local one")
        if len(entry.name) > LONGEST_NAME:
            raise MissingTaskError(f"no task has a name of {len(entry.name):,} characters")
        entry.leaving = Reason.ELSEWHERE
        self.on_misplaced(entry)

    def _is_expected(self, entry: Execution, error: BaseException) -> bool:
        own = of_class(self._classes.get(entry.name or "", Task), "Error")
        return isinstance(error, Task.Error) or (isinstance(own, type) and isinstance(error, own))

    def _failed(self, entry: Execution, error: BaseException) -> tuple[TaskState, str]:
        try:
            return self._describe(entry, error)
        except BaseException as trouble:  # noqa: BLE001 - an error that cannot even be written ends its task as well
            words = f"{type(error).__name__}, whose text cannot be had, since that raises {type(trouble).__name__}"
            log.error("Task %r (%s) ended as EXCEPTION: %s", entry.id, entry.name, words)
            return TaskState.EXCEPTION, encode("the traceback", words)

    def _describe(self, entry: Execution, error: BaseException) -> tuple[TaskState, str]:
        """Say in the log and in the output what a task has raised."""
        if self._is_expected(entry, error):
            message = str(error)[:_TEXT_CAP]
            log.warning("Task %r (%s) ended as ERROR: %.200s", entry.id, entry.name, message)
            return TaskState.ERROR, encode("the message", message)
        trace = "".join(traceback.format_exception(type(error), error, _users_part(error.__traceback__)))
        log.error("Task %r (%s) ended as EXCEPTION:\n%s", entry.id, entry.name, trace[:5000].rstrip())
        return TaskState.EXCEPTION, encode("the traceback", trace[:_TEXT_CAP])

    def _handle(self, failure: BaseException) -> None:
        for handler in self._handlers:
            try:
                handler(failure)
            except BaseException:
                log.exception("The exception handler %r failed itself", handler)

    def _emit(self, entry: Execution, event: str, data: Any) -> None:
        if self._is_copy:
            raise PyTaskException(
                f"task {entry.id!r} has forked this process, which is not a worker and cannot emit; let the task do so"
            )
        payload = encode(f"the event {event!r}", {"event": event, "data": data}, self._config.max_payload)
        self._reporter.emit(entry, payload)

    def settle(self, entry: Execution, state: str | None = None) -> None:
        """A task has left this worker's hands, in Redis as well; ``state`` is what we have made it there."""
        if self.tasks.get(entry.id) is entry:
            del self.tasks[entry.id]
        if entry.ended:
            self.done += 1
        if state is not None:
            self.figures.ended(entry.name, state, entry.took)
        greenlet = entry.greenlet
        assert greenlet is not None
        if not entry.local:
            # One that cannot be ended keeps its place for as long as it lives.
            if greenlet.ready():
                self._count(-1)
            else:
                greenlet.rawlink(lambda _greenlet: self._count(-1))
        if not self.tasks:
            self.idle.set()

    # Leaving

    def ask(self, task_id: str, what: Reason, token: str | None = None) -> None:
        """Make a task leave.

        Args:
            task_id: which.
            what: why. Of a task that is LOST, Redis is told nothing more.
            token: do so only if it is this copy.
        """
        entry = self.tasks.get(task_id)
        if entry is not None and not entry.ended and token in {None, entry.token}:
            self._leaving.ask(entry, what)

    def ask_all(self, what: Reason) -> None:
        """Make all tasks leave, side by side."""
        for task_id in list(self.tasks):
            self.ask(task_id, what)

    def cut_short(self, seconds: float) -> None:
        """Have those that leave just now be gone in time: half of it is for their ``stop``, and some to tidy up."""
        gevent.sleep(seconds / 2)
        self._leaving.cut_short()
        gevent.sleep(seconds / 4)
        late = [entry for entry in self.tasks.values() if entry.leaving and entry.began and entry.greenlet]
        if late:
            log.warning(
                "Tasks that get GreenletExit in the midst of what they do, since another worker may soon own them: "
                "%.500r",
                [entry.id for entry in late],
            )
        for entry in late:
            entry.throw(gevent.GreenletExit())

    def hurry(self) -> None:
        """Wait for no ``stop`` method any longer."""
        self._leaving.hurry()
