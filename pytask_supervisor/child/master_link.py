"""``MasterLink``: a child's side of the talk with its master, beside the running tasks.

Comes from ``worker.run_child`` once gevent has patched; beats and the title go out each second, the
master's orders come in, and a stop, whoever asks for it, is passed on once.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING

import gevent
from gevent.socket import wait_read
from setproctitle import setproctitle

from pytask_core.policy.poison import Hang
from pytask_core.process.greenlets import keep
from pytask_core.process.signals import hear
from pytask_core.worker import stacks
from pytask_supervisor.child.process_stats import ProcessStats
from pytask_supervisor.shared.channel import Channel
from pytask_supervisor.shared.logs import tell_left_out
from pytask_supervisor.shared.messages import Message

if TYPE_CHECKING:
    from pytask_core.worker.worker import Worker
    from pytask_supervisor.child.monitor_thread import MonitorThread

log = logging.getLogger("pytask.supervisor")

#: Seconds between two beats. Shorter: fresher figures. Longer: an idle worker wakes less often.
BEAT = 1.0
#: Frames that are told of what blocks the loop: the place itself, and who called it.
FRAMES_NAMED = 4
#: Seconds between two signs of the loop to the native thread beside it.
PULSE = 0.5


class TasksInside:
    """What the native thread wants to know of the tasks, in words."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def blocking(self, frame: FrameType | None) -> str:
        """Which task blocks the loop, and where."""
        entry = stacks.task_of(frame, self._worker.tasks)
        who = f"task {entry.id!r} ({entry.name})" if entry else "something that is no task"
        places = [f"{file}:{line} in {name}" for file, line, name in stacks.where(frame, FRAMES_NAMED)]
        return f"{who} blocks the loop at {', called from '.join(places)}"

    def culprit(self, frame: FrameType | None) -> str:
        """The id of the task that blocks the loop; empty where it is none."""
        entry = stacks.task_of(frame, self._worker.tasks)
        return entry.id if entry else ""

    def stacks(self, frame: FrameType | None) -> Iterable[str]:
        """Where all tasks stand: looked at now, and put into words as that is asked for."""
        found = stacks.stacks(self._worker.tasks, frame)
        if not found:
            return ["There is no task here"]
        return (stacks.tell(stack, entries) for stack, entries in found.items())


class MasterLink:
    """One for each worker's life."""

    def __init__(
        self, worker: Worker, channel: Channel, slot: int, monitor_thread: MonitorThread, process_stats: ProcessStats
    ) -> None:
        self._worker = worker
        self._channel = channel
        self._slot = slot
        self._monitor_thread = monitor_thread
        self._process_stats = process_stats
        self._is_stopping = False
        #: As the title begins.
        self._stage = ""
        self._handing_back: set[str] = set()
        self._hearing = ExitStack()

    def begin(self) -> None:
        """Say who we are, and start to listen, to beat, and to hear INT and TERM."""
        self._channel.send({"worker": self._worker.id})
        # For as long as the process lives; not in a copy of it.
        self._hearing.enter_context(hear((signal.SIGINT, signal.SIGTERM), self._stop))
        self._monitor_thread.attend(TasksInside(self._worker))
        self._worker.allowance.on_spent = self._tell
        for work in (self._pulse, self._beat, self._listen):
            keep(work)

    def ready(self) -> None:
        """The worker takes work from now on."""
        self._channel.send({"ready": True})
        log.debug("ready, as %s", self._worker.id)
        self._show_title()
        self._tell()

    def farewell(self) -> None:
        """Tell what was done since the last beat, before the worker leaves."""
        self._tell()
        tell_left_out(at_once=True)

    def _stop(self) -> None:
        # It may be asked for by the master's SIGINT, the kernel's when the master dies, the
        # monitor thread's, and the channel's end; the worker would take a second asking for impatience.
        if self._is_stopping:
            return
        self._is_stopping = True
        self._stage = "stopping, "
        self._monitor_thread.arm()
        self._channel.send({"stopping": True})
        self._worker.stop()

    def _beat(self) -> None:
        while True:
            self._show_title()
            self._tell()
            tell_left_out()
            gevent.sleep(BEAT)

    def _pulse(self) -> None:
        while True:
            self._monitor_thread.beat()
            gevent.sleep(PULSE)

    def _tell(self) -> None:
        # What is taken from the counters must not be dropped, so it waits until there is room.
        if self._channel.has_room:
            self._channel.send({"beat": self._process_stats.read()})
            self._channel.send({"tally": self._process_stats.take()})

    def _show_title(self) -> None:
        figures = f"{self._worker.running} running"
        setproctitle(f"pytask-supervisor: worker {self._slot} ({self._stage}{figures})")

    def _listen(self) -> None:
        while not self._channel.at_end:
            if not self._channel.is_behind:
                wait_read(self._channel.fileno())
            for message in self._channel.receive():
                self._obey(message)
        if not self._is_stopping:
            log.warning("the supervisor is gone: tasks go back to the queue")
        self._stop()

    def _obey(self, message: Message) -> None:
        if "hand_back" in message:
            culprit = message.get("culprit")
            self._hand_back(message["hand_back"], Hang(culprit, message["why"]) if culprit else None)
        elif "quiet" in message:
            self._worker.quiet(message["quiet"])
        elif "drain" in message:
            self._stage = "draining, "
            self._worker.drain(message["drain"], self._stop)
        elif "dump" in message:
            self._monitor_thread.dumped()
            for text in TasksInside(self._worker).stacks(None):
                log.warning("%s", text)
        elif "count_queues" in message:
            self._worker.count_queues(self._tell_queues)
        elif "carry_on" in message:
            self._worker.allowance.extend()
        elif "requeue" in message:
            self._stop()
            self._worker.stop(at_once=True)

    def _tell_queues(self, lengths: dict[str, int]) -> None:
        self._channel.send({"queues": lengths})

    def _hand_back(self, dead: str, hang: Hang | None) -> None:
        # The master asks again where an answer takes long, as while Redis is away.
        if dead in self._handing_back:
            return
        self._handing_back.add(dead)

        def confirm(count: int) -> None:
            self._handing_back.discard(dead)
            self._channel.send({"handed_back": dead, "count": count})

        self._worker.hand_back(dead, confirm, hang)
