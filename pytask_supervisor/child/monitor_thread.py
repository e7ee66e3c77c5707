"""``MonitorThread``: a native thread in each child that watches the loop in which its tasks run.

It tells the master that the process lives, and how long the loop has not; names the task that blocks
the loop; sees the master die; and ends a child that does not stop in time. The loop itself can do
none of that while a task computes.

The thread needs the interpreter's lock now and then: native code that keeps that lock for ever is out
of its reach (the master's SIGKILL is not). It takes no lock. This room is imported before gevent patches
anything, and takes by name what gevent exchanges, so that it is the native one here.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from _thread import get_ident, get_native_id, start_new_thread
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from select import POLLIN, poll
from types import FrameType
from typing import Protocol

from pytask_supervisor.shared.channel import Channel
from pytask_supervisor.shared.exits import LOADS_LONG, WHY_IT_LOADS_LONG, Exit

PR_SET_PDEATHSIG = 1

#: Seconds between two looks. Shorter: what blocks is named sooner. Longer: an idle worker wakes less.
TICK = 0.5
#: Seconds without a sign of the loop after which what blocks it is named.
BLOCKED_AFTER = 1.5
#: Seconds that ``time_left`` leaves to the master: what our patience is longer than its own, and a second.
MARGIN = 2.5
#: Seconds for which the same place is not named again.
NOT_AGAIN = 60.0


#: Where files of Python and of libraries lie.
_STDLIB, _LIBRARIES = os.path.dirname(os.__file__) + os.sep, os.sep + "site-packages" + os.sep


class Inside(Protocol):
    """What is to be known of the tasks; the link to the master has it."""

    def blocking(self, frame: FrameType | None) -> str:
        """Which task blocks the loop, and where: words."""

    def culprit(self, frame: FrameType | None) -> str:
        """The id of that task; empty where it is none."""

    def stacks(self, frame: FrameType | None) -> Iterable[str]:
        """Where all tasks stand."""


class Loader(Protocol):
    """The greenlet that loads the app."""

    @property
    def gr_frame(self) -> FrameType | None:
        """Where it waits; None while it runs."""


class MonitorThread:
    """``arm`` once a stop is asked for; the master's death arms it too, and asks for the stop."""

    def __init__(self, wire: Channel, patience: float, hang_timeout: float, handler: logging.Handler) -> None:
        self._wire = wire
        self._patience = patience
        self._hang_timeout = hang_timeout
        self._handler = handler
        # Made now, since making one asks for the current thread, and gevent will answer that with a greenlet.
        self._record = logging.LogRecord("pytask.supervisor", logging.WARNING, __file__, 0, "", None, None)
        self._main = get_ident()
        self._waker, self._wake = os.pipe()
        os.set_blocking(self._waker, False)
        self._events = poll()
        self._events.register(wire.fileno(), POLLIN)
        self._events.register(self._waker, POLLIN)
        self._pause = poll()
        self._inside: Inside | None = None
        self._loader: Loader | None = None
        self._armed_at: float | None = None
        self._asked_to_stop = False
        self._beat_at = self._ticked_at = time.monotonic()
        self._dump_asked_at: float | None = None
        self._said: dict[str, float] = {}
        self._is_blocked = False
        self._is_hung = False

    # For the loop.

    def start(self) -> None:
        """Call it while signals are blocked, so that they are never delivered to this thread."""
        start_new_thread(self._run, ())

    def arm(self) -> None:
        """From now on the process has its patience left to live."""
        self._armed_at = self._armed_at or time.monotonic()
        os.write(self._wake, b"!")

    def loads(self, loader: Loader) -> None:
        """From now on the app is being loaded."""
        self._loader = loader

    @property
    def time_left(self) -> float:
        """Seconds until the master loses its patience, less a margin; without end if no stop was asked for."""
        if self._armed_at is None:
            return float("inf")
        return self._armed_at + self._patience - MARGIN - time.monotonic()

    def attend(self, inside: Inside) -> None:
        """From now on the loop beats."""
        self._beat_at = time.monotonic()
        self._inside = inside

    def beat(self) -> None:
        """The loop runs."""
        self._beat_at = time.monotonic()

    def dumped(self) -> None:
        """The loop has told by itself where the tasks stand."""
        self._dump_asked_at = None

    # In the thread.

    def _run(self) -> None:
        self._wire.send({"thread": get_native_id()})
        while True:
            self._events.poll(TICK * 1000)
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - told; without this thread the master could not see the loop block
                self._tell_failure(error)
            if self._wire.at_end:
                self._pause.poll(TICK * 1000)  # A closed wire would wake us again and again.

    def _tell_failure(self, error: Exception) -> None:
        words = f"the thread beside the loop has failed and goes on: {error!r:.500}"
        if time.monotonic() >= self._said.get("failure", float("-inf")) + NOT_AGAIN:
            self._said["failure"] = time.monotonic()
            self._log(logging.ERROR, words)

    def _look(self) -> None:
        self._empty_waker()
        now = time.monotonic()
        self._listen(now)
        if self._armed_at is not None and now >= self._armed_at + self._patience:
            self._end()
        self._judge(now)
        self._wire.send({"pulse": round(now - self._beat_at, 3) if self._inside else 0.0})

    def _empty_waker(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._waker, 64)

    def _listen(self, now: float) -> None:
        for message in self._wire.receive():
            if "dump" in message:
                self._dump_asked_at = now
        if self._wire.at_end and not self._asked_to_stop:
            self._asked_to_stop = True
            self._armed_at = self._armed_at or now
            os.kill(os.getpid(), signal.SIGINT)

    def _judge(self, now: float) -> None:
        """Name what blocks the loop, and tell the master when that is too much."""
        if now - self._ticked_at > 3 * TICK:
            # We did not run ourselves, so that says nothing of the loop.
            self._beat_at = max(self._beat_at, now - TICK)
        self._ticked_at = now
        inside, age = self._inside, now - self._beat_at
        if inside is None:
            self._tell_of_loading(age, now)
            return
        if age < BLOCKED_AFTER:
            self._is_blocked = self._is_hung = False
            return
        frame = sys._current_frames().get(self._main)
        if not self._is_blocked:
            self._is_blocked = True
            self._name(inside, frame, age, now)
        if self._dump_asked_at is not None:
            self._dump(inside, frame)
        if self._hang_timeout and age >= self._hang_timeout and not self._is_hung:
            self._is_hung = True
            words = inside.blocking(frame)
            self._dump(inside, frame)
            self._wire.send({"hung": words, "seconds": round(age, 1), "culprit": inside.culprit(frame)})

    def _tell_of_loading(self, age: float, now: float) -> None:
        loader = self._loader
        if loader is None or age < min(LOADS_LONG, self._hang_timeout or LOADS_LONG):
            return
        # Whatever the place: one that is only slow is somewhere else each time.
        if self._is_news("loading", now):
            place = _place(loader.gr_frame or sys._current_frames().get(self._main))
            self._log(logging.WARNING, f"the app is still being loaded after {age:.0f} s{place}; {WHY_IT_LOADS_LONG}")

    def _name(self, inside: Inside, frame: FrameType | None, age: float, now: float) -> None:
        words = inside.blocking(frame)
        if self._is_news(words, now):
            self._log(logging.WARNING, f"{words}: for {age:.1f} s no other task of this worker has run")
        # The master is told each time: should we fall silent, it knows who it was.
        self._wire.send({"blocked": words, "culprit": inside.culprit(frame)})

    def _is_news(self, words: str, now: float) -> bool:
        if now < self._said.get(words, float("-inf")) + NOT_AGAIN:
            return False
        if len(self._said) > 100:  # noqa: PLR2004 - so many places, and it is better to forget them
            self._said.clear()
        self._said[words] = now
        return True

    def _dump(self, inside: Inside, frame: FrameType | None) -> None:
        self._dump_asked_at = None
        # The loop is not to go on, and its greenlets are not to change, while we read their stacks.
        before = sys.getswitchinterval()
        sys.setswitchinterval(1.0)
        try:
            texts = inside.stacks(frame)
        finally:
            sys.setswitchinterval(before)
        # Lines of code are read from files only now. Each reading gives up the interpreter's lock, which a task that
        # computes would have kept for that second each time, and the master would have taken us for dead.
        for text in texts:
            self._log(logging.WARNING, text)

    def _end(self) -> None:
        frame = sys._current_frames().get(self._main)
        where = f", at {frame.f_code.co_filename}:{frame.f_lineno}" if frame else ""
        self._log(logging.ERROR, f"it did not stop in time{where}; it ends itself")
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(Exit.KILLED)

    def _log(self, level: int, text: str) -> None:
        """Straight to the handler: a logger takes locks, which the blocked loop may hold."""
        record, now = copy(self._record), time.time()
        record.msg, record.levelno, record.levelname = text, level, logging.getLevelName(level)
        record.created, record.msecs = now, now % 1 * 1000
        self._handler.emit(record)


def _place(frame: FrameType | None) -> str:
    """The innermost line that is of no library, as the rest of a sentence."""
    innermost = frame
    while frame is not None and (frame.f_code.co_filename.startswith(("<", _STDLIB)) or _LIBRARIES in _file(frame)):
        frame = frame.f_back
    found = frame or innermost
    return f", at {_file(found)}:{found.f_lineno} in {found.f_code.co_name}" if found else ""


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename


def die_with(master_pid: int, signum: int = signal.SIGINT) -> None:
    """Have the kernel send ``signum`` when the master dies; where it cannot, the monitor thread sees it."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - in children only, so that the master stays small

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)
    if os.getppid() != master_pid:
        # It died before we asked to be told.
        os.kill(os.getpid(), signum)
