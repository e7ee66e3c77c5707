"""``Spawner``: forks one worker. Comes from ``Team``; the child goes to ``worker.run_child``."""

from __future__ import annotations

import os
import secrets
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from pytask_supervisor.channel import OF_LOOP, OF_THREAD, Channel
from pytask_supervisor.child import Child
from pytask_supervisor.config import SupervisorConfig
from pytask_supervisor.exits import Exit
from pytask_supervisor.logs import write_line
from pytask_supervisor.redact import redact
from pytask_supervisor.signals import SignalInbox

#: Random bytes by which a worker's id differs from all others.
MARK = 4


class Closable(Protocol):
    """Something of the master's that a child has no business with."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class Line:
    """One end of what master and child talk by: to the loop, and to the native thread."""

    channel: Channel
    wire: Channel

    @classmethod
    def both_ends(cls) -> tuple[Line, Line]:
        """Ours and theirs. Raises ``OSError`` where there are no descriptors left."""
        channel = Channel.pair(OF_LOOP)
        try:
            wire = Channel.pair(OF_THREAD)
        except OSError:
            for end in channel:
                end.close()
            raise
        return cls(channel[0], wire[0]), cls(channel[1], wire[1])

    def close(self) -> None:
        """Let go of this end."""
        self.channel.close()
        self.wire.close()


@dataclass(frozen=True)
class Assignment:
    """What a child is told."""

    slot: int
    config: SupervisorConfig
    redis_url: str | None
    channel: Channel
    wire: Channel
    master_pid: int
    foreign: tuple[Closable, ...]
    is_quiet: bool = False
    #: With what its id in Redis is to end, so that it can be known by it.
    mark: str = ""
    #: The app, where it is loaded already, and what processes that it forks must not keep.
    app: Any = None
    copies: Any = None


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
        fork_loaded: Callable[[Assignment], int] | None = None,
    ) -> None:
        #: The embedded server's address, once it is known.
        self.embedded_url: str | None = None
        #: What the next child is told.
        self.config = config
        #: Whether the next child is to claim nothing for now.
        self.is_quiet = False
        self._run_child = run_child
        self._inbox = inbox
        self._fork = fork
        #: With ``--preload``: fork another process than ourselves, which has the app loaded.
        self._fork_loaded = fork_loaded
        self._kill = kill
        self._clock = clock

    @property
    def redis_url(self) -> str | None:
        """Where the children find Redis."""
        return self.embedded_url or self.config.redis

    def spawn(self, slot: int, foreign: Iterable[Closable]) -> Child:
        """Fork; ``foreign`` is what the new child must not keep. Raises ``OSError`` if it cannot."""
        ours, theirs = Line.both_ends()
        mark = secrets.token_hex(MARK)
        try:
            with self._inbox.blocked():
                drop: tuple[Closable, ...] = (ours, self._inbox, *foreign)
                line = (theirs.channel, theirs.wire)
                job = Assignment(slot, self.config, self.redis_url, *line, os.getpid(), drop, self.is_quiet, mark)
                pid = self._fork() if self._fork_loaded is None else self._fork_loaded(job)
                if pid == 0:
                    be_the_child(lambda: self._run_child(job))
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
            ours.channel,
            ours.wire,
            mark=f"-{mark}",
            graceful_timeout=self.config.graceful_timeout,
            drain_timeout=self.config.drain_timeout,
            clock=self._clock,
            kill=self._kill,
        )


def be_the_child(life: Callable[[], int]) -> NoReturn:
    """Nothing of the parent's stack may run again in the child, whatever happens."""
    code: int = Exit.BUG
    try:
        code = life()
    except BaseException:  # noqa: BLE001 - the last place where it can be told
        write_line(redact(traceback.format_exc()))
    finally:
        os._exit(code)
