"""The supervisor's rooms that need no process: exits, redact, cpus, respawn."""

from __future__ import annotations

import errno
import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from pytask_supervisor.host.cpus import granted_cpus
from pytask_supervisor.host.limits import explain_shortage
from pytask_supervisor.host.oom import FRESH, OomCounter
from pytask_supervisor.shared.exits import Exit, explain
from pytask_supervisor.shared.redact import redact, shown_url, shown_words
from pytask_supervisor.shared.respawn import (
    DEATHS_TO_GIVE_UP,
    FREE,
    LONG_RUN,
    LONGEST_PAUSE,
    LONGEST_WITHOUT_FORK,
    PROVEN_AFTER,
    RespawnPolicy,
)
from pytask_supervisor.shared.shown import cut


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
        ("redis://me:p/w?d#@host:1/0", "redis://me:***@host:1/0"),
        ("redis://me:p%40w@host:1/0", "redis://me:***@host:1/0"),
        ("rediss://h:1/0?ssl_keyfile=k&ssl_password=p%26w", "rediss://h:1/0?ssl_keyfile=k&ssl_password=***"),
        (
            "redis+sentinel://u:p@h:1,h:2/s?sentinel_password=q",
            "redis+sentinel://u:***@h:1,h:2/s?sentinel_password=***",
        ),
        ("redis+cluster://h:1,h:2?ssl_ca_certs=/a@b", "redis+cluster://h:1,h:2?ssl_ca_certs=/a@b"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("see http://host:80/a@b", "see http://host:80/a@b"),
        ("mail me: a:b@c", "mail me: a:b@c"),
    ],
)
def test_passwords_in_urls_are_left_out(text: str, shown: str) -> None:
    assert redact(text) == shown


#: As a person may type one, though some of it should have been escaped.
PASSWORDS = [
    "S3'CRET",
    'S3"CRET',
    "S3 CRET",
    "1,S3CRET",
    "1/S3CRET",
    "6379/0,S3CRET",
    "S3@CRET",
    "S3#CRET?x=y",
    "S3:CRET",
    "S3://CRET",
    "p ://S3://CRET",
    "1://S3CRET",
]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "form", ["redis://:{}@h:1/0", "rediss+cluster://me:{}@h:1,i:2", "redis+sentinel://h:1/s?sentinel_password={}"]
)
def test_a_password_of_any_shape_is_left_out_of_a_url_and_of_the_text_around_it(form: str, password: str) -> None:
    if "?" in form:
        password = password.partition("#")[0]
    url = form.format(password)
    for shown in (
        shown_url(url),
        redact(url),
        redact(f"no way to {url} at all"),
        " ".join(shown_words(["--redis", url])),
    ):
        assert "S3" not in shown
        assert "CRET" not in shown
        assert "***" in shown
    assert shown_url(url).startswith(form.partition("{")[0])


