"""``Stopper``: makes tasks leave a worker, gently and then harder, and reports how each ended.

Called by the runner, whom the control listener, the heartbeat and a stopping worker tell which.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.event import Event

from ..connection.link import RedisLink, ServerError, Unreachable
from ..errors import StopTask
from ..middleware import Chain
from ..process.greenlets import once
from ..states import Reason
from ..store import WorkerStore
from ..task import Task
from .execution import Execution, StopCall
from .reporter import Reporter

log = logging.getLogger("pytask.runner")

#: Seconds that a task has at least after ``StopTask``, however long its ``stop`` took, and after ``GreenletExit``.
GIVE_WAY = 1.0


class Stopper:
    """The way out of a copy that does not end by itself.

    Args:
        store: for reloads.
        reporter: where it is told what became of them.
        link: whether Redis can be reached.
        stop_timeout: seconds that a task has to leave: its ``stop``, and then what it tidies up after ``StopTask``.
        chain: the middlewares.
        respawn: runs a copy in the place of one that was to be reloaded.
        settle: called with one that Redis need not be told of.
    """

    def __init__(
        self,
        store: WorkerStore,
        reporter: Reporter,
        link: RedisLink,
        stop_timeout: float,
        chain: Chain,
        respawn: Callable[[Execution], object],
        settle: Callable[[Execution], object],
    ) -> None:
        self._store = store
        self._reporter = reporter
        self._link = link
        self._stop_timeout = stop_timeout
        self._chain = chain
        self._respawn = respawn
        self._settle = settle
        self._hurry = Event()

    def ask(self, execution: Execution, what: Reason) -> None:
        """Make a copy leave; ``what`` as of ``Executor.ask``. What it was asked before may be overruled."""
        if execution.leaving is None:
            execution.leaving = what
            once(self._leave, execution)
        elif what is Reason.LOST or execution.leaving is Reason.RELOAD:
            execution.leaving = what

    def hurry(self) -> None:
        """Wait for no ``stop`` method any longer."""
        self._hurry.set()

    def cut_short(self) -> None:
        """Wait no longer for the ``stop`` methods of those that leave just now; others have their time later."""
        if not self._hurry.is_set():
            self._hurry.set()
            self._hurry = Event()

    def requeue(self, execution: Execution) -> None:
        """Send a copy that is over back to the queue."""
        execution.leaving = Reason.REQUEUE
        self._reporter.requeue(execution)
        self._chain.on_requeue(execution)

    def _leave(self, execution: Execution) -> None:
        gone = self._quit(execution)
        if execution.ended:
            return
        what = execution.leaving
        log.debug("Task %r (%s) has left: %s", execution.id, execution.name, what)
        if what is Reason.LOST:
            self._settle(execution)
        elif what is Reason.STOP:
            self._reporter.stopped(execution)
        elif what is Reason.REQUEUE or not gone:
            self.requeue(execution)
        else:
            self._reload(execution)

    def _quit(self, execution: Execution) -> bool:
        """End a copy: its ``stop``, then ``StopTask``, then harder; return whether it is gone."""
        greenlet = execution.greenlet
        assert greenlet is not None
        began = time.monotonic()
        if execution.started and not greenlet.ready():
            self._call_stop(execution, greenlet)
        if greenlet.ready():
            return True
        execution.throw(StopTask() if execution.began else gevent.GreenletExit())
        # Nearly all are gone by then, and of those few wait for the hurry that would each have to be noted there.
        greenlet.join(GIVE_WAY)
        if not greenlet.ready():
            left = began + self._stop_timeout - time.monotonic()
            gevent.wait([greenlet, self._hurry], timeout=max(0.0, left), count=1)
        if greenlet.ready():
            return True
        log.warning(
            "Task %r (%s) is still there %.1f s after it was told to stop, so it gets GreenletExit in the midst of "
            "what it does. It should let StopTask pass; if it needs longer to tidy up, raise stop_timeout",
            execution.id,
            execution.name,
            time.monotonic() - began,
        )
        execution.throw(gevent.GreenletExit())
        greenlet.join(GIVE_WAY)
        if greenlet.ready():
            return True
        log.error(
            "Task %r (%s) swallows StopTask and GreenletExit and cannot be ended; it is abandoned, keeps its place in "
            "the pool, and Redis takes nothing from it any more. It should let StopTask pass",
            execution.id,
            execution.name,
        )
        return False

    def _call_stop(self, execution: Execution, greenlet: gevent.Greenlet) -> None:
        task = execution.task
        if task is None or type(task).stop is Task.stop:
            return
        stop: Callable[[], object] = partial(_wind_up, task)
        # Greenlets do not inherit context variables, so what provide_context() has set is handed over.
        context = greenlet.gr_context
        if context is not None:
            stop = partial(context.copy().run, stop)
        stopper = gevent.spawn(self._guarded, stop, execution)
        began, hurry = time.monotonic(), self._hurry
        gevent.wait([stopper, hurry], timeout=self._stop_timeout, count=1)
        if not stopper.ready():
            # In a hurry it is still begun, since what it ends may be no greenlet that we know, but nobody waits for it.
            level = logging.DEBUG if hurry.is_set() else logging.WARNING
            log.log(
                level,
                "The stop() of task %r (%s) has not returned after %.1f s; going on without it",
                execution.id,
                execution.name,
                time.monotonic() - began,
            )
            stopper.kill(block=False)

    def _guarded(self, stop: Callable[[], object], execution: Execution) -> None:
        execution.stop_call = StopCall.UNDER_WAY
        try:
            for prepare in self._chain.before_stop:
                prepare(execution)
            stop()
        except gevent.GreenletExit:
            pass
        except BaseException:
            log.exception(
                "The stop() of task %r (%s) failed; the task is stopped all the same",
                execution.id,
                execution.name,
            )
        finally:
            execution.stop_call = StopCall.OVER

    def _reload(self, execution: Execution) -> None:
        """Run a task anew on the data that its hash has now."""
        try:
            with self._link.guard():
                fresh = self._store.reload(execution.id, execution.token)
        except (Unreachable, ServerError):
            self.requeue(execution)
            return
        if execution.leaving is not Reason.RELOAD:
            self._leave(execution)
        elif fresh is None:
            log.info("Task %r is no longer this worker's; it is not reloaded", execution.id)
            self._settle(execution)
        elif fresh.command:
            self._reporter.stopped(execution)
        else:
            log.info("Task %r (%s) is reloaded", execution.id, fresh.name)
            self._respawn(Execution(execution.id, execution.token, fresh.name, fresh.data, execution.local))


def _wind_up(task: Task) -> None:
    """Call its ``stop``. An attribute of that name, such as an event or None, is the user's own."""
    own: Any = task.stop
    of_class: Any = type(task).stop
    if callable(own):
        own()
    elif callable(of_class):
        of_class(task)
