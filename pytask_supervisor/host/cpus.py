"""How many CPUs this process may use: affinity and the cgroup's quota, v1 and v2.

``os.cpu_count()`` tells the machine's; in a container that is granted two of 64, sixty-four
workers would only take turns.
"""

from __future__ import annotations

import os
from pathlib import Path

from pytask_supervisor.host.cgroup import levels, read


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
    read_quota = {1: _quota_v1, 2: _quota_v2}
    quotas = [read_quota[version](folder) for version, folder in levels("cpu", root)]
    return [quota for quota in quotas if quota is not None]


def _quota_v2(folder: Path) -> float | None:
    """``cpu.max`` holds ``quota period`` in microseconds, or ``max period``."""
    words = read(folder / "cpu.max").split()
    return _ratio(words[0], words[1]) if len(words) == 2 else None  # noqa: PLR2004


def _quota_v1(folder: Path) -> float | None:
    """The same in two files; -1 is no quota."""
    return _ratio(read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        value = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None
