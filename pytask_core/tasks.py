"""``Monitor`` and ``Cleanup``: the tasks that keep a system in shape. Any number of workers may run them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent

from .connection import disconnect
from .connection.link import ServerError, Unreachable
from .errors import InvalidTask, StopTask
from .loops import run_loop
from .payload import encode
from .policy.poison import tell_deaths
from .process import log_lines
from .task import Task

if TYPE_CHECKING:
    from .connection.link import RedisLink
    from .store import KeeperStore
    from .worker.worker import Worker

__all__ = ["Cleanup", "Monitor"]

monitor_log = logging.getLogger("pytask.monitor")
cleanup_log = logging.getLogger("pytask.cleanup")
log_lines.install()

#: Seconds of one round that a Monitor spends on paging through the task set. More finds what a crash or a foreign
#: program left sooner, less spares the server; overdue workers are found by an index, whatever this is.
SWEEP_BUDGET = 0.005

#: Seconds between tries of a Cleanup while Redis answers with an error.
RETRY = 1.0

#: Seconds that a Cleanup waits for an ended task before it looks whether it is to stop.
WAIT_TIMEOUT = 1.0

#: Seconds that any time here may last, ten years: what is longer is a mistake, and more than Redis can count.
LONGEST = 10 * 365 * 86_400.0

Handler = Callable[[str, dict[str, str]], object]


def _worker_of(task: Task) -> Worker:
    assert task.__pytask__ is not None, "a worker makes it"
    return task.__pytask__.tools.worker


class Monitor(Task):
    """Requeues the tasks of workers that are gone.

    Many may run: each interval one of them has a round, the others find it done.

    Args:
        loop_interval: seconds between rounds. Shorter finds a lost host sooner, longer costs less.
        task_timeout: seconds without a renewal after which a task goes to another worker; default that of the app.
            Where it is shorter than a worker's own, that worker learns so with its next renewal, renews more often, and
            is judged by it from then on. Of several Monitors the shortest counts.
    """

    NAME = "pytask/monitor"

    def __init__(self, loop_interval: float = 10, task_timeout: float | None = None) -> None:
        self._unknown = _worker_of(self).config.task_timeout
        timeout = self._unknown if task_timeout is None else task_timeout
        for name, value in (("loop_interval", loop_interval), ("task_timeout", timeout)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
                raise InvalidTask(f"{name} must be a number of seconds above 0 and at most {LONGEST:g}, not {value!r}")
        self._said = ""
        self.loop_interval = loop_interval
        self.task_timeout = timeout

    def start(self) -> None:
        """Check for ever."""
        run_loop(self._check_safely, self.loop_interval)

    def _check_safely(self) -> None:
        _worker_of(self).link.wait()
        try:
            self.check_tasks()
        except Unreachable:
            monitor_log.debug("Redis is away; this round is left out")
        except ServerError as error:
            if self._mend():
                return
            # A Monitor that ended of this would be missed only once a worker dies as well.
            if str(error) != self._said:
                self._said = str(error)
                monitor_log.error("Redis does not do what a Monitor asks: %s. Trying each round", error)
        else:
            self._said = ""

    def _mend(self) -> bool:
        """Whether it was the Monitors' own hash, in which numbers were none, that stopped this one."""
        worker = _worker_of(self)
        try:
            with worker.link.guard(tell=False):
                wrong = worker.keeper.mend()
        except (Unreachable, ServerError):
            return False
        if wrong:
            monitor_log.warning("What the Monitors note of %s was no number; it is removed, and they go on", wrong)
        return bool(wrong)

    def check_tasks(self) -> None:
        """Have one round, unless another Monitor has had it.

        Raises:
            Away: Redis cannot be reached.
        """
        keeper, link = _worker_of(self).keeper, _worker_of(self).link
        with link.guard(tell=False):
            overdue = keeper.overdue(self.loop_interval, self.task_timeout, self._unknown)
        if overdue is None:
            return
        try:
            self._have_round(keeper, link, overdue)
        except (Unreachable, StopTask):
            # Another Monitor may reach what this one does not, and should not have to wait for its turn.
            with suppress(Unreachable, ServerError), link.guard(tell=False):
                keeper.give_up_round()
            raise

    def _have_round(self, keeper: KeeperStore, link: RedisLink, overdue: Mapping[str, float]) -> None:
        for worker, lease in overdue.items():
            with link.guard(tell=False):
                done = keeper.hand_back(worker, lease)
            # Not of one that has come back, or has left in good order, since the round began.
            if done.known:
                monitor_log.warning(
                    "Worker %s has not been heard of for %g s; the %d tasks it held wait again",
                    worker,
                    lease,
                    done.waiting,
                )
            tell_deaths(done.convicted, done.often)
        self._sweep()
        self._look_at_parked()

    def _sweep(self) -> None:
        """Look at some pages of the task set."""
        keeper, link = _worker_of(self).keeper, _worker_of(self).link
        until = monotonic() + SWEEP_BUDGET
        while True:
            with link.guard(tell=False):
                page = keeper.sweep(self.task_timeout, self._unknown)
            for task_id, became in page.told:
                self._tell(task_id, became)
            if page.last or monotonic() > until:
                return

    def _look_at_parked(self) -> None:
        """Put back what is parked though a worker knows it; end what no worker has known for too long."""
        keeper, link = _worker_of(self).keeper, _worker_of(self).link
        timeout = _worker_of(self).config.unknown_timeout
        with link.guard():
            known = keeper.parked_for_nothing(self.task_timeout)
        for name in known:
            with link.guard():
                count = keeper.parked.open_all(name)
            monitor_log.info("%d parked tasks named %r run now, since a worker knows them", count, name)
        with link.guard():
            late = keeper.parked_too_long(timeout)
        for name in late:
            words = f"no worker has known a task named {name!r} for {timeout:g} s (unknown_timeout)"
            output, total, more = encode("the output", f"MissingTaskError: {words}\n"), 0, True
            while more:
                with link.guard():
                    count, more = keeper.end_parked(name, timeout, output)
                total += count
            if total:
                monitor_log.warning("%d tasks end as EXCEPTION: %s", total, words)

    def _tell(self, task_id: str, became: str) -> None:
        words = {
            "WAIT": "nobody has renewed it for too long; it waits again",
            "STOPPED": "nobody has renewed it for too long, and it was to stop; it counts as stopped",
            "GONE": "it was local to a worker that is gone; it is removed",
            "missing": "it has no hash; it is taken out of the task set",
            "waits": "it was to wait, and somebody broke off between two steps; it stands in the queue",
            "ended": "it has ended, and somebody broke off between two steps; it goes to the end queue",
        }
        monitor_log.warning("Task %r: %s", task_id, words[became])


