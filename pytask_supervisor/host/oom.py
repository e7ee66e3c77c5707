"""``OomCounter``: whether the kernel killed a process of our cgroup to free memory, v1 and v2."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

#: Seconds after which, or after twice of which at most, a kill is nobody's whose death we see. Shorter: a worker that
#: takes long to die of it, with much memory to free, is told as killed by a stranger. Longer: a stranger's kill is
#: told as the kernel's.
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
        """Whether there was a kill that nobody has taken yet: one death takes one."""
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
        try:
            text = self._file.read_text() if self._file else ""
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def _find(root: Path) -> Path | None:
    """The file with the counter: that of our own cgroup, else the one that a container shows as the topmost."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.events"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.oom_control"
        else:
            continue
        # Inside a container the path may be the host's, which is not there; the base always is.
        inner = PurePosixPath(path.lstrip("/"))
        for part in (inner, *inner.parents):
            if (base / part / name).is_file():
                return base / part / name
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
