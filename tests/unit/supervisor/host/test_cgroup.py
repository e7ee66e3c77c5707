"""What the kernel grants and counts: CPUs, limits, kills of a full cgroup; from files of the test's own."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pytask_supervisor.host.cpus import granted_cpus
from pytask_supervisor.host.limits import explain_shortage
from pytask_supervisor.host.oom import FRESH, OomCounter


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
V2 = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, AFFINITY),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, AFFINITY),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/a/b\n", f"{V2}/a/cpu.max": "150000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/host/only\n", f"{V2}/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "9900000 100000\n"}, AFFINITY),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "what 0\n"}, AFFINITY),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n0::/\n",
                f"{V2}/cpu/cpu.cfs_quota_us": "100000\n",
                f"{V2}/cpu/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                f"{V2}/cpu/cpu.cfs_quota_us": "-1\n",
                f"{V2}/cpu/cpu.cfs_period_us": "100000\n",
            },
            AFFINITY,
        ),
    ],
)
@pytest.mark.skipif(not AFFINITY, reason="affinity and cgroups are Linux")
def test_cpus_are_what_affinity_and_cgroup_grant(tmp_path: Path, files: dict[str, str], cpus: int) -> None:
    assert granted_cpus(machine(tmp_path, files)) == cpus


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EAGAIN, ["RLIMIT_NPROC", "pids.max is 77"]),
        (errno.EMFILE, ["RLIMIT_NOFILE (ulimit -n) is "]),
        (errno.ENFILE, ["fs.file-max"]),
        (errno.ENOMEM, ["memory.max"]),
        (errno.EPERM, ["Operation not permitted"]),
    ],
)
def test_a_fork_that_fails_tells_which_limit(tmp_path: Path, number: int, words: list[str]) -> None:
    root = machine(tmp_path, {"proc/self/cgroup": "0::/a/b\n", f"{V2}/a/pids.max": "77\n", f"{V2}/pids.max": "max\n"})
    text = explain_shortage(OSError(number, os.strerror(number)), root)
    assert all(word in text for word in words)


def counter_files(version: int, kills: int) -> dict[str, str]:
    if version == 2:
        return {"proc/self/cgroup": "0::/x\n", f"{V2}/x/memory.events": f"oom 9\noom_kill {kills}\noom_group_kill 0\n"}
    name = f"{V2}/memory/x/memory.oom_control"
    return {"proc/self/cgroup": "9:cpu:/\n4:memory:/x\n0::/\n", name: f"under_oom 0\noom_kill {kills}\n"}


@pytest.mark.parametrize("version", [1, 2])
def test_each_kill_that_the_cgroup_counts_is_taken_once(tmp_path: Path, version: int) -> None:
    counter = OomCounter(machine(tmp_path, counter_files(version, 3)))
    assert not counter.take_one()
    machine(tmp_path, counter_files(version, 5))
    assert [counter.take_one() for _ in range(3)] == [True, True, False]


def test_a_kill_that_took_no_worker_is_forgotten_and_a_fresh_one_is_not(tmp_path: Path) -> None:
    now = 100.0
    counter = OomCounter(machine(tmp_path, counter_files(2, 0)), lambda: now)
    machine(tmp_path, counter_files(2, 2))
    for _ in range(3):  # A worker may die of it a while after it was counted.
        now += FRESH / 2
        counter.forget_old()
    assert counter.take_one()
    for _ in range(3):
        now += FRESH / 2
        counter.forget_old()
    assert not counter.take_one()
    machine(tmp_path, counter_files(2, 3))
    assert [counter.take_one(), counter.take_one()] == [True, False]


def test_without_a_cgroup_nothing_is_counted(tmp_path: Path) -> None:
    assert not OomCounter(tmp_path).take_one()
