"""``WorkerHandle``: a worker as the master sees it: who it is, how far it got, and when it is overdue."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.shared.channel import Channel
from pytask_supervisor.shared.messages import Message
from pytask_supervisor.shared.shapes import MisshapenError

#: Seconds that a worker has beyond the graceful timeout, at which it cuts its tasks off by itself:
#: for putting back what has not stopped. Shorter, and we kill it while it does.
LAST_WORDS = 1.0
#: Seconds that a worker may take to requeue its tasks without waiting for their ``stop``. A task that
#: swallows what is thrown at it costs two of them.
AT_ONCE = 4.0
#: Characters that a worker may say of what blocks its loop. More tells little, and goes to a sibling.
MOST_WORDS = 4_000
#: Seconds that a process may take from the closing of its lines to its death. Longer: one that goes on with a line
#: closed is replaced later. Shorter: on a busy machine one that is about to end by itself is killed.
TO_END = 5.0
#: Seconds of silence below which a loop runs.
RECOVERED = 1.0


class Stage(Enum):
    """How far a worker's life has got."""

    STARTED = auto()  #: It loads the app and connects.
    READY = auto()  #: It works.
    DRAINING = auto()  #: It claims nothing new, and stops once its short tasks have ended.
    STOPPING = auto()  #: It was asked to stop, by us or by another process.
    KILLED = auto()  #: SIGKILL is on its way.


#: Not yet asked to stop.
_WORKING = (Stage.STARTED, Stage.READY, Stage.DRAINING)


