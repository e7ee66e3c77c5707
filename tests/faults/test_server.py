"""F15, F18, F19, F24: a server that freezes, restarts, forgets, and throws its clients out."""

from __future__ import annotations

import signal
import threading
import time

import psutil
import pytest

from tests.faults.numbers import GRACE, SCALE
from tests.faults.trial import Trial, seconds_until
from tests.soak import aof
from tests.support.servers.setups import chosen
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    chosen().is_cluster, reason="these harm one server and read its log; what nodes go through is in test_cluster.py"
)


def test_a_frozen_redis_stops_nothing_within_the_grace_and_everything_after_it_and_costs_nothing() -> None:
    """F15: SIGSTOP of Redis, shorter and longer than ``partition_grace``."""
    with Trial() as trial:
        host = trial.host()
        ids = trial.forever(20)
        trial.server.pause()
        pause(GRACE / 3)
        trial.server.resume()
        trial.short(10)
        wait_until(lambda: trial.watch.running() == set(ids) and len(trial.book.runs) == 30)
        assert trial.run_counts(ids) == {1: 20}, "none was stopped"

        trial.server.pause()
        began, before = time.monotonic(), cpu(host.pids())
        wait_until(lambda: not trial.watch.running(), 10, "everything stopped")
        assert time.monotonic() - began < GRACE + 2
        pause(2)
        assert cpu(host.pids()) - before < 0.05 * 2 * (time.monotonic() - began), "5 % of a core for each worker"
        trial.server.resume()
        again = seconds_until(lambda: set(ids) <= trial.watch.running())
        assert again < 5
        assert trial.run_counts(ids) == {2: 20}


def pause(seconds: float) -> None:
    """Let time pass, which is all that is to happen."""
    threading.Event().wait(seconds)


def cpu(pids: list[int]) -> float:
    """Seconds of it that the processes have had."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_with_everysec_loses_nothing_that_was_accepted(how: signal.Signals) -> None:
    """F18: Redis is restarted, in good order and by ``kill -9``, while tasks are started. The machine stays up."""
    with Trial("--appendfsync", "everysec") as trial:
        trial.host()
        ids = trial.forever(10)
        trial.short(300)
        if how == signal.SIGTERM:
            trial.server.stop()
        else:
            trial.server.kill()
        trial.server.start()
        trial.short(100, "after")
        trial.wait_running(ids)
        wait_until(lambda: trial.watch.running() == set(ids), 20)
    assert trial.report.counts["ends"] == 400


def test_a_power_cut_with_everysec_takes_the_last_second_and_every_loss_is_named() -> None:
    """F18: what was not synced is gone. What was running on a claim that is gone is stopped, and runs again."""
    with Trial("--appendfsync", "everysec") as trial:
        ids = trial.start(*(("soak/polite", {}, f"polite-{number}") for number in range(5)))
        synced, since = aof.size(trial.server.dir), time.monotonic()
        trial.host()
        trial.wait_running(ids)
        late = trial.forever(5)
        ended = trial.short(50, "late")
        trial.wait_state(ended, "SUCCESS")
        trial.server.kill()
        gone = time.monotonic()
        aof.cut(trial.server.dir, synced)
        trial.server.start()
        trial.ledger.write("forgot", since=since, gone=gone)
        trial.expected = ["Redis had forgotten"]
        wait_until(lambda: trial.watch.running() == set(ids), 20, "no copy of what is gone")
        assert trial.run_counts(ids) == {2: 5}
        accepted = trial.book.accepted
        lost = {each for each in accepted if trial.state(each) is None}
        assert lost == {*late, *ended}
        assert all(since <= accepted[each] <= gone for each in lost)
        trial.short(10, "new")
    assert trial.report.counts["ids that went with what the server lost"] == len(lost)


def test_a_server_that_comes_back_empty_is_an_alarm_old_copies_stop_and_new_work_runs() -> None:
    """F19: Redis restarts with nothing in it; the strict form."""
    with Trial() as trial:
        host = trial.host()
        ids, pids = trial.forever(20), host.pids()
        gone = time.monotonic()
        trial.server.stop()
        aof.forget(trial.server.dir)
        trial.server.start()
        trial.ledger.write("forgot", since=0, gone=gone)
        trial.expected = ["Redis had forgotten"]
        assert seconds_until(lambda: not trial.watch.running()) < 10
        assert trial.redis.keys("task-forever-*") == []
        assert host.log.read_text().count("its tasks: it came back empty or was flushed") == 2, "each worker says so"
        trial.short(50)
        again = trial.start(*(("soak/forever", {}, each) for each in ids[:5]))
        trial.wait_running(again)
        assert host.pids() == pids, "nobody crashed"
    assert trial.report.counts["ids that went with what the server lost"] == len(ids) - len(again)


def test_no_stop_is_lost_while_every_connection_is_killed_again_and_again() -> None:
    """F24: ``CLIENT KILL`` of normal and pub/sub connections every 200 ms."""
    took: list[float] = []
    over = threading.Event()
    with Trial() as trial:
        trial.host()
        ids = trial.forever(20 * SCALE)
        killer = trial.server.client()
        kills = []

        def kill() -> None:
            while not over.wait(0.2):
                kills.extend(
                    killer.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                    for kind in ("normal", "pubsub")
                )

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            for task_id in ids[: 10 * SCALE]:
                pause(0.2)
                wait_until(lambda task_id=task_id: trial.command("stop", task_id))
                took.append(seconds_until(lambda task_id=task_id: trial.runs(task_id)[-1].how))
        finally:
            over.set()
            thread.join()
        trial.wait_state(ids[: 10 * SCALE], "STOPPED")
        assert len(kills) >= 20
        assert trial.run_counts(ids) == {1: len(ids)}
    assert sorted(took)[-1] < 5
    assert sorted(took)[len(took) // 2] < 2
