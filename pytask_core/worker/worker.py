"""``Worker``: one life of a worker; makes its parts, and starts and stops them in order.

``PyTask.run`` makes it, and ``Shutdown`` does the stopping.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import Event

from ..policy.poison import Hang
from ..process.alone import go_on_alone
from ..process.forks import forks
from ..process.gc_tuning import calm_collector
from ..process.greenlets import once
from ..process.log_locks import safe_locks
from ..store.scripts import load_all
from ..task import Tools
from .app import WorkerApp
from .draining import wait_for_young
from .execution import Execution
from .parts import Parts
from .shutdown import Shutdown
from .stats import WorkerStats

log = logging.getLogger("pytask.worker")


def new_worker_id(mark: str | None = None) -> str:
    """Return an id that no other life of any process has: host, pid and a random part, or what is to stand for that."""
    host = socket.gethostname().partition(".")[0].replace(":", "-")[:40]
    return f"{host}-{os.getpid()}-{mark or secrets.token_hex(4)}"


class Worker:
    """A worker that lives once: :meth:`run` until :meth:`stop`.

    Args:
        app: what it runs.
        graceful_timeout: seconds that its stop may take in all.
        mark: what its id ends with; None: something random.
        max_tasks: how many tasks may end in it before it is replaced; 0: no limit.
    """

    def __init__(self, app: WorkerApp, *, graceful_timeout: float, mark: str | None = None, max_tasks: int = 0) -> None:
        load_all()  # now, and not when a first task may hold all descriptors
        self.id = new_worker_id(mark)
        self.config = app.config
        self._app = app
        self._stop = Event()
        self._parts = parts = Parts(self.id, app, Tools(app.source.client, app.helpers, self), self._stop, max_tasks)
        self._executor = parts.executor
        self._shutdown = Shutdown(parts, graceful_timeout)
        #: Whether Redis can be reached.
        self.link = parts.redis.link
        #: How late the loop is, and whether this worker should claim less.
        self.backpressure = parts.backpressure
        #: How many more tasks may begin here.
        self.allowance = parts.allowance
        #: For the services that it runs for the whole system.
        self.means = parts.means
        #: Whether nothing in Redis counts as held by this worker: before its life, and after an end in good order.
        self.holds_nothing = True

    # What others see

    @property
    def running(self) -> int:
        """How many tasks are in this worker's hands."""
        return len(self._executor.tasks)

    @property
    def tasks(self) -> Mapping[str, Execution]:
        """The tasks in this worker's hands, by id."""
        return self._executor.tasks

    @property
    def done(self) -> int:
        """How many tasks have ended here."""
        return self._executor.done

    @property
    def running_by_name(self) -> dict[str, int]:
        """How many tasks of each name are in this worker's hands."""
        return self.stats.by_name(entry.name for entry in self._executor.tasks.values())

    @property
    def stats(self) -> WorkerStats:
        """What was done here, by name and state."""
        return self._executor.stats

    def is_local(self, task_id: str) -> bool:
        """Whether a task that runs here was started by the app itself and not through Redis."""
        entry = self._executor.tasks.get(task_id)
        return entry is not None and entry.local

    def quiet(self, is_on: bool) -> None:
        """Claim nothing new, or claim again. What runs goes on; what the dead held is still handed back."""
        self._parts.claimer.quiet(is_on)

    def drain(self, patience: float, on_done: Callable[[], None]) -> None:
        """Claim nothing new, and wait for short tasks to end; returns at once.

        Args:
            patience: seconds to wait at most; tasks that have run for longer than that already are not waited for.
            on_done: called when that is over; the worker runs on until it is stopped.
        """
        self.quiet(True)

        def wait() -> None:
            try:
                wait_for_young(self._executor.tasks, patience)
            finally:
                on_done()

        once(wait)

    def stop(self, *, at_once: bool = False) -> None:
        """Ask for a graceful stop; asked again, or ``at_once``, no task's ``stop`` is waited for."""
        if self._stop.is_set() or at_once:
            self._shutdown.hurry()
        self._stop.set()

    def hand_back(self, worker_id: str, on_done: Callable[[int], None] | None = None, hang: Hang | None = None) -> None:
        """Hand back what a dead worker held, as soon as Redis can be reached; returns at once.

        Args:
            worker_id: of the dead.
            on_done: called with the number of tasks that wait again.
            hang: by which task it hung, if it was killed for that.
        """
        self._parts.recovery.hand_back(worker_id, on_done, hang)

    def count_queues(self, on_done: Callable[[dict[str, int]], None]) -> None:
        """Count the ids that wait, are active, and have ended; returns at once.

        Args:
            on_done: called with the counts, as of ``PyTaskHelpers.queue_lengths``; not at all while Redis is away.
        """
        self._parts.recovery.count_queues(on_done)

    def start_local(self, name: str, data: dict[str, Any]) -> None:
        """Start a local task now, or as soon as Redis can be reached."""
        self._parts.local_tasks.add(name, data)

    def isolate(self) -> None:
        """Redis was away for too long: stop everything here; local tasks start again when it is back."""
        self._parts.partition_guard.isolate()

    # Life

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Live: from the first word with Redis until every task is stopped and requeued.

        Args:
            on_ready: called once, when this worker claims tasks.

        Raises:
            RedisRefused: Redis does not let us in, or is too old. Nothing was touched.
            InvalidTask: a local task that was to begin with the worker cannot be made. What was claimed waits again.
        """
        hub = gevent.get_hub()
        # Else a SystemExit in a greenlet that a task has spawned is thrown into the main one, and ends all tasks.
        hub.SYSTEM_ERROR = ()
        try:
            if self._parts.redis.registration.wait_until_done(self._stop):
                with calm_collector(), safe_locks(), forks.life(self._become_copy):
                    self._begin()
                    if on_ready is not None and self._parts.local_tasks.failure is None:
                        on_ready()
                    self._stop.wait()
                    self.holds_nothing = self._shutdown.run()
                    if self._parts.local_tasks.failure is not None:
                        raise self._parts.local_tasks.failure
        finally:
            hub.SYSTEM_ERROR = type(hub).SYSTEM_ERROR
            self._parts.close()
            self._app.helpers.close()

    def _begin(self) -> None:
        self.holds_nothing = False
        self._parts.start()
        if self._parts.local_tasks.failure is not None:
            return
        log.info(
            "Worker %s takes tasks from %s: %s",
            self.id,
            self._parts.redis.where,
            ", ".join(sorted(self._app.classes)) or "none, since no task class was added",
        )

    def _become_copy(self) -> None:
        """This is a process that a task has forked."""
        self._executor.become_copy()
        go_on_alone()
