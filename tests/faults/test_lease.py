"""A Monitor whose ``task_timeout`` is below that of the workers' app: no task is taken while a copy of it runs."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.faults.numbers import ALONE, OPTIONS
from tests.faults.trial import Trial, seconds_until
from tests.soak.hosts import Host
from tests.support.servers.setups import chosen
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    chosen().is_cluster,
    reason="their wire stands before one server; tests/store/interleaving/test_lease.py has the steps",
)

#: What an app has that thinks of no Monitor: they beat every ten seconds, and ``stop`` may take longer than the lease.
#: A task may lose three workers here within the time in which poison is judged.
SLOW = {
    "update_task_interval": 10,
    "task_timeout": 60,
    "partition_grace": 30,
    "stop_timeout": 10,
    "max_deliveries": 0,
}
LEASE, SWEEP = 2.0, 0.3


def slow_host(trial: Trial) -> Host:
    return trial.host(1, environ={ALONE: "yes", OPTIONS: json.dumps(SLOW)})


def promises(trial: Trial) -> list[int]:
    """The leases that workers have promised, in milliseconds."""
    return sorted(int(each.split()[1]) for each in trial.redis.hvals(trial.keys.leases))


def start_monitor(trial: Trial) -> Host:
    """A Monitor of two seconds; the host on which it runs."""
    trial.helpers.start_task("pytask/monitor", "monitor", loop_interval=SWEEP, task_timeout=LEASE)
    wait_until(lambda: trial.redis.hget(trial.keys.monitor, "lease") == "2000", message="the Monitor to ask")
    owner = str(trial.redis.hget(trial.keys.task("monitor"), "owner"))
    return next(host for host in trial.hosts if int(owner.split("-")[-2]) in host.pids())


def taken_over(trial: Trial, ids: list[str], pids: list[int]) -> float:
    """Wait until others run them; how long that took."""
    return seconds_until(lambda: all(trial.runs(each)[-1].pid not in pids for each in ids), 20)


def test_a_monitor_of_two_seconds_beside_workers_that_beat_each_ten_takes_nothing_from_those_that_live() -> None:
    """Some join late; then one is cut off, one is frozen and one is lost, and the Monitor goes away again."""
    with Trial() as trial:
        for _ in range(3):
            slow_host(trial)
        ids = trial.forever(12)
        rude = trial.start(*(("faults/rude", {"how": "stop never returns"}, f"rude-{number}") for number in range(6)))
        trial.wait_running(rude)
        home = start_monitor(trial)
        assert promises(trial) == [60_000] * 3

        late = slow_host(trial)
        wait_until(lambda: promises(trial) == [2_000] * 4, 15, "all to learn of it")
        assert trial.run_counts([*ids, *rude]) == {1: len(ids) + len(rude)}, "nothing was taken from anybody"
        more = trial.start(*(("soak/forever", {}, f"more-{number}") for number in range(12)))
        trial.wait_running(more)

        cut, frozen = [host for host in trial.hosts if host not in {home, late}]
        theirs = [each for each in [*ids, *more, *rude] if trial.runs(each)[-1].pid in cut.pids()]
        assert set(theirs) & set(rude)
        cut.wire.stall()
        assert LEASE - 1 < taken_over(trial, theirs, cut.pids()) < LEASE + SWEEP + 3
        cut.wire.heal()

        theirs = [each for each in [*ids, *more] if trial.runs(each)[-1].pid in late.pids()]
        assert theirs
        pids = late.pids()
        late.lose()
        assert taken_over(trial, theirs, pids) < LEASE + SWEEP + 3

        [pid] = frozen.pids()
        trial.ledger.write("frozen", pid=pid)
        os.kill(pid, signal.SIGSTOP)
        theirs = [each for each in [*ids, *more] if trial.runs(each)[-1].pid == pid]
        assert taken_over(trial, theirs, [pid]) < LEASE + SWEEP + 3
        os.kill(pid, signal.SIGCONT)
        trial.ledger.write("thawed", pid=pid)

        assert trial.command("stop", "monitor")
        wait_until(lambda: set(promises(trial)) == {60_000}, 20, "the workers to have their own lease again")
