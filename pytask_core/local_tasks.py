"""``LocalTasks``: the tasks that the app itself started, which live and end with their worker.

Nobody else can run one, so one that is lost is started anew here, as soon as Redis will have it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import gevent
from gevent.event import Event

from .link import Away, Link, Rejected
from .payload import encode
from .runner import TaskRunner
from .running import Running
from .store import WorkerStore

log = logging.getLogger("pytask.worker")

#: Seconds between tries while Redis answers with an error.
RETRY = 1.0


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
        runner: TaskRunner,
        link: Link,
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
        self._running: dict[str, tuple[str, dict[str, Any]]] = {}
        self._retries: list[gevent.Greenlet] = []

    def add(self, name: str, data: dict[str, Any]) -> None:
        """Start one now, or as soon as Redis can be reached; returns at once."""
        self._waiting.append((str(uuid4()), name, data))
        if self._link.up:
            gevent.spawn(self.start)

    def start(self) -> None:
        """Start all that wait, while Redis can be reached."""
        while self._waiting and not self._stop.is_set():
            task_id, name, data = local = self._waiting.pop(0)
            token = self._next_token()
            text = encode(f"the data of {name!r}", data, self._max_payload)
            try:
                with self._link.guard():
                    self._store.adopt(task_id, token, name, text)
            except Away:
                self._waiting.append(local)
                return
            except Rejected as error:
                log.error("The local task %r cannot be registered: %s. Trying again in %g s", name, error, RETRY)
                self._waiting.append(local)
                self._retries.append(gevent.spawn_later(RETRY, self.start))
                return
            if self._stop.is_set():
                return  # the worker hands back what it holds as it leaves, and this with it
            self._running[task_id] = (name, data)
            self._runner.start(Running(task_id, token, name, text, local=True))

    def let_go(self) -> None:
        """All that run are about to be stopped, since Redis was away for too long: they start again with it."""
        for task_id, entry in self._runner.tasks.items():
            local = self._running.pop(task_id, None)
            if local is not None and not entry.ended and entry.leaving is None:
                self._waiting.append((str(uuid4()), *local))

    def lost(self, entry: Running) -> None:
        """A task is no longer ours; if it is a local one it is started anew."""
        local = self._running.pop(entry.id, None)
        if local is not None:
            self.add(*local)

    def close(self) -> None:
        """Try nothing any more."""
        gevent.killall(self._retries)
