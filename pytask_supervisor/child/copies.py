"""``Copies``: what a process that the app forks must not keep of ours.

Such a copy is not a worker: the lines to the master and the pipe by whose holding the embedded server lives are let
go in it, and signals mean there what they mean in any program. For its greenlets and
connections see ``pytask_core/process/forks.py``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from pytask_supervisor.shared.signals import HANDLED

#: Beyond the standard ones. What came with the master from outside is inheritable, and no business of ours.
FIRST, LAST = 3, 1024


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Copies:
    """One for a worker, made before the app is loaded: all descriptors there are by then are ours.

    ``keep``: those of them that a copy may use, such as that by which log lines take turns.
    """

    def __init__(self, keep: Iterable[int | None]) -> None:
        self._ours: dict[int, tuple[int, int] | None] = {}
        self._handlers: dict[int, object] = {}
        self._is_off = False
        kept = set(keep)
        self._add(fd for fd in range(FIRST, LAST) if fd not in kept and _identity(fd) and not os.get_inheritable(fd))
        os.register_at_fork(after_in_child=self._let_go)

    def begin(self, *fds: int) -> None:
        """A worker begins, in which forks are the app's; ``fds`` are ours too, and so are the signal handlers now."""
        self._is_off = False
        self._add(fds)
        self._handlers = {signum: signal.getsignal(signum) for signum in HANDLED if signum != signal.SIGCHLD}

    def _add(self, fds: Iterable[int]) -> None:
        self._ours.update({fd: _identity(fd) for fd in fds})

    @contextmanager
    def our_own(self) -> Iterator[None]:
        """A fork in here is ours, and keeps all."""
        self._is_off = True
        try:
            yield
        finally:
            self._is_off = False

    def _let_go(self) -> None:
        if self._is_off:
            return
        self._is_off = True
        null = os.open(os.devnull, os.O_RDWR)
        for fd, identity in self._ours.items():
            # The number may be another's by now. It stays taken, since an object that closes it is still there.
            if identity is not None and _identity(fd) == identity:
                os.dup2(null, fd, inheritable=False)
        os.close(null)
        self._give_back_signals()

    def _give_back_signals(self) -> None:
        with suppress(ValueError):  # Forked by a thread that Python does not take for the main one.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for signum, ours in self._handlers.items():
                if signum not in {signal.SIGINT, signal.SIGTERM} and signal.getsignal(signum) is ours:
                    signal.signal(signum, signal.SIG_DFL)
