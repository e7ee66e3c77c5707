"""F1 to F9: processes killed, frozen, blocked and poisoned."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from tests.faults.numbers import LEASE, SCALE, SWEEP
from tests.faults.trial import Trial, seconds_until
from tests.soak.book import NEVER
from tests.support.listener import Listener
from tests.support.waiting import wait_until


def test_a_killed_childs_tasks_run_again_at_once_and_its_siblings_notice_nothing(stage: Callable[[], Trial]) -> None:
    """F1: ``kill -9`` of one child. In full: ``make bench-recovery``."""
    took = []
    with stage() as trial:
        host = trial.host(workers=3)
        ids = trial.forever(30)
        trial.short(100)
        for _ in range(2 * SCALE):
            before = trial.book.of
            victim = host.pids()[0]
            held = held_by(trial, victim, ids)
            wait_until(lambda: host.supervisor.age() > 1.5)
            os.kill(victim, signal.SIGKILL)
            took.append(seconds_until(lambda held=held, victim=victim: not held_by(trial, victim, held)))
            assert seconds_until(lambda: len(host.supervisor.workers()) == 3) < 10
            after = trial.book.of
            others = [each for each in ids if each not in held]
            assert [len(after[each]) for each in others] == [len(before[each]) for each in others]
    assert min(took) < 1, f"the usual case of {took}"
    assert trial.report.counts["runs cut off by a death"] >= 10


def test_children_of_a_killed_master_requeue_and_leave_and_the_next_master_finds_a_clean_place(
    stage: Callable[[], Trial],
) -> None:
    """F2: ``kill -9`` of the master. More: ``tests/process/shutdown/test_orphan.py``."""
    with stage() as trial:
        host = trial.host(workers=3)
        ids = trial.forever(30)
        host.kill_master()
        assert seconds_until(lambda: not host.supervisor.left()) < 5
        assert sorted(trial.redis.lrange(trial.keys.new_queue, 0, -1)) == sorted(ids)
        trial.wait_state(ids, "WAIT")
        host.start()
        trial.wait_running(ids)
        assert trial.run_counts(ids) == {2: 30}
    assert trial.report.counts["runs cut off by a death"] == 0, "each was stopped in good order"


def test_a_lost_hosts_tasks_run_elsewhere_after_the_lease(stage: Callable[[], Trial]) -> None:
    """F3: ``kill -9`` of a master and all its children at once."""
    with stage() as trial:
        lost, _ = trial.host(), trial.host()
        ids = trial.forever(40)
        theirs = set().union(*(held_by(trial, pid, ids) for pid in lost.pids()))
        assert len(theirs) > 5
        lost.lose()
        took = seconds_until(lambda: set(ids) <= trial.watch.running() and trial.run_counts(theirs) == {2: len(theirs)})
        assert took < LEASE + SWEEP + 2
        assert trial.run_counts(ids) == {1: len(ids) - len(theirs), 2: len(theirs)}


def test_a_frozen_child_loses_its_tasks_and_writes_nothing_once_it_wakes(stage: Callable[[], Trial]) -> None:
    """F4: SIGSTOP beyond the lease, then SIGCONT."""
    with stage() as trial:
        frozen, _ = trial.host(workers=1), trial.host(workers=1)
        ids = trial.forever(20)
        short = trial.start(*(("soak/short", {"seconds": 1.0}, f"short-{number}") for number in range(20)))
        trial.wait_running(short)
        [pid] = frozen.pids()
        theirs = held_by(trial, pid, [*ids, *short])
        assert theirs & set(ids)
        assert theirs & set(short)
        with unable(trial, pid):
            os.kill(pid, signal.SIGSTOP)
            # All run elsewhere, and those that end have ended, before it wakes.
            wait_until(lambda: all(trial.runs(each)[-1].pid != pid for each in theirs), 20)
            trial.wait_state(short, "SUCCESS")
            with suppress(ProcessLookupError):  # a master may have had enough of it
                os.kill(pid, signal.SIGCONT)
        assert seconds_until(lambda: is_over(trial, pid, theirs)) < 5
        trial.wait_state(ids, "RUNNING")
        assert trial.run_counts([*ids, *short]) == {1: 40 - len(theirs), 2: len(theirs)}
    assert trial.report.longest_overlap < 1
    assert trial.report.counts["ends"] == len(short)


def test_a_blocked_workers_tasks_go_elsewhere_and_what_the_culprit_says_later_is_refused(
    stage: Callable[[], Trial],
) -> None:
    """F6: a task that computes for longer than the lease, without a watchdog that would end its worker."""
    with stage() as trial:
        trial.host(workers=1)
        trial.host(workers=1)
        ids = trial.forever(20)
        heard = Listener(trial.server, trial.keys, "blocker")
        trial.start(("faults/blocker", {"seconds": LEASE + SWEEP + 1.5}, "blocker"))
        wait_until(lambda: trial.runs("blocker"))
        [culprit] = trial.runs("blocker")
        theirs = held_by(trial, culprit.pid, ids)
        assert theirs
        with unable(trial, culprit.pid):
            trial.helpers.set_task("blocker", "data", '{"seconds": 0}')  # for its next run
            took = seconds_until(lambda: all(trial.runs(each)[-1].pid != culprit.pid for each in theirs))
            assert took < LEASE + SWEEP + 2
            trial.wait_state(["blocker"], "SUCCESS")
            wait_until(lambda: is_over(trial, culprit.pid, {"blocker"}))
        first, second = trial.runs("blocker")
        assert trial.output("blocker") == f'"run={second.run}"'
        wait_until(lambda: is_over(trial, culprit.pid, theirs))
        trial.wait_state(ids, "RUNNING")
        assert f"run={first.run}" not in str(heard.heard())
        heard.close()
    assert trial.report.counts["ends"] == 1


def held_by(trial: Trial, pid: int, ids: Iterable[str]) -> set[str]:
    """Those of the tasks whose last run is in that process."""
    of = trial.book.of
    return {each for each in ids if of[each][-1].pid == pid}


def is_over(trial: Trial, pid: int, ids: Iterable[str]) -> bool:
    """Whether their runs in that process are."""
    of = trial.book.of
    return all(run.ended < NEVER for each in ids for run in of[each] if run.pid == pid)


@contextmanager
def unable(trial: Trial, pid: int) -> Iterator[None]:
    """The process cannot run meanwhile, which the checker takes into account."""
    trial.ledger.write("frozen", pid=pid)
    yield
    trial.ledger.write("thawed", pid=pid)


def test_a_task_that_kills_its_worker_is_parked_after_three_and_its_neighbours_are_not(
    stage: Callable[[], Trial],
) -> None:
    """F9: a poison task beside innocents."""
    with stage() as trial:
        trial.host(workers=2, stage="hasty")
        ids = trial.forever(10)
        trial.start(("faults/poison", {}, "poison"))
        trial.wait_state(["poison"], "EXCEPTION", timeout=30)
        assert len(trial.runs("poison")) == 3
        assert "died under this task 3 times" in trial.output("poison")
        assert trial.said("was killed by SIGKILL") == 3
        trial.wait_running(ids, timeout=40)
        trial.wait_state(ids, "RUNNING")
        trial.expected = ["Workers die under these tasks, so they end as EXCEPTION and are not run again: ['poison']"]
    assert trial.report.counts["ids convicted as poison"] == 1
