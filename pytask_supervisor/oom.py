"""``OomCounter``: whether the kernel killed somebody in our cgroup for want of memory, v1 and v2."""

from __future__ import annotations

from pathlib import Path, PurePosixPath


class OomCounter:
    """Reads ``oom_kill`` of the cgroup that we are in; ``root`` is where ``proc`` and ``sys`` are found."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._file = _find(root)
        self._known = self._read()

    def take_one(self) -> bool:
        """Whether there was a kill that nobody has taken yet: one death takes one."""
        if self._read() <= self._known:
            return False
        self._known += 1
        return True

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
