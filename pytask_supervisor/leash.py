"""``Leash``: a native thread in each child that sees the master die, and ends a child that hangs.

The child's own loop may be blocked by a task that computes, so it can neither notice nor act; a
native thread can. It needs the interpreter's lock now and then: native code that keeps that lock
for ever is out of its reach (the living master's SIGKILL is not).

Made before gevent patches anything; every call in the thread is one that gevent leaves alone.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import sys
import threading
from datetime import datetime

from pytask_supervisor.exits import Exit
from pytask_supervisor.logs import write_line

PR_SET_PDEATHSIG = 1


class Leash:
    """``arm`` once a stop is asked for; the master's death arms it too, and asks for the stop."""

    def __init__(self, channel_fd: int, patience: float, who: str) -> None:
        self._patience = patience
        self._who = who
        self._main = threading.get_ident()
        self._armed, self._arm = os.pipe()
        self._events = select.poll()
        # No event is asked for, so data leaves us asleep; a hang-up is told in any case.
        self._events.register(channel_fd, 0)
        self._events.register(self._armed, select.POLLIN)
        self._nothing = select.poll()

    def start(self) -> None:
        """Call it while signals are blocked, so that they are never delivered to this thread."""
        _thread.start_new_thread(self._watch, ())

    def arm(self) -> None:
        """From now on the process has its patience left to live."""
        os.write(self._arm, b"!")

    def _watch(self) -> None:
        for fd, _event in self._events.poll():
            if fd != self._armed:
                os.kill(os.getpid(), signal.SIGINT)
        self._nothing.poll(self._patience * 1000)
        self._end()

    def _end(self) -> None:
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        frame = sys._current_frames().get(self._main)
        where = f", at {frame.f_code.co_filename}:{frame.f_lineno}" if frame else ""
        write_line(f"{now} ERROR [{self._who}] it did not stop in time{where}; it ends itself\n")
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(Exit.KILLED)


def die_with(master_pid: int) -> None:
    """Have the kernel send SIGINT when the master dies; where it cannot, the leash sees it."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - in children only, so that the master stays small

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != master_pid:
        # It died before we asked to be told.
        os.kill(os.getpid(), signal.SIGINT)
