"""F34: workers whose wall clocks are wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.numbers import ALONE, LEASE, SWEEP
from tests.faults.trial import Trial, seconds_until
from tests.soak.hosts import Host
from tests.support.processes.supervisor_process import ROOT
from tests.support.waiting import wait_until

#: Run by Python itself at the start of master and workers.
SHIFT = """
import time

_time, _time_ns, _clock_gettime = time.time, time.time_ns, time.clock_gettime
time.time = lambda: _time() + {seconds}
time.time_ns = lambda: _time_ns() + {seconds} * 10**9
time.clock_gettime = lambda clock: _clock_gettime(clock) + (clock == time.CLOCK_REALTIME) * {seconds}
"""

HOUR, DAY = 3_600, 86_400


def shifted(folder: Path, seconds: int) -> dict[str, str]:
    """An environment in which the wall clock is off."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIFT.format(seconds=seconds))
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


def test_no_lease_is_decided_by_a_workers_clock(stage: Callable[[], Trial], tmp_path: Path) -> None:
    """F34: clocks an hour and a day off, either way.

    A Monitor that is ahead takes nothing from those that live, and one that is behind finds what is lost.
    """
    with stage() as trial:
        hosts = {seconds: start(trial, tmp_path / str(seconds), seconds) for seconds in (-DAY, -HOUR, HOUR, DAY)}
        for seconds, host in hosts.items():
            host.supervisor.wait_ready(1)
            day = time.strftime("%Y-%m-%d", time.localtime(time.time() + seconds))
            assert host.log.read_text().startswith(day), "its clock is off"
        ids = trial.forever(40)
        since = renewed(trial, ids)
        # Longer than a lease, so that each Monitor has looked several times.
        wait_until(lambda: renewed(trial, ids) > since + LEASE + SWEEP, 30)
        assert trial.run_counts(ids) == {1: len(ids)}, "none was taken away"
        assert abs(renewed(trial, ids) - trial.redis.time()[0]) < 5

        lost = set().union(*(held_by(trial, hosts[seconds], ids) for seconds in (HOUR, DAY)))
        assert len(lost) > 5
        for seconds in (HOUR, DAY):
            hosts[seconds].lose()
        # Else the server may give it to one of the dead, where only a Monitor would find it.
        wait_until(
            lambda: len({each["name"] for each in trial.server.other_clients() if "-take-" in each["name"]}) == 2
        )
        trial.helpers.start_task("pytask/monitor", "monitor", loop_interval=SWEEP)
        took = seconds_until(lambda: set(ids) <= trial.watch.running() and trial.run_counts(lost) == {2: len(lost)})
        assert LEASE / 2 < took < LEASE + SWEEP + 2, "neither sooner nor later than with clocks that agree"
        assert trial.run_counts(ids) == {1: len(ids) - len(lost), 2: len(lost)}


def start(trial: Trial, folder: Path, seconds: int) -> Host:
    """A host whose clock is off, with a Monitor where that is ahead: of several, one alone may have all rounds."""
    return trial.host(workers=1, wait=False, environ=shifted(folder, seconds) | ({ALONE: "yes"} if seconds < 0 else {}))


def held_by(trial: Trial, host: Host, ids: list[str]) -> set[str]:
    """What runs there."""
    return {each for each in ids if trial.runs(each)[-1].pid in host.pids()}


def renewed(trial: Trial, ids: list[str]) -> float:
    """When the one that was renewed first of all was: by which clock ever."""
    return min(float(row[0]) for row in trial.helpers.get_tasks(ids, ["last_update"]) if row and row[0])
