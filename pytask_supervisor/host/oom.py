"""``OomCounter``: whether the kernel killed a process of our cgroup to free memory, v1 and v2."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pytask_supervisor.host.cgroup import levels, read

#: By version of cgroups.
COUNTERS = {1: "memory.oom_control", 2: "memory.events"}

#: Seconds after which, or after twice of which at most, a kill explains no death that we see. Shorter: a worker that
#: takes long to die of it, with much memory to free, is reported as killed by a stranger. Longer: a stranger's kill is
#: reported as the kernel's.
FRESH = 5.0


class OomCounter:
    """Reads ``oom_kill`` of the cgroup that we are in; ``root`` is where ``proc`` and ``sys`` are found."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._file = _find(root)
        self._clock = clock
        #: Kills that were taken, or are forgotten.
        self._known = self._seen = self._read()
        self._look_at = clock() + FRESH

    def take_one(self) -> bool:
        """Whether there was a kill that no death has taken yet: each takes one."""
        if self._read() <= self._known:
            return False
        self._known += 1
        return True

    def forget_old(self) -> None:
        """What took no worker, but a program of a task or a neighbour in the cgroup, explains no later death."""
        if self._clock() >= self._look_at:
            self._known = max(self._known, self._seen)
            self._seen = self._read()
            self._look_at = self._clock() + FRESH

    def _read(self) -> int:
        text = read(self._file) if self._file else ""
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def _find(root: Path) -> Path | None:
    """The file with the counter: that of our own cgroup, else the one that a container shows as the topmost."""
    files = (folder / COUNTERS[version] for version, folder in levels("memory", root))
    return next((file for file in files if file.is_file()), None)
