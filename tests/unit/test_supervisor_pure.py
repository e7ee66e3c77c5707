"""The supervisor's rooms that need no process: exits, redact, cpus, respawn."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from pytask_supervisor.cpus import granted_cpus
from pytask_supervisor.exits import Exit, explain
from pytask_supervisor.redact import redact
from pytask_supervisor.respawn import DEATHS_TO_GIVE_UP, LONGEST_PAUSE, RespawnPolicy


def test_exit_codes_are_those_of_the_documentation() -> None:
    assert [(code.name, int(code)) for code in Exit] == [
        ("OK", 0),
        ("BUG", 1),
        ("USAGE", 2),
        ("LOAD", 3),
        ("REFUSED", 4),
        ("CRASH_LOOP", 5),
        ("KILLED", 6),
    ]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (0, "left by itself (exit code 0)"),
        (1 << 8, "ended with an unexpected error (exit code 1)"),
        (3 << 8, "could not load the app (exit code 3)"),
        (77 << 8, "ended with exit code 77"),
        (signal.SIGTERM, "was killed by SIGTERM"),
        (signal.SIGKILL, "was killed by SIGKILL (out of memory, or somebody's kill -9)"),
        (signal.SIGSEGV | 0x80, "was killed by SIGSEGV (native code crashed)"),
        (40, "was killed by signal 40"),
    ],
)
def test_an_end_is_explained_in_words(status: int, sentence: str) -> None:
    assert explain(status) == sentence


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:pw@host:1/0", "redis://:***@host:1/0"),
        ("rediss://me:pw@host", "rediss://me:***@host"),
        ("to redis+cluster://:p@w:d@h:1,h:2 and on", "to redis+cluster://:***@h:1,h:2 and on"),
        ("('redis://u:p@h', 'redis://u:q@i')", "('redis://u:***@h', 'redis://u:***@i')"),
        ("unix:///x.sock?password=pw&db=1", "unix:///x.sock?password=***&db=1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("see http://host:80/a@b", "see http://host:80/a@b"),
        ("mail me: a:b@c", "mail me: a:b@c"),
    ],
)
def test_passwords_in_urls_are_left_out(text: str, shown: str) -> None:
    assert redact(text) == shown


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


def test_after_a_good_run_the_next_worker_starts_at_once() -> None:
    policy = RespawnPolicy()
    assert policy.pause_after(5.0) == 0
    assert [policy.pause_after(0.0) > 0, policy.pause_after(5.0)] == [True, 0]


def test_pauses_after_quick_deaths_grow_to_a_limit() -> None:
    policy = RespawnPolicy(jitter=lambda: 1.0)
    pauses = [policy.pause_after(0.0) for _ in range(30)]
    assert pauses[0] == pytest.approx(0.1)
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[-1] == LONGEST_PAUSE
    # Time for a deployment to end, and not so long that nobody is told.
    assert 15 < sum(pauses[: DEATHS_TO_GIVE_UP - 1]) < 55


def test_jitter_shortens_a_pause_to_half_at_most() -> None:
    low, high = RespawnPolicy(jitter=lambda: 0.0), RespawnPolicy(jitter=lambda: 1.0)
    for _ in range(12):
        assert low.pause_after(0.0) == pytest.approx(high.pause_after(0.0) / 2)


def test_ten_quick_deaths_in_a_row_are_hopeless_and_a_good_run_is_hope() -> None:
    policy = RespawnPolicy()
    for _ in range(9):
        policy.pause_after(0.5)
    assert not policy.is_hopeless
    policy.pause_after(0.5)
    assert policy.is_hopeless
    policy.pause_after(1.0)
    assert not policy.is_hopeless
