"""How many CPUs this process may use: affinity and the cgroup's quota, v1 and v2.

``os.cpu_count()`` tells the machine's; in a container that is granted two of 64, sixty-four
workers would only take turns.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def granted_cpus(root: Path = Path("/")) -> int:
    """Whole CPUs we may use, at least one; ``root`` is where ``proc`` and ``sys`` are found.

    A quota of 1.5 counts as one: two workers at full load would be throttled.
    """
    cpus = float(_affinity())
    for quota in _quotas(root):
        cpus = min(cpus, quota)
    return max(1, int(cpus))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> list[float]:
    """Every quota that stands above us: each level of the hierarchy may narrow it."""
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, read_quota = root / "sys/fs/cgroup", _quota_v2
        elif "cpu" in controllers.split(","):
            base, read_quota = root / "sys/fs/cgroup/cpu", _quota_v1
        else:
            continue
        for folder in _upwards(base, path):
            quota = read_quota(folder)
            if quota is not None:
                quotas.append(quota)
    return quotas


def _upwards(base: Path, path: str) -> list[Path]:
    # Inside a container the path may be the host's, which is not there; the base always is.
    inner = PurePosixPath(path.lstrip("/"))
    return [base / part for part in (inner, *inner.parents)]


def _quota_v2(folder: Path) -> float | None:
    """``cpu.max`` holds ``quota period`` in microseconds, or ``max period``."""
    words = _read(folder / "cpu.max").split()
    return _ratio(words[0], words[1]) if len(words) == 2 else None  # noqa: PLR2004


def _quota_v1(folder: Path) -> float | None:
    """The same in two files; -1 is no quota."""
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        value = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
