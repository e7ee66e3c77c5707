"""Finds the folders of our cgroup and of those above it, v1 and v2, and reads their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def levels(controller: str, root: Path = Path("/")) -> Iterator[tuple[int, Path]]:
    """The version and the folder of our cgroup, then of each above it; ``root`` is where ``proc`` and ``sys`` are."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        version, base = (1, root / "sys/fs/cgroup" / controller) if controllers else (2, root / "sys/fs/cgroup")
        # Inside a container the path may be the host's, which is not there; the base always is.
        inner = PurePosixPath(path.lstrip("/"))
        for part in (inner, *inner.parents):
            yield version, base / part


def read(path: Path) -> str:
    """The text of a file; empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
