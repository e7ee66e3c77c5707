"""``LocalTasks``: the tasks that the app itself started, which live and end with their worker.

Nobody else can run one, so one that is lost is started anew here, as soon as Redis will have it.
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

from ..connection.link import RedisLink, ServerError, Unreachable
from ..errors import InvalidTask
from ..loops import Backoff
from ..payload import encode
from ..process.greenlets import once
from ..store import WorkerStore
from .execution import Execution
from .executor import Executor

log = logging.getLogger("pytask.worker")

#: Seconds between tries while Redis answers with an error.
RETRY = 1.0

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


class LocalTasks:
    """Those that run and those that wait for Redis.

    Args:
        tasks: name and data of each.
        store: where they are registered.
        runner: what runs them.
        link: whether Redis can be reached.
        next_token: gives the claim under which one is held.
        stop: once it is set none is started any more.
        max_payload: bytes that the data may have.
    """

    def __init__(
        self,
        tasks: Sequence[tuple[str, dict[str, Any]]],
        store: WorkerStore,
        runner: Executor,
        link: RedisLink,
        next_token: Callable[[], str],
        stop: Event,
        max_payload: int,
    ) -> None:
        self._store = store
        self._runner = runner
        self._link = link
        self._next_token = next_token
        self._stop = stop
        self._max_payload = max_payload
        #: Ids, names and data; with an id already, so that one whose registration was answered into the void is
        #: registered again and not twice.
        self._waiting = [(str(uuid4()), name, data) for name, data in tasks]
        self._begun = dict.fromkeys((task_id for task_id, *_ in self._waiting), _Begun.FIRST)
        self._backoff = Backoff(RETRY, LONGEST_PAUSE)
        #: Why one could not be made at the start.
        self.failure: InvalidTask | None = None
        self._running: dict[str, tuple[str, dict[str, Any]]] = {}
        self._copies: dict[str, Execution] = {}
        self._retries: list[gevent.Greenlet] = []
        runner.on_unmade = self._unmade

    def begin(self) -> None:
        """Start all, and wait a while until they are made; see :attr:`failure`."""
        self.start()
        until = time.monotonic() + MAKING
        while not self._stop.is_set() and time.monotonic() < until:
            gevent.sleep(0)
            if all(entry.started or entry.ended for entry in self._runner.tasks.values() if entry.local):
                return
            self._stop.wait(0.01)

    def add(self, name: str, data: dict[str, Any]) -> None:
        """Start one now, or as soon as Redis can be reached; returns at once."""
        self._queue(_Begun.ADDED, name, data)
        if self._link.up:
            once(self.start)

    def _queue(self, begun: _Begun, name: str, data: dict[str, Any]) -> None:
        task_id = str(uuid4())
        self._begun[task_id] = begun
        self._waiting.append((task_id, name, data))

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
            self._queue(_Begun.AGAIN, name, data)
            self._retries.append(gevent.spawn_later(pause, once, self.start))
        return True

    def start(self) -> None:
        """Start all that wait, while Redis can be reached."""
        while self._waiting and not self._stop.is_set():
            task_id, name, data = local = self._waiting.pop(0)
            token = self._next_token()
            text = encode(f"the data of {name!r}", data, self._max_payload)
            try:
                with self._link.guard():
                    self._store.adopt(task_id, token, name, text)
            except Unreachable:
                self._waiting.append(local)
                return
            except ServerError as error:
                log.error("The local task %r cannot be registered: %s. Trying again in %g s", name, error, RETRY)
                self._waiting.append(local)
                self._retries.append(gevent.spawn_later(RETRY, once, self.start))
                return
            if self._stop.is_set():
                return  # the worker hands back what it holds as it leaves, and this with it
            self._running[task_id] = (name, data)
            self._copies[task_id] = Execution(task_id, token, name, text, local=True)
            self._runner.start(self._copies[task_id])

    def let_go(self) -> None:
        """All that run are about to be stopped, since Redis was away for too long: they start again with it."""
        for task_id, entry in self._runner.tasks.items():
            local = self._running.pop(task_id, None)
            if local is not None and not entry.ended and entry.leaving is None:
                self._queue(self._next(entry), *local)

    def lost(self, entry: Execution) -> None:
        """A task is no longer ours; if it is a local one it is started anew."""
        local = self._running.pop(entry.id, None)
        if local is not None:
            self._queue(self._next(entry), *local)
            if self._link.up:
                once(self.start)

    def _next(self, entry: Execution) -> _Begun:
        """What a local task that an outage stopped is started with again."""
        begun = self._begun.pop(entry.id, _Begun.ADDED)
        return _Begun.AGAIN if entry.started else begun

    def close(self) -> None:
        """Try nothing any more."""
        gevent.killall(self._retries)
