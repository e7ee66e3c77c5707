"""``DeathLog``: why each worker ended, in words; the last ones are kept, and each kind is counted."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum

#: Deaths that are remembered. More answers questions about longer ago, and costs some 300 bytes each.
MOST_DEATHS = 200


class Kind(StrEnum):
    """What a death was, for counting: its words are for people."""

    ASKED = "asked"  #: Told to leave: a stop, a scaling down, a signal of another process.
    RELOADED = "reloaded"  #: Replaced by one with new code or configuration.
    RECYCLED = "recycled"  #: Replaced for its memory, its tasks, or its age.
    EXIT = "exit"  #: Ended by itself, with an exit code.
    SIGNAL = "signal"  #: By a signal that was not ours.
    OOM = "oom"  #: By the kernel, since the cgroup's memory was used up.
    HANG = "hang"  #: By us, since it gave no sign of life.
    TIMEOUT = "timeout"  #: By us, since it did not leave in time.
    BREACH = "breach"  #: By us, since what it said on its line to us was no message of a worker's.


@dataclass(frozen=True)
class Cause:
    """Why a worker ends: ``words`` go after its name, such as "was recycled: 120 s old"."""

    kind: Kind
    words: str


@dataclass(frozen=True)
class Death:
    """One entry."""

    slot: int
    pid: int
    when: float  #: Unix seconds.
    uptime: float  #: Seconds since its fork.
    kind: Kind
    cause: str  #: In words, to be read after "worker 2 (pid 17)".
    running: int  #: Tasks in its hands when it was last heard.

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid}) {self.cause}"


class DeathLog:
    """The last ``most`` deaths, oldest first, and how many of each kind there ever were."""

    def __init__(self, most: int = MOST_DEATHS) -> None:
        self._deaths: deque[Death] = deque(maxlen=most)
        self.counts: Counter[Kind] = Counter()

    def add(self, death: Death) -> None:
        """Remember one; the oldest is forgotten where there are too many."""
        self._deaths.append(death)
        self.counts[death.kind] += 1

    @property
    def deaths(self) -> tuple[Death, ...]:
        """Those that are remembered, oldest first."""
        return tuple(self._deaths)
