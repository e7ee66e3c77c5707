"""``Reporter``: sends events, ends and requeues to Redis, in order, many in one round trip.

While one round trip is out whatever else is ready gathers and goes with the next: idle, an end is sent at once; loaded,
hundreds share a round trip. Ends wait while Redis is away, events do not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import takewhile
from typing import Generic, NamedTuple, TypeVar

from gevent.event import Event as Flag

from ..connection.complaints import Complaints
from ..connection.link import RedisLink, Unreachable
from ..process.news import News
from ..process.service import Bell, Service
from ..states import TaskState
from ..store import BATCH, Ending, Event, WorkerStore
from .execution import Execution

log = logging.getLogger("pytask.reporter")

#: Events that may gather before a task that emits has to wait for the sending. More bears bursts, and costs memory.
MOST_EVENTS = 10_000

What = TypeVar("What")


class _Leaving(NamedTuple, Generic[What]):
    """How a task leaves this worker."""

    entry: Execution
    what: What
    after: int  #: events that were emitted before; an event that comes behind it is refused


class Reporter(Service):
    """The one way out of a worker for events and ends.

    Args:
        store: the worker's store.
        link: whether Redis can be reached.
    """

    def __init__(self, store: WorkerStore, link: RedisLink) -> None:
        super().__init__()
        self._store = store
        self._link = link
        self._events: list[Event] = []
        #: Events that were emitted while Redis was there, and how many of them are sent or dropped.
        self._emitted = self._taken = 0
        self._ends: list[_Leaving[Ending]] = []
        self._stopped: list[_Leaving[None]] = []
        self._requeue: list[_Leaving[None]] = []
        self._bell = Bell(lambda: not self.empty)
        self._sent = Flag()
        self._news = News()
        #: Events that were not sent because Redis was away.
        self.dropped = 0
        #: Called with each task whose end, stop or requeue Redis has taken or refused; and with the state of one that
        #: has ended or stopped, unless refused.
        self.on_settled: Callable[[Execution, str | None], None] = lambda _entry, _state: None

    # In

    def emit(self, entry: Execution, payload: str) -> None:
        """Send an event; waits only for other events to be sent, and never while Redis is away."""
        while len(self._events) >= MOST_EVENTS and self._link.up:
            self._sent.clear()
            self._sent.wait(0.1)
        if not self._link.up:
            self._drop(1)
            return
        self._events.append(Event(entry.id, entry.token, payload))
        self._emitted += 1
        self._bell.ring()

    def end(self, entry: Execution, state: str, output: str) -> None:
        """Send how a task ended."""
        self._ends.append(_Leaving(entry, Ending(entry.id, entry.token, state, output), self._emitted))
        self._bell.ring()

    def stopped(self, entry: Execution) -> None:
        """Send that a task was stopped on purpose."""
        self._stopped.append(_Leaving(entry, None, self._emitted))
        self._bell.ring()

    def requeue(self, entry: Execution) -> None:
        """Send that a task goes back to the front of the queue."""
        self._requeue.append(_Leaving(entry, None, self._emitted))
        self._bell.ring()

    @property
    def empty(self) -> bool:
        """Whether everything is sent."""
        return not (self._events or self._ends or self._stopped or self._requeue)

    def flush(self, timeout: float) -> bool:
        """Wait until everything is sent, for ``timeout`` seconds at most; return whether it is."""
        deadline = time.monotonic() + timeout
        while not self.empty and (left := deadline - time.monotonic()) > 0:
            self._sent.clear()
            self._sent.wait(left)
        return self.empty

    # Out

    def run(self) -> None:
        """Send for ever."""
        self._link.serve(
            self.turn,
            Complaints(
                log,
                "Redis does not take the ends of tasks",
                "They are kept and tried again",
                bug="A bug in pytask: the ends of tasks cannot be sent; trying again in a second",
            ),
            wait_for_work=self._bell.wait,
        )

    def turn(self) -> None:
        """Send one batch.

        Raises:
            Unreachable: Redis cannot be reached; ends are kept, events are dropped.
        """
        events, self._events = self._events[:BATCH], self._events[BATCH:]
        self._taken += len(events)
        ends, stopped, requeue = self._due(self._ends), self._due(self._stopped), self._due(self._requeue)
        try:
            with self._link.guard():
                refused = self._store.report(
                    events,
                    [each.what for each in ends],
                    [(each.entry.id, each.entry.token) for each in stopped],
                    [(each.entry.id, each.entry.token) for each in requeue],
                )
        except Unreachable:
            self._drop(len(events) + len(self._events))
            self._events.clear()
            self._taken = self._emitted
            raise
        finally:
            self._sent.set()
        del self._ends[: len(ends)]
        del self._stopped[: len(stopped)]
        del self._requeue[: len(requeue)]
        if refused:
            log.info(
                "%d tasks were no longer this worker's when they ended, and nothing was written for them: %.500r",
                len(refused),
                refused,
            )
        self._settle([(each.entry, each.what.state) for each in ends], refused)
        self._settle([(each.entry, TaskState.STOPPED) for each in stopped], refused)
        for each in requeue:
            self.on_settled(each.entry, None)

    def _due(self, leaving: list[_Leaving[What]]) -> list[_Leaving[What]]:
        """Return those that may go now. Their own events have gone or go before them; they wait for no later ones."""
        first = leaving[:BATCH]
        return list(takewhile(lambda each: each.after <= self._taken, first)) if self._events else first

    def _settle(self, entries: list[tuple[Execution, str]], refused: list[str]) -> None:
        for entry, state in entries:
            self.on_settled(entry, None if refused and entry.id in refused else state)

    def _drop(self, count: int) -> None:
        self.dropped += count
        if count and self._news.is_news():
            log.warning(
                "Redis is away, so events that tasks emit are dropped; they are counted, and this is said only once"
            )
