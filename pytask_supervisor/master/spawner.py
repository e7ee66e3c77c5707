"""``Spawner``: forks one worker. Comes from ``WorkerPool``; the worker goes to ``child.main.run_child``."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from pytask_supervisor.child.assignment import Assignment, Closable, Line, be_the_child
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_handle import WorkerHandle
from pytask_supervisor.shared.signals import SignalInbox

#: Random bytes by which a worker's id differs from all others.
MARK = 4


class Spawner:
    """``fork``, ``kill`` and ``clock`` are arguments so that tests can do without processes."""

    def __init__(
        self,
        state: MasterState,
        run_child: Callable[[Assignment], int],
        inbox: SignalInbox,
        *,
        fork: Callable[[], int] = os.fork,
        kill: Callable[[int, int], None] = os.kill,
        clock: Callable[[], float] = time.monotonic,
        fork_loaded: Callable[[Assignment], int] | None = None,
    ) -> None:
        self._state = state
        self._run_child = run_child
        self._inbox = inbox
        self._fork = fork
        #: With ``--preload``: fork another process than ourselves, which has the app loaded.
        self._fork_loaded = fork_loaded
        self._kill = kill
        self._clock = clock

    def spawn(self, slot: int, foreign: Iterable[Closable]) -> WorkerHandle:
        """Fork; ``foreign`` is what the new worker must not keep. Raises ``OSError`` if it cannot."""
        state, config = self._state, self._state.tried
        ours, theirs = Line.both_ends()
        mark = secrets.token_hex(MARK)
        try:
            with self._inbox.blocked():
                drop: tuple[Closable, ...] = (ours, self._inbox, *foreign)
                line = (theirs.channel, theirs.wire)
                job = Assignment(slot, config, state.redis_url(config), *line, os.getpid(), drop, state.is_quiet, mark)
                pid = self._fork() if self._fork_loaded is None else self._fork_loaded(job)
                if pid == 0:
                    be_the_child(lambda: self._run_child(job))
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        # The worker does the same: whichever is first, the group stands before it is signalled.
        with suppress(OSError):
            os.setpgid(pid, pid)
        return WorkerHandle(
            pid,
            slot,
            ours.channel,
            ours.wire,
            mark=f"-{mark}",
            graceful_timeout=config.graceful_timeout,
            drain_timeout=config.drain_timeout,
            clock=self._clock,
            kill=self._kill,
        )
