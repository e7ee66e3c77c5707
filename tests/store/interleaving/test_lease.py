"""How Monitors and workers agree on leases: no worker is judged by one that it has not promised."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store.conftest import Desk


def silent(desk: Desk, worker: str, seconds: float) -> None:
    """A worker was not heard of for so long, nor were its tasks renewed."""
    now, _ = desk.redis.time()
    desk.redis.zadd(desk.keys.workers, {worker: (now - seconds) * 1000})
    for task_id in desk.held(worker):
        desk.redis.hset(desk.keys.task(task_id), "last_update", now - seconds)


def overdue(desk: Desk, timeout: float, unknown: float | None = None) -> list[str]:
    desk.redis.hdel(desk.keys.monitor, "round")
    found = desk.keeper.overdue(10, timeout, unknown)
    assert found is not None
    return sorted(found)


def swept(desk: Desk, timeout: float, unknown: float | None = None) -> dict[str, str]:
    told: dict[str, str] = {}
    while True:
        page = desk.keeper.sweep(timeout, unknown)
        told.update(page.told)
        if page.last:
            return told


def test_a_worker_is_judged_by_what_it_has_promised_and_not_by_what_it_is_asked_for(desk: Desk) -> None:
    worker = desk.worker()
    desk.run(worker, "a")
    silent(desk, "w1", 50)

    assert overdue(desk, 2) == []
    assert swept(desk, 2) == {}
    assert desk.keeper.hand_back("w1", 2).waiting == 0
    assert desk.state("a") == "RUNNING"

    worker.renew([("a", desk.field("a", "owner") or "")], 2)
    silent(desk, "w1", 3)
    assert overdue(desk, 2) == ["w1"]
    assert desk.keeper.hand_back("w1", 2).waiting == 1


def test_a_worker_that_promised_more_after_it_was_found_overdue_is_not_handed_back(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    worker.renew([("a", token)], 2)
    silent(desk, "w1", 3)
    assert overdue(desk, 2) == ["w1"]

    worker.renew([("a", token)], 60)
    silent(desk, "w1", 3)

    assert desk.keeper.hand_back("w1", 2).waiting == 0
    assert desk.state("a") == "RUNNING"


def test_what_is_asked_for_is_told_with_a_renewal_that_promises(desk: Desk) -> None:
    worker = desk.worker()
    assert worker.renew([], 60).asked is None

    overdue(desk, 2)

    assert worker.renew([], 60).asked == 2
    assert worker.renew([]).asked is None, "a renewal that promises nothing asks nothing"


def test_of_several_monitors_the_shortest_counts_until_it_is_gone(desk: Desk) -> None:
    worker = desk.worker()
    for timeout in (30, 2.5, 60):
        overdue(desk, timeout)
    assert worker.renew([], 60).asked == 2.5
    worker.renew([], 2.5)
    silent(desk, "w1", 3)
    assert overdue(desk, 60) == ["w1"], "also where another Monitor has the round"

    seconds, _ = desk.redis.time()
    desk.redis.hset(desk.keys.monitor, "lease_until", seconds * 1000 - 1)

    assert worker.renew([], 2.5).asked is None
    overdue(desk, 60)
    assert worker.renew([], 2.5).asked == 60


def test_a_monitor_that_waits_for_longer_than_workers_promise_does_so(desk: Desk) -> None:
    worker = desk.worker()
    desk.run(worker, "a")
    silent(desk, "w1", 100)

    assert overdue(desk, 300) == []
    assert swept(desk, 300) == {}
    assert overdue(desk, 90) == ["w1"], "and the shortest of the Monitors counts"


def test_a_promise_that_comes_late_undoes_no_later_one(desk: Desk) -> None:
    worker, network = desk.worker(), desk.worker()
    worker.renew([], 2)
    worker.renew([], 60)
    promised = desk.redis.hget(desk.keys.leases, "w1")
    assert promised.endswith(" 60000")

    network.renew([], 2)  # the first once more, number included

    assert desk.redis.hget(desk.keys.leases, "w1") == promised


def test_who_has_promised_nothing_has_the_lease_of_the_monitors_app(desk: Desk) -> None:
    """A worker of an older version, or one whose promise was deleted by hand."""
    worker = desk.worker()
    desk.run(worker, "a")
    desk.redis.delete(desk.keys.leases)
    silent(desk, "w1", 50)

    assert (overdue(desk, 2, 60), swept(desk, 2, 60)) == ([], {})
    silent(desk, "w1", 61)
    assert swept(desk, 2, 60) == {"a": "WAIT"}
    assert overdue(desk, 2, 60) == ["w1"]


def test_what_no_worker_runs_is_found_after_what_the_monitor_was_told(desk: Desk) -> None:
    """As the original pytask leaves it, or a program by hand."""
    now, _ = desk.redis.time()
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "state": "RUNNING", "last_update": now - 3})
    desk.redis.sadd(desk.keys.task_set, "a")

    assert swept(desk, 2, 60) == {"a": "WAIT"}


def test_a_worker_that_was_forgotten_promises_anew_when_it_claims(desk: Desk) -> None:
    worker = desk.worker()
    worker.renew([], 7)
    desk.keeper.hand_back("w1")
    assert not desk.redis.exists(desk.keys.leases)
    desk.start("a")

    desk.claim(worker, insist=True)

    assert desk.redis.hget(desk.keys.leases, "w1") == "1 7000"


@pytest.mark.parametrize("junk", ["", "x", "-5", "nan", "1e999", "99 -1", "99 2 3", "1 " + "9" * 400])
def test_junk_in_place_of_a_lease_counts_as_none(desk: Desk, junk: Any) -> None:
    worker = desk.worker()
    desk.run(worker, "a")
    seconds, _ = desk.redis.time()
    desk.redis.hset(desk.keys.monitor, mapping={"lease": junk, "lease_until": seconds * 1000 + 60_000})
    assert worker.renew([], 60).asked is None
    desk.redis.hset(desk.keys.monitor, mapping={"lease": 2000, "lease_until": junk})
    assert worker.renew([], 60).asked is None

    desk.redis.hset(desk.keys.leases, "w1", junk)
    silent(desk, "w1", 50)
    assert (overdue(desk, 2, 60), swept(desk, 2, 60)) == ([], {})


def renewed(desk: Desk, task_id: str, seconds: float) -> None:
    """A task was last renewed so long ago."""
    now, _ = desk.redis.time()
    desk.redis.hset(desk.keys.task(task_id), "last_update", now - seconds)


def test_a_task_in_the_hands_of_a_worker_that_beats_bears_late_renewals_for_three_leases(desk: Desk) -> None:
    worker = desk.worker()
    worker.renew([("a", desk.run(worker, "a"))], 2)

    renewed(desk, "a", 4)
    assert swept(desk, 2) == {}
    assert desk.state("a") == "RUNNING"

    renewed(desk, "a", 8)
    assert swept(desk, 2) == {"a": "WAIT"}
    assert desk.new == ["a"]


def test_a_beat_speaks_only_for_what_the_worker_has_in_its_hands(desk: Desk) -> None:
    worker = desk.worker()
    worker.renew([("a", desk.run(worker, "a"))], 2)
    desk.redis.srem(desk.keys.held("w1"), "a")

    renewed(desk, "a", 4)
    assert swept(desk, 2) == {"a": "WAIT"}


def test_what_another_program_made_wait_in_the_task_set_is_queued_whatever_owner_it_had(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.redis.hset(desk.keys.task("a"), "state", "WAIT")
    worker.renew([("a", token)], 2)
    renewed(desk, "a", 8)
    before = set(desk.redis.scan_iter())

    assert swept(desk, 2)["a"] == "waits"
    assert desk.new == ["a"]
    assert set(desk.redis.scan_iter()) <= before | {desk.keys.new_queue, desk.keys.monitor, desk.keys.waiting}
