"""``Worker``: one life of a worker; makes its parts, and starts and stops them in order.

``PyTask.run`` makes it, and ``Shutdown`` does the stopping.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from ..config import CoreConfig
from ..connection import RedisSource, disconnect
from ..connection.link import RedisLink
from ..maintenance.means import Means
from ..policy.poison import Hang
from ..process.alone import go_on_alone
from ..process.forks import forks
from ..process.gc_tuning import calm_collector
from ..process.greenlets import once
from ..process.log_locks import safe_locks
from ..process.service import Service
from ..store import regime
from ..store.scripts import load_all
from ..task import Task, Tools
from .allowance import Allowance
from .backpressure import Backpressure
from .claimer import Claimer
from .command_listener import CommandListener
from .draining import wait_for_young
from .early import Early
from .execution import Execution
from .executor import Executor
from .heartbeat import Heartbeat
from .lease import Lease
from .local_tasks import LocalTasks
from .nudges import Nudges
from .parking import Parking
from .partition_guard import PartitionGuard
from .recovery import Recovery
from .registration import Registration
from .reporter import Reporter
from .shutdown import Shutdown
from .stats import WorkerStats
from .takes import Takes, take_name

if TYPE_CHECKING:
    from ..helpers import PyTaskHelpers

log = logging.getLogger("pytask.worker")

#: Connections for claims, reports, renewals and Monitor. Each room has one exchange under way at a time.
WORKER_CONNECTIONS = 8

#: What the log says of a cluster.
_ONE_SLOT = " (all keys in one slot, each transition one atomic script)"
_MANY_SLOTS = (
    " (keys in many slots, transitions in steps; a shared hash tag such as {pytask}tasks would make them atomic)"
)


def new_worker_id(mark: str | None = None) -> str:
    """Return an id that no other life of any process has: host, pid and a random part, or what is to stand for that."""
    host = socket.gethostname().partition(".")[0].replace(":", "-")[:40]
    return f"{host}-{os.getpid()}-{mark or secrets.token_hex(4)}"


class Worker:
    """A worker that lives once: :meth:`run` until :meth:`stop`.

    Args:
        source: how to reach Redis.
        config: what its app was told.
        classes: task classes by name.
        local_tasks: name and data of the tasks that belong to this worker.
        handlers: called with each unexpected exception of a task.
        helpers: what tasks see as ``helpers``.
        graceful_timeout: seconds that its stop may take in all.
        mark: what its id ends with; None: something random.
        max_tasks: how many tasks may end in it before it is replaced; 0: no limit.
    """

    def __init__(
        self,
        source: RedisSource,
        config: CoreConfig,
        classes: Mapping[str, type[Task]],
        local_tasks: Sequence[tuple[str, dict[str, Any]]],
        handlers: list[Callable[[BaseException], object]],
        helpers: PyTaskHelpers,
        *,
        graceful_timeout: float,
        mark: str | None = None,
        max_tasks: int = 0,
    ) -> None:
        load_all()  # now, and not when a first task may hold all descriptors
        self.id = new_worker_id(mark)
        self.config = config
        self.source = source
        self._classes = classes
        keys = config.keys
        self._helpers = helpers
        self._client = source.store_client(WORKER_CONNECTIONS)
        self._blocking = source.own_client(take_name(self.id))
        self._control_client = source.own_client(f"pytask-control-{self.id}")
        stores = regime(one_slot=not source.is_cluster or keys.one_slot)
        self._store = stores.worker(
            self._client, self._blocking, keys, self.id, config.poison, config.replicas, config.max_payload
        )
        self.keeper = stores.keeper(self._client, keys, config.poison)
        self._where_keys_lie = "" if not source.is_cluster else _ONE_SLOT if keys.one_slot else _MANY_SLOTS
        lease = Lease(config.task_timeout, config.update_task_interval, config.partition_grace)
        self._store.lease = lease.seconds
        self._registration = Registration(source, self._client, self._store, keys, classes)
        self.link = RedisLink(source.describe(), self._registration.renew, lambda: lease.grace)
        self._reporter = Reporter(self._store, self.link)
        self._executor = Executor(
            classes,
            self._store,
            self._reporter,
            self.link,
            config,
            Tools(source.client, helpers, self),
            handlers,
        )
        self._parking = Parking(self._store, self.link, classes, config.task_timeout, self._executor.settle)
        self._executor.on_misplaced = self._parking.add
        #: How late the loop is, and whether this worker should claim less.
        self.backpressure = Backpressure()
        #: How many more tasks may begin here.
        self.allowance = Allowance(max_tasks, self._executor)
        self._takes = Takes(self.id, self._client, self._blocking, keys.new_queue, self.link)
        self._recovery = Recovery(self.link, self.keeper, self._takes, helpers)
        nudges = Nudges(keys.nudges(self.id), self._store, self.link, self._takes.cut_own, self.allowance)
        early = Early(self._store, self.link)
        self._claimer = Claimer(
            self._store,
            self._executor,
            self.link,
            config.concurrency,
            self.backpressure,
            self.allowance,
            nudges,
            early,
        )
        self._stop = Event()
        self._local_tasks = LocalTasks(
            local_tasks,
            self._store,
            self._executor,
            self.link,
            self._claimer.next_token,
            self._stop,
            config.max_payload,
        )
        self.link.on_back.append(self._local_tasks.resume)
        self._guard = PartitionGuard(self._executor, lease, self._local_tasks)
        heartbeat = Heartbeat(self._store, self._executor, self.link, lease, self._guard, self._local_tasks)
        listener = CommandListener(self._control_client, keys, self._executor, self.link, nudges, heartbeat)
        #: In the order in which they start. They stop the other way round.
        self._services: list[Service] = [
            self._reporter,
            heartbeat,
            self._guard,
            nudges,
            listener,
            self._parking,
            self.backpressure,
            self._local_tasks,
            early,
            self._claimer,
        ]
        #: Whether nothing in Redis counts as held by this worker: before its life, and after an end in good order.
        self.holds_nothing = True
        self._shutdown = Shutdown(
            self.id,
            graceful_timeout,
            self._claimer,
            self._executor,
            self._reporter,
            self.link,
            self._takes,
            self.keeper,
            self._stop_parts,
        )
        #: For the services that it runs for the whole system.
        self.means = Means(self.id, self.keeper, self.link, source.own_client)

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
        return self.figures.by_name(entry.name for entry in self._executor.tasks.values())

    @property
    def figures(self) -> WorkerStats:
        """What was done here, by name and state."""
        return self._executor.figures

    def is_local(self, task_id: str) -> bool:
        """Whether a task that runs here was started by the app itself and not through Redis."""
        entry = self._executor.tasks.get(task_id)
        return entry is not None and entry.local

    def quiet(self, is_on: bool) -> None:
        """Claim nothing new, or claim again. What runs goes on; the dead are handed back all the same."""
        self._claimer.quiet(is_on)
        if is_on and self._claimer.greenlets:
            once(self._takes.cut_own)

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
        self._recovery.hand_back(worker_id, on_done, hang)

    def count_queues(self, on_done: Callable[[dict[str, int]], None]) -> None:
        """Count the ids that wait, are active, and have ended; returns at once.

        Args:
            on_done: called with the counts, as of ``PyTaskHelpers.queue_lengths``; not at all while Redis is away.
        """
        self._recovery.count_queues(on_done)

    def start_local(self, name: str, data: dict[str, Any]) -> None:
        """Start a local task now, or as soon as Redis can be reached."""
        self._local_tasks.add(name, data)

    def isolate(self) -> None:
        """Redis was away for too long: stop everything here; local tasks start again when it is back."""
        self._guard.isolate()

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
            if self._registration.wait_until_done(self._stop):
                with calm_collector(), safe_locks(), forks.life(self._become_copy):
                    self._begin()
                    if on_ready is not None and self._local_tasks.failure is None:
                        on_ready()
                    self._stop.wait()
                    self.holds_nothing = self._shutdown.run()
                    if self._local_tasks.failure is not None:
                        raise self._local_tasks.failure
        finally:
            hub.SYSTEM_ERROR = type(hub).SYSTEM_ERROR
            self.link.close()
            self._stop_parts()
            self._recovery.stop()
            disconnect(self._blocking, self._control_client, self._client)
            self._helpers.close()

    def _begin(self) -> None:
        self.holds_nothing = False
        self.link.begin()
        for service in self._services:
            service.start()
        if self._local_tasks.failure is not None:
            return
        log.info(
            "Worker %s takes tasks from %s%s: %s",
            self.id,
            self.source.describe(),
            self._where_keys_lie,
            ", ".join(sorted(self._classes)) or "none, since no task class was added",
        )

    def _become_copy(self) -> None:
        """This is a process that a task has forked."""
        self._executor.become_copy()
        go_on_alone()

    def _stop_parts(self) -> None:
        """Nothing renews, takes or sends any more."""
        for service in reversed(self._services):
            service.stop()
        disconnect(self._blocking)
