"""``Assignment``: what a child is told at its fork, and the sockets on which it talks to the master."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.shared.channel import OF_LOOP, OF_THREAD, Channel
from pytask_supervisor.shared.exits import Exit
from pytask_supervisor.shared.logs import write_line
from pytask_supervisor.shared.redact import redact


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


def be_the_child(life: Callable[[], int]) -> NoReturn:
    """Nothing of the parent's stack may run again in the child, whatever happens."""
    code: int = Exit.BUG
    try:
        code = life()
    except BaseException:  # noqa: BLE001 - the last place where it can be told
        write_line(redact(traceback.format_exc()))
    finally:
        os._exit(code)
