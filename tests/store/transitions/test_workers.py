"""adopt.lua, pass_on.lua, hand_back.lua: what belongs to one worker, and what becomes of it."""

from __future__ import annotations

import pytest
import redis

from pytask_core.store import PassedOn
from tests.store.conftest import Desk

# Local tasks


def test_an_adopted_task_is_born_running_in_its_workers_hands(desk: Desk) -> None:
    worker = desk.worker()

    worker.adopt("a", "w1:1", "job", '{"x": 1}')
    worker.adopt("a", "w1:1", "job", '{"x": 1}')

    assert (desk.state("a"), desk.field("a", "local"), desk.field("a", "owner")) == ("RUNNING", "true", "w1:1")
    assert (desk.active, desk.held(), desk.running, desk.new) == ({"a"}, {"a"}, 1, [])


def test_an_ended_local_task_goes_to_the_end_queue_and_runs_again_as_a_common_one(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.token(worker)
    worker.adopt("a", token, "job", "{}")
    desk.end(worker, "a", token)
    assert desk.ended == ["a"]

    desk.client.restart("a")

    assert [task.id for task in desk.claim(worker)[1].tasks] == ["a"]
    assert desk.field("a", "local") is None


def test_a_string_at_the_task_set_refuses_an_adoption_before_anything_is_written(desk: Desk) -> None:
    worker = desk.worker()
    desk.redis.set(desk.keys.task_set, "oops")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        worker.adopt("a", "w1:1", "job", "{}")

    assert desk.redis.exists(desk.keys.task("a")) == 0


# Passing on


def test_a_task_whose_name_is_unknown_goes_to_the_live_worker_that_knows_it(desk: Desk) -> None:
    first = desk.worker("w1", ("job",))
    second = desk.worker("w2", ("other",))
    desk.start("a", name="other")
    assert first.take(0.01)
    token, _ = desk.claim(first)

    assert desk.pass_on(first, "a", token).worker == "w2"

    assert (desk.state("a"), desk.active, desk.held("w1"), desk.running) == ("WAIT", set(), set(), 0)
    assert desk.where.count == {"a": 1}
    assert [task.id for task in desk.claim(second)[1].tasks] == ["a"]


def test_a_task_whose_name_no_live_worker_knows_is_parked(desk: Desk) -> None:
    worker = desk.worker("w1", ("job",))
    desk.worker("dead", ("other",))
    desk.redis.zadd(desk.keys.workers, {"dead": 1})
    token = desk.run(worker, "a")

    assert desk.pass_on(worker, "a", token) == PassedOn("", parked=True, first=True)
    assert (desk.state("a"), desk.held("w1"), desk.running, desk.where.parked) == ("WAIT", set(), 0, ["a"])
    assert desk.where.count == {"a": 1}


def test_a_task_that_is_no_longer_ours_is_not_passed_on(desk: Desk) -> None:
    first = desk.worker("w1", ("job",))
    desk.worker("w2", ("other",))
    token = desk.run(first, "a")

    assert desk.pass_on(first, "a", "w1:999") == PassedOn("", parked=False)
    assert desk.pass_on(first, "a", token).worker == "w2"
    again = desk.pass_on(first, "a", token)
    assert not again.worker or not desk.atomic, "its reply was lost and it is asked for again"
    assert desk.where.count == {"a": 1}


def test_the_receiver_that_dies_before_it_claims_hands_the_task_back(desk: Desk) -> None:
    first = desk.worker("w1", ("job",))
    desk.worker("w2", ("other",))
    token = desk.run(first, "a")
    desk.pass_on(first, "a", token)

    assert desk.keeper.hand_back("w2").waiting == 1
    assert desk.new == ["a"]


# Handing back


def test_a_dead_worker_is_forgotten_and_all_it_had_returns_to_the_front(desk: Desk) -> None:
    dead = desk.worker("w1")
    desk.run(dead, "a", "b")
    desk.start("c", "d")
    assert dead.take(0.01)

    assert desk.keeper.hand_back("w1").waiting == 3

    assert set(desk.new[:3]) == {"a", "b", "c"}
    assert desk.new[3:] == ["d"]
    assert (desk.active, desk.running, desk.state("a")) == (set(), 0, "WAIT")
    left = desk.redis.exists(desk.keys.held("w1"), desk.keys.inbox("w1"), desk.keys.names("w1"), desk.keys.workers)
    assert left == 0


def test_only_what_that_worker_holds_is_handed_back(desk: Desk) -> None:
    dead, alive = desk.worker("w1"), desk.worker("w2")
    desk.worker("w11")
    mine = desk.run(dead, "a")
    desk.run(alive, "b")
    # Claimed by another since: the set of the dead still names it.
    desk.redis.hset(desk.keys.task("a"), "owner", "w11:1")
    desk.redis.sadd(desk.keys.held("w11"), "a")

    assert mine.startswith("w1:")
    assert desk.keeper.hand_back("w1").waiting == 0

    assert (desk.state("a"), desk.state("b"), desk.new) == ("RUNNING", "RUNNING", [])
    assert (desk.held("w1"), desk.held("w2"), desk.held("w11")) == (set(), {"b"}, {"a"})


def test_handing_back_twice_gives_nothing_the_second_time(desk: Desk) -> None:
    desk.run(desk.worker(), "a")

    assert [desk.keeper.hand_back("w1").waiting, desk.keeper.hand_back("w1").waiting] == [1, 0]
    assert desk.new == ["a"]


def test_a_worker_that_beats_is_not_handed_back_by_a_monitor(desk: Desk) -> None:
    worker = desk.worker()
    desk.run(worker, "a")

    assert desk.keeper.hand_back("w1", overdue_by=60).waiting == 0
    assert (desk.state("a"), desk.new) == ("RUNNING", [])

    desk.redis.zadd(desk.keys.workers, {"w1": 1})
    assert desk.keeper.hand_back("w1", overdue_by=60).waiting == 1
    assert desk.new == ["a"]


def test_a_worker_wrongly_held_for_dead_can_end_nothing_it_had(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.keeper.hand_back("w1")
    second, _ = desk.claim(desk.worker("w2"))

    assert desk.end(worker, "a", token) == ["a"]
    assert worker.report([], [], [("a", token)], []) == ["a"]
    assert worker.report([], [], [], [("a", token)]) == ["a"]
    assert worker.renew([("a", token)]).told == [("a", "lost")]
    assert (desk.state("a"), desk.field("a", "owner")) == ("RUNNING", second)


def test_a_recorded_stop_wins_when_its_worker_dies(desk: Desk) -> None:
    desk.run(desk.worker(), "stop", "restart", "reload")
    desk.client.stop("stop")
    desk.client.restart("restart")
    desk.client.ask_reload("reload")

    assert desk.keeper.hand_back("w1").waiting == 2

    assert (desk.state("stop"), desk.active) == ("STOPPED", {"stop"})
    assert sorted(desk.new) == ["reload", "restart"]
    assert desk.field("reload", "command") is None


def test_local_tasks_die_with_their_worker(desk: Desk) -> None:
    desk.worker().adopt("a", "w1:1", "job", "{}")

    assert desk.keeper.hand_back("w1").waiting == 0
    assert desk.where.count == {}
    assert desk.redis.exists(desk.keys.task("a")) == 0


def test_what_a_dead_cleanup_had_collected_returns_to_the_end_queue(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a", "b", "c")
    for each in ("a", "b", "c"):
        desk.end(worker, each, token)
    assert len(desk.keeper.collect("w1", hashes=False)) == 3

    desk.keeper.hand_back("w1")

    assert sorted(desk.ended) == ["a", "b", "c"]
    assert desk.redis.exists(desk.keys.cleaning("w1")) == 0


def test_thousands_are_handed_back_in_pages_and_none_twice(desk: Desk) -> None:
    worker = desk.worker()
    ids = [f"id-{number}" for number in range(2_000)]
    desk.start(*ids)
    while desk.redis.llen(desk.keys.new_queue):
        desk.claim(worker, insist=True)

    assert desk.keeper.hand_back("w1").waiting == 2_000

    assert sorted(desk.new) == sorted(ids)
    assert (desk.running, desk.active, desk.held()) == (0, set(), set())


def test_a_string_at_the_queue_leaves_a_dead_workers_tasks_in_its_hands_until_it_is_gone(desk: Desk) -> None:
    desk.run(desk.worker(), "a")
    desk.redis.set(desk.keys.new_queue, "oops")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        desk.keeper.hand_back("w1")
    assert desk.active == {"a"}
    if desk.atomic:
        assert desk.state("a") == "RUNNING"

    desk.redis.delete(desk.keys.new_queue)
    assert desk.keeper.hand_back("w1").waiting == 1


def test_a_late_claim_of_a_worker_that_was_handed_back_is_found_by_its_lease(desk: Desk) -> None:
    worker = desk.worker()
    desk.keeper.hand_back("w1")
    desk.start("a")
    desk.claim(worker)

    desk.redis.zadd(desk.keys.workers, {"w1": 1})
    assert list(desk.keeper.overdue(10, 60) or ()) == ["w1"]
    assert desk.keeper.hand_back("w1", overdue_by=60).waiting == 1
    assert desk.new == ["a"]
