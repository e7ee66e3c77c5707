"""``LineWriter``: writes whole lines to a descriptor that processes share, and never waits for it.

Log lines and what tasks print (``forgiving_stream``) go through it. If the reader is gone or does not read, or the
disk is full, lines are lost and counted, and nothing else happens.
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from select import POLLOUT, poll  # by name: gevent exchanges them later, and a log line must not switch greenlets
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Bytes that a pipe takes whole or not at all, on every system (Linux says PIPE_BUF, 4096).
PIECE = 4096
#: Seconds that a line waits for a reader that does not read. Longer: a burst loses less. Shorter: tasks are held up
#: less. After that no line waits until there is room again.
PATIENCE = 0.2


class LineWriter:
    """One descriptor. ``turns`` is another one, which all processes share: its lock says whose turn it is."""

    def __init__(self, fd: int, turns: int | None = None) -> None:
        self._fd = fd
        self._turns = turns
        self._piece = _piece(fd)
        self._is_torn = False
        self._is_stalled = False
        #: Lines that could not be written, all in all.
        self.dropped = 0
        #: How many of these the log has reported.
        self.told = 0
        #: Why the last of them could not be written.
        self.reason = ""

    def write(self, line: bytes) -> bool:
        """Write a line whole; False if it is dropped."""
        # A full disk may have taken a part of an earlier line, and this line must not be joined to it.
        data = b"\n" + line if self._is_torn else line
        rest = memoryview(data)
        with self._our_turn():
            try:
                while rest:
                    self._await_room()
                    rest = rest[os.write(self._fd, rest[: self._piece]) :]
            except OSError as error:
                self._is_torn = self._is_torn or len(rest) < len(data)
                self.dropped += 1
                self.reason = error.strerror or str(error)
                return False
        self._is_torn = False
        return True

    def _await_room(self) -> None:
        """A pipe that is ready takes a whole piece, so no write of ours ever sleeps."""
        room = poll()
        room.register(self._fd, POLLOUT)
        if not room.poll(0 if self._is_stalled else PATIENCE * 1000):
            self._is_stalled = True
            raise BlockingIOError(0, "the reader does not read them")
        self._is_stalled = False

    @contextmanager
    def _our_turn(self) -> Iterator[None]:
        """Hold the lock, or go on without it: a process may have been stopped (SIGSTOP) while it held the lock."""
        held = self._turns is not None and _lock(self._turns)
        try:
            yield
        finally:
            if held and self._turns is not None:
                fcntl.lockf(self._turns, fcntl.LOCK_UN)


def _lock(fd: int) -> bool:
    for _ in range(int(PATIENCE * 1000)):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            poll().poll(1)
        except OSError:
            return False
        else:
            return True
    return False


def _piece(fd: int) -> int | None:
    """A file takes a line of any length in one write, and only in one write does it surely stay in one piece."""
    try:
        return None if stat.S_ISREG(os.fstat(fd).st_mode) else PIECE
    except OSError:
        return PIECE


def make_turns() -> int | None:
    """A descriptor whose lock says whose turn it is; a fork does not copy it. None if the system lacks such files."""
    try:
        return os.memfd_create("pytask-log")
    except (AttributeError, OSError):
        return None


class _Forgiving(io.RawIOBase):
    def __init__(self, fd: int, writer: LineWriter) -> None:
        self._fd = fd
        self._writer = writer

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: ReadableBuffer) -> int:
        line = bytes(data)
        self._writer.write(line)
        return len(line)


def forgiving_stream(fd: int, writer: LineWriter) -> TextIO:
    """For ``sys.stdout``: it writes line by line, and a ``print`` does not raise when the reader is gone."""
    raw = io.BufferedWriter(_Forgiving(fd, writer))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
