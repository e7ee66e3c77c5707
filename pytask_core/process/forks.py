"""``forks``: keeps a process that a task or the program forks from acting as a second worker.

It lets go of our connections, so that none is shared, and whoever has more that a copy must not have is told: a worker,
whose greenlets are left behind (``alone.py``), and ``signals``.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from _thread import get_ident
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn
from weakref import WeakSet


class Forks:
    """One for the process, since Python knows forks of the process only."""

    def __init__(self) -> None:
        self._pools: WeakSet[Any] = WeakSet()
        self._farewells: list[Callable[[], object]] = []
        #: What threads that are about to fork have blocked of signals before, by thread.
        self._blocked: dict[int, set[int]] = {}
        os.register_at_fork(before=self._block, after_in_parent=self._unblock, after_in_child=self._in_copy)

    def hold(self, pool: Any) -> None:
        """Have a copy let go of the connections of a pool; it opens its own if it needs any."""
        self._pools.add(pool)

    @contextmanager
    def life(self, farewell: Callable[[], object]) -> Iterator[None]:
        """For a while, something is ours that a copy must not have.

        Args:
            farewell: called in a copy.
        """
        self._farewells.append(farewell)
        try:
            yield
        finally:
            if farewell in self._farewells:
                self._farewells.remove(farewell)

    def _block(self) -> None:
        """Have signals wait until a copy is one: else an exception of theirs would leave it half a worker."""
        if self._farewells:
            self._blocked[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    def _unblock(self) -> None:
        blocked = self._blocked.pop(get_ident(), None)
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _in_copy(self) -> None:
        self._become_copy()
        try:
            self._unblock()
        except BaseException as error:  # noqa: BLE001 - such as Ctrl-C; Python would print it here, and go on
            end_copy(error)

    def _become_copy(self) -> None:
        if _another_program_follows():
            return  # It gets nothing of ours: every descriptor is closed by then.
        for pool in list(self._pools):
            for connection in pool._connections:
                _let_go(connection)
        farewells, self._farewells = self._farewells, []
        for farewell in farewells:
            farewell()


forks = Forks()


def _another_program_follows() -> bool:
    """Whether it was gevent's ``subprocess`` that forked, and no function of the user's runs before the program."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "_execute_child" and frame.f_globals.get("__name__") == "gevent.subprocess":
            return frame.f_locals.get("preexec_fn") is None
        frame = frame.f_back
    return False


def _let_go(connection: Any) -> None:
    with suppress(AttributeError, OSError):
        replace_descriptor(connection._sock.fileno())


def replace_descriptor(fd: int) -> None:
    """Let go of what is behind a descriptor, but not of its number: an object that closes it would hit another one."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        if fd >= 0 and fd != null:
            os.dup2(null, fd, inheritable=False)
    finally:
        os.close(null)


def end_copy(error: BaseException | None = None) -> NoReturn:
    """End this process, which is a copy, as Python would where ``error`` has reached its outermost frame.

    Nothing of the parent's runs again: no exit of a context, no ``atexit``.
    """
    code: Any = 0
    if isinstance(error, SystemExit):
        code = error.code or 0
        if not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)
