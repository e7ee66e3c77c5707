"""``LocalTasks``: the tasks that the app itself started, which live and end with their worker.

No other worker can run one, so one that is lost is started again here, as soon as Redis will have it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any
from uuid import uuid4

import gevent
from gevent.event import Event

from ..connection.complaints import PAUSE, Complaints
from ..connection.link import RedisLink, ServerError
from ..errors import InvalidTask
from ..loops import Backoff
from ..payload import encode
from ..process.service import Bell, Service
from ..store import WorkerStore
from .execution import Execution
from .executor import Executor

log = logging.getLogger("pytask.worker")

#: The longest pause, in seconds, between tries to make one again. Longer: less noise. Shorter: it runs again sooner.
LONGEST_PAUSE = 60.0

#: Seconds that a worker waits at its start until its local tasks are made, so that it has claimed nothing where one
#: cannot be. Longer: slow ones are waited for as well. Shorter: a worker with slow ones is ready sooner.
MAKING = 2.0


class _Begun(Enum):
    """Why one is started, and so what it means where it cannot be made."""

    FIRST = auto()  #: At the start: a mistake in the app, which ends the worker.
    ADDED = auto()  #: To a worker that runs others' tasks: it ends as EXCEPTION, as any task.
    AGAIN = auto()  #: It could be made before, so the cause will pass: it is tried again.


class LocalTasks(Service):
    """Those that run and those that wait for Redis.

    Args:
        tasks: name and data of each.
        store: where they are registered.
        executor: what runs them.
        link: whether Redis can be reached.
        next_token: gives the claim under which one is held.
        stop: once it is set none is started any more.
        max_payload: bytes that the data may have.
    """

    def __init__(
        self,
        tasks: Sequence[tuple[str, dict[str, Any]]],
        store: WorkerStore,
        executor: Executor,
        link: RedisLink,
        next_token: Callable[[], str],
        stop: Event,
        max_payload: int,
    ) -> None:
        super().__init__()
        self._store = store
        self._executor = executor
        self._link = link
        self._next_token = next_token
        self._stop = stop
        self._max_payload = max_payload
        #: Ids, names and data; with an id already, so that one whose registration was answered into the void is
        #: registered again and not twice.
        self._waiting = [(str(uuid4()), name, data) for name, data in tasks]
        self._begun = dict.fromkeys((task_id for task_id, *_ in self._waiting), _Begun.FIRST)
        self._backoff = Backoff(PAUSE, LONGEST_PAUSE)
        #: Why one could not be made at the start.
        self.failure: InvalidTask | None = None
        self._running: dict[str, tuple[str, dict[str, Any]]] = {}
        self._copies: dict[str, Execution] = {}
        #: Redis was away for too long: none is started before it is back.
        self._is_held = False
        self._bell = Bell(self._has_work)
        executor.on_unmade = self._unmade

    def start(self) -> None:
        """Start those that begin with the worker, and wait a while until they are made; see :attr:`failure`."""
        super().start()
        until = time.monotonic() + MAKING
        while self._link.up and not self._stop.is_set() and time.monotonic() < until:
            gevent.sleep(0)
            entries = [entry for entry in self._executor.tasks.values() if entry.local]
            if not self._waiting and all(entry.started or entry.ended for entry in entries):
                return
            self._stop.wait(0.01)

    def add(self, name: str, data: dict[str, Any]) -> None:
        """Start one now, or as soon as Redis can be reached; returns at once."""
        self._queue(_Begun.ADDED, name, data)

    def _queue(self, begun: _Begun, name: str, data: dict[str, Any]) -> None:
        task_id = str(uuid4())
        self._begun[task_id] = begun
        self._waiting.append((task_id, name, data))
        self._bell.ring()

    def _unmade(self, entry: Execution, error: BaseException) -> bool:
        """See to one that could not be made, or return False where that is its end."""
        begun = self._begun.get(entry.id, _Begun.ADDED)
        # A copy that is not the one we have started was reloaded, on other data.
        if begun is _Begun.ADDED or entry is not self._copies.get(entry.id):
            return False
        name, data = self._running.pop(entry.id)
        why = f"the local task {name!r} cannot be made: {type(error).__name__}: {error}"
        if begun is _Begun.FIRST:
            self.failure = InvalidTask(why)
            self.failure.__cause__ = error
            self._stop.set()
        else:
            pause = self._backoff.pause()
            log.error("After it was stopped %s. Trying again in %.1f s", why, pause)
            self.greenlets.add(gevent.spawn_later(pause, self._queue, _Begun.AGAIN, name, data))
        return True

    def _has_work(self) -> bool:
        return bool(self._waiting) and not (self._is_held or self._stop.is_set())

    def run(self) -> None:
        """Start those that wait, for ever."""
        bug = "A bug in pytask: local tasks cannot be started; trying again in a second"
        self._link.serve(self.turn, Complaints(log, bug=bug), wait_for_work=self._bell.wait)

    def turn(self) -> None:
        """Start one that waits."""
        if not self._has_work():
            return
        task_id, name, data = self._waiting[0]
        token = self._next_token()
        text = encode(f"the data of {name!r}", data, self._max_payload)
        try:
            with self._link.guard():
                self._store.adopt(task_id, token, name, text)
        except ServerError as error:
            log.error("The local task %r cannot be registered: %s. Trying again in %g s", name, error, PAUSE)
            gevent.sleep(PAUSE)
            self._waiting.append(self._waiting.pop(0))
            return
        self._copies[task_id] = Execution(task_id, token, name, text, local=True)
        if not self._stop.is_set():  # else the worker hands back what it holds as it leaves, and this with it
            self._running[task_id] = (name, data)
            self._executor.start(self._copies[task_id])
        del self._waiting[0]

    def resume(self) -> None:
        """Redis is back: what waits may start."""
        self._is_held = False
        self._bell.ring()

    def let_go(self) -> None:
        """All that run are about to be stopped, since Redis was away for too long: they start again with it."""
        self._is_held = True
        for task_id, entry in self._executor.tasks.items():
            local = self._running.pop(task_id, None)
            if local is not None and not entry.ended and entry.leaving is None:
                self._queue(self._next(entry), *local)

    def lost(self, entry: Execution) -> None:
        """A task is no longer ours; if it is a local one it is started again."""
        local = self._running.pop(entry.id, None)
        if local is not None:
            self._queue(self._next(entry), *local)

    def _next(self, entry: Execution) -> _Begun:
        """What a local task that an outage stopped is started with again."""
        begun = self._begun.pop(entry.id, _Begun.ADDED)
        return _Begun.AGAIN if entry.started else begun
