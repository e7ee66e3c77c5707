"""``Executor``: starts the tasks of a worker as greenlets, and decides how each ended.

The claimer hands tasks in, the control listener and the heartbeat pass commands, and ends go out through the reporter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

import gevent
from gevent.event import Event

from ..config import CoreConfig
from ..connection.link import RedisLink
from ..current import CurrentTask
from ..middleware import Chain, Middleware
from ..process.forks import end_copy
from ..states import Reason
from ..store import WorkerStore
from ..task import Task, Tools
from .execution import Execution
from .pipeline import Pipeline
from .reporter import Reporter
from .stats import WorkerStats
from .stopping import Stopper

log = logging.getLogger("pytask.runner")


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
        middlewares: around every run, beside those that every worker has.
    """

    def __init__(
        self,
        classes: Mapping[str, type[Task]],
        store: WorkerStore,
        reporter: Reporter,
        link: RedisLink,
        config: CoreConfig,
        tools: Tools,
        middlewares: Iterable[Middleware],
    ) -> None:
        #: What was done here, by name and state.
        self.stats = WorkerStats(classes)
        self._concurrency = config.concurrency
        self._reporter = reporter
        self._chain = Chain([CurrentTask(), self.stats, *middlewares])
        self._stopper = Stopper(store, reporter, link, config.stop_timeout, self._chain, self._spawn, self.settle)
        self._pipeline = Pipeline(
            classes,
            config.max_payload,
            tools,
            self._chain,
            reporter,
            lambda execution: self.on_misplaced(execution),  # noqa: PLW0108 - it is set later
            lambda execution, error: self.on_unmade(execution, error),  # noqa: PLW0108 - it is set later
            self._stopper.requeue,
        )
        self._busy = 0
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
        #: Called with a local task that could not be made, and why; returns whether the caller sees to it.
        self.on_unmade: Callable[[Execution, BaseException], bool] = lambda _execution, _error: False
        #: Called with each task whose name has no class here; it takes it out of this worker's hands.
        self.on_misplaced: Callable[[Execution], object] = self.settle
        reporter.on_settled = self.settle

    def become_copy(self) -> None:
        """From now on this is a process that a task has forked: it ends with that task, and Redis hears nothing."""
        self._pipeline.is_copy = True

    # Room

    @property
    def room(self) -> int:
        """How many more tasks may be claimed now."""
        if not self._concurrency:
            return 1_000_000
        return max(0, self._concurrency - self._busy)

    def _count(self, by: int) -> None:
        # Twice for each task, so without the call of a property.
        self._busy += by
        if self._concurrency and self._busy >= self._concurrency:
            self.has_room.clear()
        else:
            self.has_room.set()

    # Life of a task

    def receive(self, execution: Execution, waited: float | None) -> None:
        """Run a task that was claimed from the queue, where it has waited for so many seconds, if that is known."""
        self._chain.on_claim(execution, waited)
        self.start(execution)

    def start(self, execution: Execution) -> None:
        """Run a task."""
        # A copy that lost the id, and has not learned so yet, must not run on beside the new one, unseen by renewals.
        if execution.id in self.tasks:
            self.ask(execution.id, Reason.LOST)
        self.idle.clear()
        if not execution.local:
            self._count(1)
        self._spawn(execution)

    def _spawn(self, execution: Execution) -> None:
        self.tasks[execution.id] = execution
        execution.greenlet = _TaskGreenlet.spawn(self._live, execution)

    def _live(self, execution: Execution) -> None:
        result = error = None
        try:
            execution.began = time.monotonic()
            result = self._pipeline.run(execution)
            if result is not None:
                execution.ended, execution.took = True, time.monotonic() - execution.began
                state, output, error = result
                self._reporter.end(execution, state, output)
                if self._chain.hears_ends:
                    self._chain.on_end(execution, state, output)
                if error is not None:
                    self._chain.on_exception(execution, error)
        finally:
            if self._pipeline.is_copy:
                end_copy()
            # Each knows the other, and what the task has in hand, such as a file, is to be let go at once and not when
            # Python looks for rings. A traceback would keep it too.
            execution.task = execution.thrown = execution.arguments = result = error = None

    def settle(self, execution: Execution, state: str | None = None) -> None:
        """A task has left this worker's hands, in Redis as well; ``state`` is what we have made it there."""
        if self.tasks.get(execution.id) is execution:
            del self.tasks[execution.id]
        if execution.ended:
            self.done += 1
        self._chain.on_settled(execution, state)
        greenlet = execution.greenlet
        assert greenlet is not None
        if not execution.local:
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
        execution = self.tasks.get(task_id)
        if execution is not None and not execution.ended and token in {None, execution.token}:
            self._stopper.ask(execution, what)

    def ask_all(self, what: Reason) -> None:
        """Make all tasks leave, side by side."""
        for task_id in list(self.tasks):
            self.ask(task_id, what)

    def cut_short(self, seconds: float) -> None:
        """Have those that leave just now be gone in time: half of it is for their ``stop``, and some to tidy up."""
        gevent.sleep(seconds / 2)
        self._stopper.cut_short()
        gevent.sleep(seconds / 4)
        late = [one for one in self.tasks.values() if one.leaving and one.began and one.greenlet]
        if late:
            log.warning(
                "Tasks that get GreenletExit in the midst of what they do, since another worker may soon own them: "
                "%.500r",
                [execution.id for execution in late],
            )
        for execution in late:
            execution.throw(gevent.GreenletExit())

    def hurry(self) -> None:
        """Wait for no ``stop`` method any longer."""
        self._stopper.hurry()
