"""``Spawner``: forks one worker. Comes from ``Team``; the child goes to ``worker.run_child``."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, Protocol

from pytask_supervisor.channel import Channel
from pytask_supervisor.child import Child
from pytask_supervisor.config import SupervisorConfig
from pytask_supervisor.exits import Exit
from pytask_supervisor.logs import write_line
from pytask_supervisor.redact import redact
from pytask_supervisor.signals import SignalInbox


class Closable(Protocol):
    """Something of the master's that a child has no business with."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class Assignment:
    """What a child is told."""

    slot: int
    config: SupervisorConfig
    redis_url: str | None
    channel: Channel
    master_pid: int
    foreign: tuple[Closable, ...]


class Spawner:
    """``fork``, ``kill`` and ``clock`` are arguments so that tests can do without processes."""

    def __init__(
        self,
        config: SupervisorConfig,
        run_child: Callable[[Assignment], int],
        inbox: SignalInbox,
        *,
        fork: Callable[[], int] = os.fork,
        kill: Callable[[int, int], None] = os.kill,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: Where the children find Redis; the embedded server's address once it is known.
        self.redis_url = config.redis
        self._config = config
        self._run_child = run_child
        self._inbox = inbox
        self._fork = fork
        self._kill = kill
        self._clock = clock

    def spawn(self, slot: int, foreign: Iterable[Closable]) -> Child:
        """Fork; ``foreign`` is what the new child must not keep. Raises ``OSError`` if it cannot."""
        ours, theirs = Channel.pair()
        try:
            with self._inbox.blocked():
                master = os.getpid()
                pid = self._fork()
                if pid == 0:
                    drop: tuple[Closable, ...] = (ours, self._inbox, *foreign)
                    job = Assignment(slot, self._config, self.redis_url, theirs, master, drop)
                    self._be_the_child(job)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        # The child does the same; whoever is first, the group stands before anybody signals it.
        with suppress(OSError):
            os.setpgid(pid, pid)
        return Child(
            pid,
            slot,
            ours,
            graceful_timeout=self._config.graceful_timeout,
            clock=self._clock,
            kill=self._kill,
        )

    def _be_the_child(self, job: Assignment) -> NoReturn:
        """Nothing of the master's stack may run again in the child, whatever happens."""
        code: int = Exit.BUG
        try:
            code = self._run_child(job)
        except BaseException:  # noqa: BLE001 - the last place where it can be told
            write_line(redact(traceback.format_exc()))
        finally:
            os._exit(code)
