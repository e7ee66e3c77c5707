"""``SignalInbox``: signals are queued and wake the master's loop; all thinking happens there.

A handler does not log, reap or kill: it runs between any two bytecodes, and the program may hold any lock then.
"""

from __future__ import annotations

import os
import select
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Self

#: What the master handles. Each is listed in ``supervisor.Supervisor``'s table.
HANDLED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)

#: Seconds for which messages that are not urgent gather for one turn of the loop. Longer: a master of many workers,
#: each of which sends four times a second, wakes less often. Shorter: a worker that gets ready is noticed sooner.
GATHER = 0.05


class SignalInbox:
    """Use as a context, within which the handlers are installed.

    After it the process is about to end. A signal that comes then is ignored, so that it cannot change the exit code.
    """

    def __init__(self) -> None:
        self._queue: deque[int] = deque()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)

    def __enter__(self) -> Self:
        # The C-level handler writes a byte as soon as the signal comes, so ``wait`` does not sleep through a signal
        # that came after ``drain``.
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for signum in HANDLED:
            signal.signal(signum, self._on_signal)
        return self

    def __exit__(self, *_exc: object) -> None:
        for signum in HANDLED:
            signal.signal(signum, signal.SIG_IGN)
        self.close()

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        self._queue.append(signum)

    def drain(self) -> Iterator[int]:
        """The signals that came since, in order, each removed as it is handed out."""
        while self._queue:
            yield self._queue.popleft()

    def wait(
        self,
        timeout: float | None,
        readable: Sequence[int] = (),
        writable: Sequence[int] = (),
        unhurried: Sequence[int] = (),
    ) -> None:
        """Sleep until a signal, data at a ``readable``, room at a ``writable``, or ``timeout`` seconds.

        Data at an ``unhurried`` one counts too, but not at once.
        """
        if self._queue:
            return
        if unhurried and (timeout is None or timeout > GATHER):
            if self._sleep(GATHER, readable, writable):
                return
            timeout = None if timeout is None else timeout - GATHER
        self._sleep(timeout, (*readable, *unhurried), writable)

    def _sleep(self, timeout: float | None, readable: Sequence[int], writable: Sequence[int]) -> bool:
        """Whether something came before the time was over."""
        poll = select.poll()
        events = dict.fromkeys(writable, select.POLLOUT)
        for fd in (self._read_end, *readable):
            events[fd] = events.get(fd, 0) | select.POLLIN
        for fd, event in events.items():
            poll.register(fd, event)
        milliseconds = None if timeout is None else max(0.0, timeout) * 1000 + 1
        has_come = bool(poll.poll(milliseconds))
        with suppress(BlockingIOError):
            os.read(self._read_end, 4096)
        return has_come

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Hold signals back, so that they do not come between a fork and the child's own handlers.

        The child never leaves this block; it unblocks the signals once it can handle them.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """Close the pipe; in a child, the copy that it inherited."""
        signal.set_wakeup_fd(-1)
        os.close(self._read_end)
        os.close(self._write_end)