class WorkerHandle:
    """Reads nothing and waits for nothing by itself: the supervisor tells it what was heard."""

    def __init__(
        self,
        pid: int,
        slot: int,
        channel: Channel,
        wire: Channel,
        *,
        mark: str = "",
        graceful_timeout: float,
        drain_timeout: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        kill: Callable[[int, int], None] = os.kill,
    ) -> None:
        self.pid = pid
        self.slot = slot
        #: To its loop.
        self.channel = channel
        #: To the native thread beside that.
        self.wire = wire
        self.stage = Stage.STARTED
        #: Its id in Redis, from the moment on that it may claim tasks.
        self.worker_id: str | None = None
        #: What its last beat told: ``running`` and ``done`` (tasks), ``lag`` (seconds that its loop
        #: is late), ``memory`` (bytes).
        self.figures: dict[str, Any] = {}
        #: It said what is not a message, and counts as dead: nothing more of it is heard.
        self.is_unheard = False
        #: What blocked its loop for too long, in words.
        self.hung: str | None = None
        #: What blocks its loop at present, in words, and the id of that task; empty where nothing is known.
        self.blocked = self.culprit = ""
        #: The kernel's number of the thread beside its loop.
        self.thread: int | None = None
        #: Why it is about to leave, in its own words: a sentence, and a traceback or nothing.
        self.failure: tuple[str, str] | None = None
        #: Why it is about to leave, as far as that is our doing.
        self.cause: Cause | None = None
        #: It said goodbye: nothing of its own is left in Redis.
        self.has_left = False
        #: When to kill it if it is still there.
        self.deadline: float | None = None
        #: Seconds that it was granted for leaving.
        self.granted = graceful_timeout
        #: With what its id in Redis ends: no other worker's does, so it can speak for no other.
        self._mark = mark
        self._drain_timeout = drain_timeout
        #: When to stop it although tasks of its may still be about to end.
        self._drained_by: float | None = None
        self._born_at = self._pulse_at = clock()
        #: Seconds that the loop had been silent when the last pulse came.
        self._pulse = 0.0
        self._ready_at: float | None = None
        #: When it was first seen that one of its lines is closed.
        self._closed_at: float | None = None
        self._clock = clock
        self._kill = kill

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid})"

    def hear(self, message: Message) -> None:
        """Remember what a message says of the worker itself. Raises ``MisshapenError`` where it names another."""
        if "worker" in message:
            self._identify(message["worker"])
        elif "ready" in message:
            # Said again, by a task, it would make a worker that has worked for long count as one that never did.
            self._ready_at = self._clock() if self._ready_at is None else self._ready_at
            if self.stage is Stage.STARTED:
                self.stage = Stage.READY
        elif "beat" in message:
            self.figures = message["beat"]
        elif "failed" in message:
            self.failure = (message["failed"], message.get("detail") or "")
        elif "stopping" in message:
            self._expect_end()
        elif "left" in message:
            self.has_left = message["left"]
        else:
            self._hear_thread(message)

    def _identify(self, worker_id: str) -> None:
        if self.worker_id not in {None, worker_id} or not worker_id.endswith(self._mark):
            raise MisshapenError(f"it calls itself {worker_id!r}, which is another worker")
        self.worker_id = worker_id

    def _hear_thread(self, message: Message) -> None:
        """What comes from the native thread beside its loop."""
        if "pulse" in message:
            self._pulse_at, self._pulse = self._clock(), message["pulse"]
            if self._pulse < RECOVERED:
                # We listened too late: the loop runs again.
                self.hung, self.blocked, self.culprit = None, "", ""
        elif "thread" in message:
            self.thread = message["thread"]
        elif "blocked" in message:
            self._note_culprit(message, "blocked")
        elif "hung" in message:
            self._note_culprit(message, "hung")
            self.hung = f"{message['hung']}, for {message['seconds']:g} s"

    def _note_culprit(self, message: Message, word: str) -> None:
        """Whether the task is one of its own is looked at where that is known: in Redis, when it is charged."""
        self.blocked, culprit = message[word][:MOST_WORDS], message.get("culprit", "")
        self.culprit = culprit if len(culprit) <= MOST_WORDS else ""

    @property
    def is_behind(self) -> bool:
        """Whether it has said more than was heard in one turn."""
        return not self.is_unheard and (self.channel.is_behind or self.wire.is_behind)

    @property
    def is_half_deaf(self) -> bool:
        """Whether it has had a line closed for longer than a process takes to end: it can tell nothing, and lives."""
        if not (self.channel.at_end or self.wire.at_end):
            self._closed_at = None
            return False
        self._closed_at = self._clock() if self._closed_at is None else self._closed_at
        return self._clock() - self._closed_at >= TO_END

    @property
    def running(self) -> int:
        """Tasks in its hands when it was last heard."""
        return int(self.figures.get("running", 0))

    @property
    def done(self) -> int:
        """Tasks that have ended there."""
        return int(self.figures.get("done", 0))

    @property
    def is_spent(self) -> bool:
        """Whether it has begun as many tasks as it may, and claims no more."""
        return self.figures.get("spent") is True

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(self.figures.get("memory", 0))

    @property
    def uptime(self) -> float:
        """Seconds since it was forked."""
        return self._clock() - self._born_at

    @property
    def ready_for(self) -> float:
        """Seconds since it said that it is ready; 0 if it never did."""
        return 0.0 if self._ready_at is None else self._clock() - self._ready_at

    @property
    def silence(self) -> float:
        """Seconds since its last sign of life."""
        return self._clock() - self._pulse_at

    @property
    def loop_silence(self) -> float:
        """Seconds since its loop gave one, as its native thread told last."""
        return self._pulse

    @property
    def is_overdue(self) -> bool:
        """Whether it should have left by now."""
        return self.deadline is not None and self._clock() >= self.deadline

    def tell_quiet(self, is_on: bool) -> None:
        """Have it claim nothing new, or claim again; one that drains is quiet in any case."""
        if self.stage is not Stage.DRAINING:
            self.channel.send({"quiet": is_on})

    def tell_dump(self) -> None:
        """Have it log where its tasks stand: by its loop, or, if that is blocked, by the native thread."""
        if self.worker_id is not None:
            self.channel.send({"dump": True})
            self.wire.send({"dump": True})

    def ask_for_stack(self) -> None:
        """Have it write its stack by a signal: that goes even while it keeps the interpreter's lock."""
        self._signal(self.pid, signal.SIGUSR1)

    def excuse(self) -> None:
        """We did not listen: its silence so far does not count."""
        self._pulse_at = self._clock()

    def close(self) -> None:
        """Let go of both lines."""
        self.channel.close()
        self.wire.close()

    def drain(self, cause: Cause) -> None:
        """Ask it to claim nothing new, and to leave once its short tasks have ended or its time for that is over."""
        if self.stage is not Stage.READY or not self._drain_timeout:
            self.stop(cause)
            return
        self.cause = cause
        self.stage = Stage.DRAINING
        self._drained_by = self._clock() + self._drain_timeout
        self.channel.send({"drain": self._drain_timeout})

    def end_drain(self) -> None:
        """Ask it to stop if its time is over; it does so by itself unless it could not hear or cannot act."""
        if self.stage is Stage.DRAINING and self.cause is not None and self._clock() >= (self._drained_by or 0.0):
            self.stop(self.cause)

    def stop(self, cause: Cause) -> None:
        """Ask it to put its tasks back and leave; asking twice is asking once."""
        if self.stage in _WORKING:
            self.cause = cause
            self._expect_end()
            self._signal(self.pid, signal.SIGINT)

    def stop_at_once(self, cause: Cause) -> None:
        """The same, without waiting for what its tasks do in their ``stop``."""
        if self.stage is Stage.KILLED:
            return
        self.stop(cause)
        if self.deadline is not None and self._clock() + AT_ONCE < self.deadline:
            self.granted, self.deadline = AT_ONCE, self._clock() + AT_ONCE
        self.channel.send({"requeue": True})

    def kill(self, cause: Cause) -> None:
        """End it, and whatever its tasks started in its process group."""
        if self.cause is not None and self.stage is not Stage.KILLED:
            cause = Cause(cause.kind, f"{self.cause.words}, and {cause.words}")
        self.cause = cause
        self.stage = Stage.KILLED
        self.deadline = None
        self._signal(self.pid, signal.SIGKILL)
        self.kill_group()

    def kill_group(self) -> None:
        """End what a dead worker's tasks started: another worker is about to start it again."""
        self._signal(-self.pid, signal.SIGKILL)

    def _expect_end(self) -> None:
        if self.stage in _WORKING:
            self.stage = Stage.STOPPING
            self.cause = self.cause or Cause(
                Kind.ASKED, "left by itself (exit code 0), told by a signal that was not ours"
            )
            self.deadline = self._clock() + self.granted + LAST_WORDS

    def _signal(self, pid: int, signum: int) -> None:
        # It is gone, and reaping will tell; or what is left of its group are programs of other users (sudo), which
        # are not ours to end.
        with suppress(ProcessLookupError, PermissionError):
            self._kill(pid, signum)
