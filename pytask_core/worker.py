"""``Worker``: one life of a worker. ``PyTask.run`` makes it; it starts the rooms in order and stops them in order.

Senders stop before receivers: the claimer (no more in), the runner (every task winds up), the reporter (everything is
sent), and only then heartbeat, control and connections.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from .claimer import Claimer
from .connection import RedisSource, check_server, disconnect, outage, refusal, unblock
from .control import Control
from .errors import RedisRefused
from .heartbeat import Heartbeat
from .keys import RedisKeys
from .link import Away, Link, Rejected
from .loops import Backoff
from .payload import encode
from .poison import PoisonRule, tell_deaths
from .reporter import Reporter
from .runner import GIVE_WAY, RunnerOptions, Running, TaskRunner
from .store import KeeperStore, WorkerStore
from .task import Task

if TYPE_CHECKING:
    from .helpers import PyTaskHelpers

log = logging.getLogger("pytask.worker")

#: Connections for claims, reports, renewals and Monitor. Each room has one exchange under way at a time.
WORKER_CONNECTIONS = 8

#: Seconds between tries while Redis answers with an error.
RETRY = 1.0

#: Seconds that a stop waits for the claim that is under way, so that what it brings is stopped with the others.
LAST_CLAIM = 2.0

#: Seconds that handing back the rest may take even where the graceful timeout is over.
LAST_WORD = 0.5

#: Seconds of the graceful timeout, and a third of it at most, that are kept back for sending what became of the tasks.
SENDING = 2.0


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker must know of its app."""

    runner: RunnerOptions
    update_task_interval: float  #: seconds between renewals
    partition_grace: float  #: seconds that tasks run on without Redis
    graceful_timeout: float  #: seconds that a stop may take in all
    poison: PoisonRule
    cleanup_handlers: tuple[str, ...]  #: what a Cleanup that was started through Redis may call


def new_worker_id() -> str:
    """Return an id that no other life of any process has: host, pid and a random part."""
    host = socket.gethostname().partition(".")[0].replace(":", "-")[:40]
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def _take_name(worker_id: str) -> str:
    """Return as what ``CLIENT LIST`` shows the connection on which a worker waits for work."""
    return f"pytask-take-{worker_id}"


