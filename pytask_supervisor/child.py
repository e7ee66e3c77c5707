"""``Child``: a worker as the master sees it: who it is, how far it got, and when it is overdue."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

from pytask_supervisor.channel import Channel, Message

#: Seconds that a child has beyond the graceful timeout, at which it cuts its tasks off by itself:
#: for putting back what has not stopped. Shorter, and we kill it while it does.
LAST_WORDS = 1.0


class Stage(Enum):
    """How far a child's life has got."""

    STARTED = auto()  #: It loads the app and connects.
    READY = auto()  #: It works.
    STOPPING = auto()  #: It was asked to stop, by us or by somebody else.
    KILLED = auto()  #: SIGKILL is on its way.


class Child:
    """Reads nothing and waits for nothing by itself: the supervisor tells it what was heard."""

    def __init__(
        self,
        pid: int,
        slot: int,
        channel: Channel,
        *,
        graceful_timeout: float,
        clock: Callable[[], float] = time.monotonic,
        kill: Callable[[int, int], None] = os.kill,
    ) -> None:
        self.pid = pid
        self.slot = slot
        self.channel = channel
        self.stage = Stage.STARTED
        #: Its id in Redis, from the moment on that it may claim tasks.
        self.worker_id: str | None = None
        self.running = 0
        self.done = 0
        #: Why it is about to leave, in its own words: a sentence, and a traceback or nothing.
        self.failure: tuple[str, str] | None = None
        #: It said goodbye: nothing of its own is left in Redis.
        self.has_left = False
        #: When to kill it if it is still there.
        self.deadline: float | None = None
        self._patience = graceful_timeout + LAST_WORDS
        self._ready_at: float | None = None
        self._clock = clock
        self._kill = kill

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid})"

    def hear(self, message: Message) -> None:
        """Remember what a message says of the child itself; unknown words are ignored."""
        if "worker" in message:
            self.worker_id = message["worker"]
        elif "ready" in message:
            self._ready_at = self._clock()
            if self.stage is Stage.STARTED:
                self.stage = Stage.READY
        elif "beat" in message:
            self.running, self.done = message["beat"]["running"], message["beat"]["done"]
        elif "failed" in message:
            self.failure = (message["failed"], message.get("detail") or "")
        elif "stopping" in message:
            self._expect_end()
        elif "left" in message:
            self.has_left = True

    @property
    def ready_for(self) -> float:
        """Seconds since it said that it is ready; 0 if it never did."""
        return 0.0 if self._ready_at is None else self._clock() - self._ready_at

    @property
    def is_overdue(self) -> bool:
        """Whether it should have left by now."""
        return self.deadline is not None and self._clock() >= self.deadline

    def stop(self) -> None:
        """Ask it to put its tasks back and leave; asking twice is asking once."""
        if self.stage in (Stage.STARTED, Stage.READY):
            self._expect_end()
            self._signal(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it, and whatever its tasks started in its process group."""
        self.stage = Stage.KILLED
        self.deadline = None
        self._signal(self.pid, signal.SIGKILL)
        self.kill_group()

    def kill_group(self) -> None:
        """End what a dead child's tasks started: another worker is about to start it again."""
        self._signal(-self.pid, signal.SIGKILL)

    def _expect_end(self) -> None:
        if self.stage in (Stage.STARTED, Stage.READY):
            self.stage = Stage.STOPPING
            self.deadline = self._clock() + self._patience

    def _signal(self, pid: int, signum: int) -> None:
        with suppress(ProcessLookupError):  # It is gone; reaping will tell.
            self._kill(pid, signum)