class Cleanup(Task):
    """Drains the end queue: calls a handler with each ended task, and then forgets it.

    The handler is called at least once for each: also after a crash in the middle. Where it raises, that is logged and
    the task stays in the task set.

    Args:
        task_handler: ``module:attribute`` of ``handler(task_id, task)``, task being the hash as a dict. A Cleanup that
            is started through Redis may name only what the app lists in ``cleanup_handlers``.
        retention: seconds for which ended tasks stay readable, rounded up; 0: they are removed at once. Longer lets
            people look, shorter spares memory.

    Raises:
        InvalidTask: the handler is not allowed or cannot be imported.
    """

    NAME = "pytask/cleanup"

    def __init__(self, task_handler: str | None = None, retention: float = 0) -> None:
        if isinstance(retention, bool) or not isinstance(retention, (int, float)) or not 0 <= retention <= LONGEST:
            raise InvalidTask(f"retention must be a number of seconds, 0 to {LONGEST:g}, not {retention!r}")
        self.retention = math.ceil(retention)
        self.task_handler: Handler | None = None
        if task_handler is not None:
            allowed = _worker_of(self).config.cleanup_handlers
            if not _worker_of(self).is_local(self.id) and task_handler not in allowed:
                raise InvalidTask(
                    f"a Cleanup that is started through Redis may not call {task_handler!r}; list it in "
                    "PyTask(cleanup_handlers=…), or start the Cleanup with start_local_task"
                )
            self.task_handler = _load(task_handler)

    def start(self) -> None:
        """Clean up for ever."""
        worker, said = _worker_of(self), ""
        blocking = worker.source.own_client(f"pytask-cleanup-{worker.id}")
        try:
            while True:
                worker.link.wait()
                try:
                    self._turn(worker, blocking)
                    said = ""
                except Unreachable:
                    continue
                except ServerError as error:
                    if str(error) != said:
                        said = str(error)
                        cleanup_log.error("Ended tasks cannot be cleaned up: %s. Trying every %g s", error, RETRY)
                    gevent.sleep(RETRY)
        finally:
            disconnect(blocking)
            self._put_back(worker)

    def _put_back(self, worker: Any) -> None:
        """Leave what was collected and not dealt with to other Cleanups, who would wait for this worker's end else."""
        with worker.cleaning, suppress(Unreachable, ServerError), worker.link.guard(tell=False):
            worker.keeper.put_back(worker.id)

    def _turn(self, worker: Any, blocking: Any) -> None:
        with worker.cleaning:
            with worker.link.guard(tell=False):
                ended = worker.keeper.collect(worker.id, hashes=self.task_handler is not None)
            if ended:
                done = [(task_id, not self._handle(task_id, task), task.get("owner", "")) for task_id, task in ended]
                with worker.link.guard(tell=False):
                    count = worker.keeper.discard(worker.id, done, self.retention)
                cleanup_log.debug("Cleaned up %d ended tasks", count)
        if not ended:
            with worker.link.guard(tell=False):
                worker.keeper.wait_for_ended(blocking, WAIT_TIMEOUT)

    def _handle(self, task_id: str, task: Mapping[str, str]) -> bool:
        """Call the handler; return whether the task may be forgotten."""
        if self.task_handler is None or not task:
            return True
        try:
            self.task_handler(task_id, dict(task))
        except (StopTask, gevent.GreenletExit):
            raise  # it is this Cleanup that is to stop; the next one deals with the task
        except BaseException:  # noqa: BLE001 - whatever the user's handler raises, the others get their turn
            cleanup_log.exception(
                "The cleanup handler failed for task %r; the task stays in the task set, where it can be looked at",
                task_id,
            )
            return False
        return True


def _load(path: str) -> Handler:
    module, _, attribute = path.partition(":")
    try:
        handler: Any = import_module(module)
        for part in attribute.split("."):
            handler = vars(handler)[part]
    except (ImportError, ValueError, KeyError, TypeError) as error:
        raise InvalidTask(f"the cleanup handler {path!r} cannot be imported as module:attribute: {error!r}") from error
    if not callable(handler):
        raise InvalidTask(f"the cleanup handler {path!r} cannot be called")
    return handler  # type: ignore[no-any-return] # any callable will do