class Worker:
    """A worker that lives once: :meth:`run` until :meth:`stop`.

    Args:
        source: how to reach Redis.
        keys: the names of the system.
        classes: task classes by name.
        local_tasks: name and data of the tasks that belong to this worker.
        handlers: called with each unexpected exception of a task.
        helpers: what tasks see as ``helpers``.
        options: see :class:`WorkerOptions`.
    """

    def __init__(
        self,
        source: RedisSource,
        keys: RedisKeys,
        classes: Mapping[str, type[Task]],
        local_tasks: Sequence[tuple[str, dict[str, Any]]],
        handlers: list[Callable[[BaseException], object]],
        helpers: PyTaskHelpers,
        options: WorkerOptions,
    ) -> None:
        self.id = new_worker_id()
        self.options = options
        self.source = source
        self._classes = classes
        self._helpers = helpers
        self._client = source.store_client(WORKER_CONNECTIONS)
        self._take_name = _take_name(self.id)
        self._blocking = source.own_client(self._take_name)
        self._control_client = source.own_client(f"pytask-control-{self.id}")
        self._store = WorkerStore(self._client, self._blocking, keys, self.id, options.poison)
        self.keeper = KeeperStore(self._client, keys, options.poison)
        self.link = Link(source.describe(), self._probe, options.partition_grace)
        self._reporter = Reporter(self._store, self.link)
        self._runner = TaskRunner(
            classes,
            self._store,
            self._reporter,
            self.link,
            options.runner,
            {"redis": source.client, "helpers": helpers, "_worker": self},
            handlers,
        )
        self._claimer = Claimer(self._store, self._runner, self.link, options.runner.concurrency)
        self._heartbeat = Heartbeat(
            self._store,
            self._runner,
            self.link,
            options.update_task_interval,
            options.partition_grace,
            self._isolate,
            self._start_local_tasks,
            self._lost,
        )
        self._control = Control(self._control_client, keys, self._runner, self.link, self._heartbeat.look)
        self._stop = Event()
        self._hurry = Event()
        self._greenlets: list[gevent.Greenlet] = []
        #: Ids, names and data; with an id already, so that one whose registration was answered into the void is
        #: registered again and not twice.
        self._local_waiting = [(str(uuid4()), name, data) for name, data in local_tasks]
        self._local_running: dict[str, tuple[str, dict[str, Any]]] = {}
        #: Held by a Cleanup while it deals with what it has collected: all of one worker share one list.
        self.cleaning = Semaphore()

    # What others see

    @property
    def running(self) -> int:
        """How many tasks are in this worker's hands."""
        return len(self._runner.tasks)

    @property
    def done(self) -> int:
        """How many tasks have ended here."""
        return self._runner.done

    def is_local(self, task_id: str) -> bool:
        """Whether a task that runs here was started by the app itself and not through Redis."""
        entry = self._runner.tasks.get(task_id)
        return entry is not None and entry.local

    def stop(self) -> None:
        """Ask for a graceful stop; asked again, what has not stopped yet is requeued at once."""
        if self._stop.is_set():
            self._runner.hurry()
            self._hurry.set()
        self._stop.set()

    def hand_back(self, worker_id: str, on_done: Callable[[int], None] | None = None) -> None:
        """Hand back what a dead worker held, as soon as Redis can be reached; returns at once.

        Args:
            worker_id: of the dead.
            on_done: called with the number of tasks that wait again.
        """
        gevent.spawn(self._hand_back, worker_id, on_done)

    def start_local(self, name: str, data: dict[str, Any]) -> None:
        """Start a local task now, or as soon as Redis can be reached."""
        self._local_waiting.append((str(uuid4()), name, data))
        if self.link.up:
            gevent.spawn(self._start_local_tasks)

    # Life

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Live: from the first word with Redis until every task is stopped and requeued.

        Args:
            on_ready: called once, when this worker claims tasks.

        Raises:
            RedisRefused: Redis does not let us in, or is too old. Nothing was touched.
        """
        hub = gevent.get_hub()
        # Else a SystemExit in a greenlet that a task has spawned is thrown into the main one, and ends all tasks.
        hub.SYSTEM_ERROR = ()
        try:
            if self._reach_redis():
                self._begin()
                if on_ready is not None:
                    on_ready()
                self._stop.wait()
                self._end()
        finally:
            hub.SYSTEM_ERROR = type(hub).SYSTEM_ERROR
            self.link.close()
            gevent.killall(self._greenlets)
            disconnect(self._blocking, self._control_client, self._client)
            self._helpers.close()

    def _reach_redis(self) -> bool:
        """Wait until Redis answers; return False where a stop was asked for meanwhile."""
        backoff, said = Backoff(), False
        while not self._stop.is_set():
            try:
                for warning in check_server(self._client, self.source.describe()):
                    log.warning("%s", warning)
                self._store.register(self._classes)
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

    def _begin(self) -> None:
        self.link.begin()
        self.link.on_back.append(self._start_local_tasks)
        for room in (
            self._reporter.run,
            self._heartbeat.run,
            self._heartbeat.guard,
            self._control.run,
        ):
            self._greenlets.append(gevent.spawn(room))
        self._start_local_tasks()
        self._greenlets.append(gevent.spawn(self._claimer.run))
        log.info(
            "Worker %s takes tasks from %s: %s",
            self.id,
            self.source.describe(),
            ", ".join(sorted(self._classes)) or "none, since no task class was added",
        )

    def _probe(self) -> None:
        """Whether Redis will have us again: registers too, since it may have forgotten us."""
        self._store.register(self._classes)

    def _start_local_tasks(self) -> None:
        while self._local_waiting and not self._stop.is_set():
            task_id, name, data = local = self._local_waiting.pop(0)
            token = self._claimer.next_token()
            text = encode(f"the data of {name!r}", data, self.options.runner.max_payload)
            try:
                with self.link.guard():
                    self._store.adopt(task_id, token, name, text)
            except Away:
                self._local_waiting.append(local)
                return
            except Rejected as error:
                log.error("The local task %r cannot be registered: %s. Trying again in %g s", name, error, RETRY)
                self._local_waiting.append(local)
                self._greenlets.append(gevent.spawn_later(RETRY, self._start_local_tasks))
                return
            self._local_running[task_id] = (name, data)
            self._runner.start(Running(task_id, token, name, text, local=True))

    def _isolate(self) -> None:
        """Redis was away for too long: stop everything here; local tasks start again when it is back."""
        for task_id, entry in self._runner.tasks.items():
            local = self._local_running.pop(task_id, None)
            if local is not None and not entry.ended and entry.leaving is None:
                self._local_waiting.append((str(uuid4()), *local))
        self._runner.ask_all("requeue")

    def _lost(self, entry: Running) -> None:
        """A task is no longer ours. A local one has nobody else to run it, so it is started anew."""
        local = self._local_running.pop(entry.id, None)
        if local is not None:
            self._local_waiting.append((str(uuid4()), *local))
            gevent.spawn(self._start_local_tasks)

    def _hand_back(self, worker_id: str, on_done: Callable[[int], None] | None) -> None:
        while True:
            self.link.wait()
            try:
                # The server may not know yet that the connection is dead: what is handed back must not be moved at
                # once into the inbox of somebody who will never look.
                self._cut_take_short(worker_id)
                with self.link.guard():
                    done = self.keeper.hand_back(worker_id)
                break
            except Away:
                continue
        log.debug("Handed back what the dead worker %s held: %d tasks wait again", worker_id, done.waiting)
        tell_deaths(done.convicted, done.often)
        if on_done is not None:
            on_done(done.waiting)

    # End

    def _end(self) -> None:
        began, held = time.monotonic(), self.running
        deadline = began + self.options.graceful_timeout
        sending = min(SENDING, self.options.graceful_timeout / 3)
        log.info("Stopping: %d tasks are stopped and requeued", held)
        self._claimer.stop()
        self._unblock()
        self._runner.ask_all("requeue")
        gevent.wait(
            [self._runner.idle, self._hurry],
            timeout=max(0.0, deadline - sending - time.monotonic()),
            count=1,
        )
        self._runner.hurry()
        gevent.wait([self._runner.idle], timeout=min(GIVE_WAY, sending))
        for entry in list(self._runner.tasks.values()):
            log.warning("Task %r (%s) has not stopped in time; it is requeued anyway", entry.id, entry.name)
        # However short the timeout, the last word is tried.
        self._let_go(max(deadline, time.monotonic() + LAST_WORD))
        log.info("Stopped after %.2f s", time.monotonic() - began)

    def _unblock(self) -> None:
        """Bring the claimer back from its blocking take at once instead of at its timeout."""
        if not self.link.up:
            return  # it waits for Redis, and claims no more when that is back
        # Beside, since a frozen server would hold us here longer than the whole stop may take.
        cutter = gevent.spawn(self._cut_own_takes_short)
        self._claimer.gone.wait(LAST_CLAIM)
        cutter.kill(block=False)

    def _cut_own_takes_short(self) -> None:
        while True:
            self._cut_take_short(self.id)
            gevent.sleep(0.1)

    def _cut_take_short(self, worker_id: str) -> None:
        """End the blocking take of a worker; where the server does not permit this, it ends within a second."""
        try:
            with self.link.guard():
                unblock(self._client, _take_name(worker_id))
        except Exception:
            log.debug("The blocking take of %s could not be cut short", worker_id, exc_info=True)

    def _let_go(self, deadline: float) -> None:
        """Send what is left to send, and hand back whatever still counts as held."""
        while (left := deadline - time.monotonic()) > 0:
            if not self.link.wait(min(left, 1.0)):
                if self._hurry.is_set():
                    break
                continue
            if not self._reporter.flush(min(left, 1.0)):
                continue
            # Nothing may renew the lease after it is given up, or take.
            gevent.killall(self._greenlets)
            disconnect(self._blocking)
            try:
                with self.link.guard():
                    self.keeper.hand_back(self.id, died=False)
            except Away:
                continue
            return
        log.error(
            "Redis has not taken back %d tasks in time; a Monitor will do so when this worker is overdue",
            self.running,
        )
