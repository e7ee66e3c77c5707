"""``Worker``: one life of a worker; makes its parts, and starts and stops them in order.

``PyTask.run`` makes it, and ``Shutdown`` does the stopping.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from ..config import CoreConfig
from ..connection import RedisSource, check_server, disconnect, knock, outage, refusal
from ..connection.link import RedisLink
from ..errors import RedisRefused
from ..keys import RedisKeys
from ..loops import Backoff
from ..policy.poison import Hang
from ..process.alone import go_on_alone
from ..process.forks import forks
from ..process.gc_tuning import calm_collector
from ..process.greenlets import keep, once
from ..process.log_locks import safe_locks
from ..store import regime
from ..store.scripts import load_all
from ..task import Task, Tools
from .allowance import Allowance
from .backpressure import Backpressure
from .claimer import Claimer
from .command_listener import CommandListener
from .draining import wait_for_young
from .execution import Execution
from .executor import Executor
from .heartbeat import Heartbeat
from .lease import Lease
from .local_tasks import LocalTasks
from .nudges import Nudges
from .parking import Parking
from .recovery import Recovery, take_name
from .reporter import Reporter
from .shutdown import Shutdown
from .stats import WorkerStats

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
        self._keys = keys = config.keys
        self._helpers = helpers
        self._client = source.store_client(WORKER_CONNECTIONS)
        self._take_name = take_name(self.id)
        self._blocking = source.own_client(self._take_name)
        self._control_client = source.own_client(f"pytask-control-{self.id}")
        stores = regime(one_slot=not source.is_cluster or keys.one_slot)
        self._store = stores.worker(
            self._client, self._blocking, keys, self.id, config.poison, config.replicas, config.max_payload
        )
        self.keeper = stores.keeper(self._client, keys, config.poison)
        self._where_keys_lie = "" if not source.is_cluster else _ONE_SLOT if keys.one_slot else _MANY_SLOTS
        lease = Lease(config.task_timeout, config.update_task_interval, config.partition_grace)
        self._store.lease = lease.seconds
        self.link = RedisLink(source.describe(), self._probe, lambda: lease.grace)
        self._reporter = Reporter(self._store, self.link)
        self._runner = Executor(
            classes,
            self._store,
            self._reporter,
            self.link,
            config,
            Tools(source.client, helpers, self),
            handlers,
        )
        self._parking = Parking(self._store, self.link, classes, config.task_timeout, self._runner.settle)
        self._runner.on_misplaced = self._parking.add
        #: How late the loop is, and whether this worker should claim less.
        self.pressure = Backpressure()
        #: How many more tasks may begin here.
        self.allowance = Allowance(max_tasks, self._runner)
        self._errands = Recovery(self._client, keys, self.link, self.keeper, helpers)
        cut_short = partial(self._errands.cut_own_take_short, self._blocking, self.id)
        nudges = Nudges(self._store, self.link, cut_short, self.allowance)
        self._claimer = Claimer(
            self._store, self._runner, self.link, config.concurrency, self.pressure, self.allowance, nudges
        )
        self._stop = Event()
        self._locals = LocalTasks(
            local_tasks,
            self._store,
            self._runner,
            self.link,
            self._claimer.next_token,
            self._stop,
            config.max_payload,
        )
        self._heartbeat = Heartbeat(
            self._store,
            self._runner,
            self.link,
            lease,
            self.isolate,
            self._locals.start,
            self._locals.lost,
        )
        self._control = CommandListener(
            self._control_client, keys, keys.nudges(self.id), nudges.fill, self._runner, self.link, self._heartbeat.look
        )
        self._greenlets: list[gevent.Greenlet] = []
        #: Whether nothing in Redis counts as held by this worker: before its life, and after an end in good order.
        self.holds_nothing = True
        self._shutdown = Shutdown(
            self.id,
            graceful_timeout,
            self._claimer,
            self._runner,
            self._reporter,
            self.link,
            self._errands,
            self.keeper,
            self._close_rooms,
        )
        #: Held by a Cleanup while it deals with what it has collected: all of one worker share one list.
        self.cleaning = Semaphore()

    # What others see

    @property
    def running(self) -> int:
        """How many tasks are in this worker's hands."""
        return len(self._runner.tasks)

    @property
    def tasks(self) -> Mapping[str, Execution]:
        """The tasks in this worker's hands, by id."""
        return self._runner.tasks

    @property
    def done(self) -> int:
        """How many tasks have ended here."""
        return self._runner.done

    @property
    def running_by_name(self) -> dict[str, int]:
        """How many tasks of each name are in this worker's hands."""
        return self.figures.by_name(entry.name for entry in self._runner.tasks.values())

    @property
    def figures(self) -> WorkerStats:
        """What was done here, by name and state."""
        return self._runner.figures

    def is_local(self, task_id: str) -> bool:
        """Whether a task that runs here was started by the app itself and not through Redis."""
        entry = self._runner.tasks.get(task_id)
        return entry is not None and entry.local

    def quiet(self, is_on: bool) -> None:
        """Claim nothing new, or claim again. What runs goes on; the dead are handed back all the same."""
        self._claimer.quiet(is_on)
        if is_on and self._greenlets:
            once(self._errands.cut_take_short, self.id)

    def drain(self, patience: float, on_done: Callable[[], None]) -> None:
        """Claim nothing new, and wait for short tasks to end; returns at once.

        Args:
            patience: seconds to wait at most; tasks that have run for longer than that already are not waited for.
            on_done: called when that is over; the worker runs on until it is stopped.
        """
        self.quiet(True)

        def wait() -> None:
            try:
                wait_for_young(self._runner.tasks, patience)
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
        self._errands.hand_back(worker_id, on_done, hang)

    def count_queues(self, on_done: Callable[[dict[str, int]], None]) -> None:
        """Count the ids that wait, are active, and have ended; returns at once.

        Args:
            on_done: called with the counts, as of ``PyTaskHelpers.queue_lengths``; not at all while Redis is away.
        """
        self._errands.count_queues(on_done)

    def start_local(self, name: str, data: dict[str, Any]) -> None:
        """Start a local task now, or as soon as Redis can be reached."""
        self._locals.add(name, data)

    def isolate(self) -> None:
        """Redis was away for too long: stop everything here; local tasks start again when it is back."""
        self._locals.let_go()
        self._runner.ask_all("requeue")
        self._greenlets.append(once(self._runner.cut_short, self._heartbeat.left))

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
            if self._reach_redis():
                with calm_collector(), safe_locks(), forks.life(self._become_copy):
                    self._begin()
                    if on_ready is not None and self._locals.failure is None:
                        on_ready()
                    self._stop.wait()
                    self.holds_nothing = self._shutdown.run()
                    if self._locals.failure is not None:
                        raise self._locals.failure
        finally:
            hub.SYSTEM_ERROR = type(hub).SYSTEM_ERROR
            self.link.close()
            gevent.killall(self._greenlets)
            self._locals.close()
            self._errands.close()
            disconnect(self._blocking, self._control_client, self._client)
            self._helpers.close()

    def _reach_redis(self) -> bool:
        """Wait until Redis answers; return False where a stop was asked for meanwhile."""
        backoff, said = Backoff(), False
        while not self._stop.is_set():
            try:
                if said:
                    knock(self._client)
                for warning in check_server(self._client, self.source.describe()):
                    log.warning("%s", warning)
                self._store.register(self._classes)
                for warning in self._store.rehearse():
                    log.warning("%s", warning)
                self._tell_of_database()
                return True
            except Exception as error:
                refused, why = refusal(error), outage(error)
                if refused is not None:
                    where = self.source.describe()
                    raise RedisRefused(f"Redis at {where} refuses us: {refused}") from error
                if why is None:
                    raise
                if not said:
                    said = True
                    log.warning(
                        "Redis at %s cannot be reached: %s. Trying until it can",
                        self.source.describe(),
                        why,
                    )
                self._stop.wait(backoff.pause())
        return False

    def _tell_of_database(self) -> None:
        # The names of channels begin with this one.
        if self.source.database and self._keys.task_prefix == RedisKeys.task_prefix:
            log.warning(
                "Pub/sub knows no databases: a system with the same task_prefix on another database than %s hears the "
                "stops, reloads and events of this one. Give each names of its own",
                self.source.describe(),
            )

    def _begin(self) -> None:
        self.holds_nothing = False
        self.link.begin()
        self.link.on_back.append(self._locals.start)
        for room in (
            self._reporter.run,
            self._heartbeat.run,
            self._heartbeat.guard,
            self._control.run,
            self._control.look_after,
            self._parking.run,
            self.pressure.run,
        ):
            self._greenlets.append(keep(room))
        self._locals.begin()
        self._greenlets.append(keep(self._claimer.run))
        if self._locals.failure is not None:
            return
        log.info(
            "Worker %s takes tasks from %s%s: %s",
            self.id,
            self.source.describe(),
            self._where_keys_lie,
            ", ".join(sorted(self._classes)) or "none, since no task class was added",
        )

    def _probe(self) -> None:
        """Whether Redis will have us again: registers too, since it may have forgotten us."""
        knock(self._client)
        self._store.register(self._classes)
        self._store.rehearse()

    def _become_copy(self) -> None:
        """This is a process that a task has forked."""
        self._runner.become_copy()
        go_on_alone()

    def _close_rooms(self) -> None:
        """Nothing renews, takes or sends any more."""
        gevent.killall(self._greenlets)
        disconnect(self._blocking)