@pytest.mark.parametrize(
    "text", ["http://:pw@host", "pw@host", ":pw@host:1", "re dis://:pw@h", "pw", "x" * 40 + "://pw@h", "redis:/:pw@h"]
)
def test_what_cannot_be_taken_apart_as_a_url_is_not_shown_at_all(text: str) -> None:
    assert shown_url(text) == "***"
    assert shown_words(["ctl", "--redis", text, f"--redis={text}"]) == ["ctl", "--redis", "***", "--redis=***"]
    assert shown_words(["--redi", text, f"--red={text}"]) == ["--redi", "***", "--red=***"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://:S3CRET",
        "redis://me:S3CRET",
        "redis+cluster://h:1,me:S3CRET",
        "redis://h:1?p%61ssword=S3CRET",
        "redis://h:1?pass=S3CRET",
        "redis://h:1?passwd=S3CRET",
        "redis://h:1?password=a&S3CRET",
        "redis://h:1?db=1;password=S3CRET",
        "redis://h:1#password=S3CRET",
        "redis://h:1?db=b://S3CRET@c",
        "unix:///x.sock?db=1;password=S3CRET",
    ],
)
def test_a_url_that_was_typed_wrong_shows_no_more_of_its_password(url: str) -> None:
    """All were shown in full: the ``@`` was forgotten, the option misspelt, or ``&`` not escaped."""
    for shown in (shown_url(url), redact(url), redact(f"Error 111 connecting to {url}. refused"), redact(repr(url))):
        assert "S3CRET" not in shown
        assert "***" in shown
    assert redact(f"no way to redis://S3CRET@h:1 at x@y: {url}").count("S3CRET") == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<Connection(host=h,password=S3CRET,db=0)>", "<Connection(host=h,password=***"),
        ("connect(access_token=S3CRET x=1)", "connect(access_token=*** x=1)"),
        ("see https://S3CRET@h/x", "see https://***@h/x"),
        ("GET http://h/x?api_key=S3CRET&n=1 HTTP", "GET http://h/x?api_key=***&n=1 HTTP"),
        ("x=1 password= y", "x=1 password= y"),
        ("Redis at redis://h:1. It is away", "Redis at redis://h:1. It is away"),
        ("('redis://[::1]:1/0', x@y)", "('redis://[:***@y)"),
        ("no way to redis://[::1]:1/0: refused", "no way to redis://[::1]:1/0: refused"),
    ],
)
def test_passwords_outside_of_urls_of_ours_are_left_out_too(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("password", ["a" * 90 + "@S3CRET", "a" * 95 + "://S3CRET", "a" * 400 + "@@S3CRET"])
@pytest.mark.parametrize("before", ["", "x" * 20, "x" * 120, "x" * 127, "x" * 150, "x" * 300])
def test_a_password_is_not_shown_where_a_text_is_cut_in_the_middle_of_it(before: str, password: str) -> None:
    for url in (f"redis://:{password}@h:1", f"redis://h:1?db=1&password={password}"):
        for length in range(40):
            assert "CRET" not in redact(cut(before + url + "y" * length, 200))


@pytest.mark.parametrize(
    "url", ["embedded", "embedded:/srv/a@b", "embedded-cluster", "unix:///srv/a@b/x.sock", "redis://h"]
)
def test_what_has_no_password_is_shown_as_it_is(url: str) -> None:
    assert shown_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "{a.}://",
        "{a://b:}",
        "{x-}://x@",
        "redis://{:a@}",
        "redis://h?{&password=a}",
        "{://}",
        "http://{a:}@",
        "h://h:1?{a=b}@",
        "{redis://x?password=&}",
        "{redis://u:p q}",
        "{redis://a@}",
        "{password=}",
    ],
)
def test_the_time_to_look_for_passwords_grows_with_the_text_and_no_faster(text: str) -> None:
    """An id of 120 KB held a worker for half a minute, so that it was killed with all its tasks."""
    front, _, rest = text.partition("{")
    again, _, behind = rest.partition("}")
    began = time.process_time()
    redact(front + again * (1_000_000 // len(again)) + behind)
    assert time.process_time() - began < 3


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


def test_short_good_runs_are_followed_at_once_a_few_times_and_then_ever_later() -> None:
    policy = RespawnPolicy(jitter=lambda: 1.0)
    pauses = [policy.pause_after(PROVEN_AFTER + 1) for _ in range(8)]
    assert pauses[:FREE] == [0] * FREE
    assert all(0 < earlier < later for earlier, later in pairwise(pauses[FREE:]))
    assert not policy.is_hopeless
    assert policy.pause_after(LONG_RUN) == 0
    assert policy.pause_after(PROVEN_AFTER + 1) == 0


@pytest.mark.parametrize("life", [0.1, 0.9, 1.1, 2.0])
def test_a_place_in_which_workers_die_is_not_filled_more_than_twelve_times_in_a_minute(life: float) -> None:
    """That ten of them are the end of the supervisor is not even counted."""
    policy, now, forks = RespawnPolicy(jitter=lambda: 0.0), 0.0, 0
    while now < 60:
        forks += 1
        now += life + 0.4 + policy.pause_after(life)
    assert forks <= 14 if life > PROVEN_AFTER else forks <= 12


def test_a_fork_that_is_refused_is_tried_again_within_seconds_and_is_no_death() -> None:
    policy = RespawnPolicy(jitter=lambda: 1.0)
    pauses = [policy.pause_without_fork() for _ in range(30)]
    assert pauses[0] == pytest.approx(0.1)
    assert pauses[-1] == LONGEST_WITHOUT_FORK
    assert not policy.is_hopeless


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
