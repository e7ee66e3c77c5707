"""claim.lua: who gets what from the queue, and what is passed over."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
import redis

from pytask_core.store import Claims
from tests.bench.stage import nodes_of
from tests.store.conftest import Desk
from tests.support.waiting import wait_until


def test_a_claimed_task_runs_under_its_token_in_the_workers_hands(desk: Desk) -> None:
    worker = desk.worker()
    desk.push("a", data='{"x": 1}')

    token, claims = desk.claim(worker)

    assert claims == ([("a", "job", '{"x": 1}')], [], 0, {})
    assert (desk.state("a"), desk.field("a", "owner")) == ("RUNNING", token)
    assert (desk.active, desk.held(), desk.running, desk.new) == ({"a"}, {"a"}, 1, [])
    seconds, _ = desk.redis.time()
    assert float(desk.field("a", "last_update") or 0) == pytest.approx(seconds, abs=2)


def test_the_oldest_id_comes_first(desk: Desk) -> None:
    desk.start("a", "b", "c")

    _, claims = desk.claim(desk.worker(), room=2)

    assert [task.id for task in claims.tasks] == ["a", "b"]
    assert claims.left == 1


@pytest.mark.parametrize("room", [1, 25, 500])
def test_four_workers_that_claim_in_turn_share_a_thousand_ids_evenly(desk: Desk, room: int) -> None:
    workers = [desk.worker(f"w{number}") for number in range(4)]
    desk.start(*[f"id-{number}" for number in range(1_000)])

    got: Counter[str] = Counter()
    while desk.redis.llen(desk.keys.new_queue):
        for worker in workers:
            _, claims = desk.claim(worker, room)
            got[worker.worker] += len(claims.tasks)

    assert sum(got.values()) == 1_000
    assert max(got.values()) <= 300, got
    assert desk.running == 1_000


def test_a_worker_that_holds_its_share_leaves_the_rest_to_its_siblings(desk: Desk) -> None:
    first, second = desk.worker("w1"), desk.worker("w2")
    desk.start(*"abcd")
    assert len(desk.claim(first)[1].tasks) == 2

    _, again = desk.claim(first)
    assert (again.tasks, again.left) == ([], 2)
    assert len(desk.claim(second)[1].tasks) == 2


def test_a_worker_that_insists_takes_its_part_of_what_siblings_let_lie(desk: Desk) -> None:
    first, _ = desk.worker("w1"), desk.worker("w2")
    desk.start(*"abcd")
    desk.claim(first)

    _, claims = desk.claim(first, insist=True)

    assert (len(claims.tasks), claims.left) == (1, 1)


def test_no_more_is_claimed_than_there_is_room_for(desk: Desk) -> None:
    worker = desk.worker()
    desk.start(*"abcdef")

    assert len(desk.claim(worker, room=3)[1].tasks) == 3
    assert len(desk.claim(worker, room=0)[1].tasks) == 0


def test_room_without_bound_claims_a_long_queue_in_bounded_parts(desk: Desk) -> None:
    worker = desk.worker()
    desk.start(*[f"id-{number}" for number in range(9_001)])

    got = 0
    while desk.redis.llen(desk.keys.new_queue):
        claims = desk.claim(worker, room=1_000_000)[1]
        assert 0 < len(claims.tasks) <= 500
        got += len(claims.tasks)

    assert got == desk.running == len(desk.active) == 9_001


def test_a_claim_whose_reply_was_lost_is_answered_again_with_the_same_tasks(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a", "b")
    token, lost = desk.claim(worker)
    desk.start("c")

    again = worker.claim(token, 500, again=True)

    assert sorted(again.tasks) == sorted(lost.tasks)
    assert (desk.new, desk.running) == (["c"], 2)


def test_a_claim_that_never_arrived_is_made_when_it_is_asked_for_again(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a")

    again = worker.claim(desk.token(worker), 500, again=True)

    assert [task.id for task in again.tasks] == ["a"]


def test_asking_again_does_not_hand_out_what_ended_or_was_claimed_before(desk: Desk) -> None:
    worker = desk.worker()
    old = desk.run(worker, "a")
    token = desk.run(worker, "b", "c")
    desk.end(worker, "b", token)

    again = worker.claim(token, 500, again=True)

    assert [task.id for task in again.tasks] == ["c"]
    assert desk.field("a", "owner") == old


def test_what_is_not_to_run_is_passed_over_with_the_reason(desk: Desk) -> None:
    worker = desk.worker()
    desk.run(worker, "runs")
    worker.adopt("local", "w1:0", "job", "{}")
    desk.redis.hset(desk.keys.task("local"), "state", "SUCCESS")
    desk.redis.set(desk.keys.task("string"), "something")
    desk.start("stops", "removed", "good")
    # From an inbox a stop or removal takes nothing out.
    assert worker.take(0.01)
    assert worker.take(0.01)
    desk.client.stop("stops")
    desk.client.remove("removed")
    desk.redis.lpush(desk.keys.new_queue, "runs", "local", "string", "nothing")

    _, claims = desk.claim(worker, insist=True)

    assert [task.id for task in claims.tasks] == ["good"]
    assert dict(claims.passed) == {
        "runs": "running",
        "local": "local",
        "string": "wrong type",
        "stops": "stopped",
        "removed": "removed",
        "nothing": "early",
    }
    assert desk.redis.exists(desk.keys.task("nothing"), desk.keys.task("removed")) == 0, (
        "no hash is made for an id without one"
    )
    assert desk.active == {"runs", "local", "stops", "good"}


def test_an_id_that_stands_in_the_queue_three_times_runs_once(desk: Desk) -> None:
    desk.push("a")
    desk.redis.lpush(desk.keys.new_queue, "a", "a")

    _, claims = desk.claim(desk.worker())

    assert [task.id for task in claims.tasks] == ["a"]
    assert claims.passed == [("a", "running"), ("a", "running")]
    assert desk.running == 1


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "EXCEPTION", "STOPPED"])
def test_pushing_an_ended_or_stopped_id_runs_it_again_without_its_old_output(desk: Desk, state: str) -> None:
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "data": "{}", "state": state, "output": '"old"'})
    desk.redis.expire(desk.keys.task("a"), 100)
    desk.redis.lpush(desk.keys.new_queue, "a")

    _, claims = desk.claim(desk.worker())

    assert [task.id for task in claims.tasks] == ["a"]
    assert (desk.state("a"), desk.field("a", "output"), desk.redis.ttl(desk.keys.task("a"))) == ("RUNNING", None, -1)


def test_a_removed_id_that_starts_again_stands_in_the_queue_once(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a", "b")
    desk.client.remove("a")
    desk.start("a", data='{"x": 2}')

    assert desk.new == ["b", "a"]
    _, claims = desk.claim(worker)
    assert claims.tasks == [("b", "job", "{}"), ("a", "job", '{"x": 2}')]
    assert claims.passed == []


def test_spare_entries_are_forgotten_when_the_queue_is_empty(desk: Desk) -> None:
    desk.start("a")
    desk.client.remove("a")
    desk.claim(desk.worker())

    assert desk.redis.exists(desk.keys.spare) == 0


def test_a_removed_id_that_a_producer_writes_again_by_hand_runs_once(desk: Desk) -> None:
    desk.start("a")
    desk.client.remove("a")
    desk.push("a")

    claims = desk.drain(desk.worker())

    assert [task.id for task in claims.tasks] == ["a"]
    assert claims.passed == []


def test_a_hash_that_was_removed_before_it_was_pushed_does_not_swallow_the_next_start(desk: Desk) -> None:
    desk.start("other")
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "data": "{}"})
    desk.client.remove("a")
    desk.start("a")

    claims = desk.drain(desk.worker())

    assert sorted(task.id for task in claims.tasks) == ["a", "other"]
    assert claims.passed == []


def test_the_inbox_comes_before_the_queue_and_does_not_wait_for_a_fair_share(desk: Desk) -> None:
    first, _ = desk.worker("w1"), desk.worker("w2")
    desk.start("a", "b", "c")
    assert first.take(0.01)

    _, claims = desk.claim(first, room=1)

    assert [task.id for task in claims.tasks] == ["a"]
    assert desk.new == ["b", "c"]


def test_a_take_from_an_empty_queue_returns_empty_handed(desk: Desk) -> None:
    assert desk.worker().take(0.01) is False


def test_what_is_taken_is_claimed_with_it_and_the_rest_is_left(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a", "b")
    token = desk.token(worker)

    claims = worker.take_and_claim(0.01, token, 500)

    assert [task.id for task in claims.tasks] == ["a"]
    assert (claims.left, desk.new) == (1, ["b"])
    assert (desk.state("a"), desk.field("a", "owner"), desk.held()) == ("RUNNING", token, {"a"})


def test_nothing_is_claimed_where_nothing_was_taken(desk: Desk) -> None:
    claims = desk.worker().take_and_claim(0.01, "w1:1", 500)

    assert (claims.tasks, claims.passed, claims.left) == ([], [], 0)


def test_a_take_that_claims_works_for_a_server_that_knows_no_script(desk: Desk) -> None:
    desk.server.flush()
    worker = desk.worker()
    desk.start("a")

    assert [task.id for task in worker.take_and_claim(0.01, desk.token(worker), 500).tasks] == ["a"]


def test_the_claim_behind_a_take_gives_again_what_it_got_where_its_answer_was_lost(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a", "b")
    token = desk.token(worker)
    worker.take_and_claim(0.01, token, 500)

    assert [task.id for task in worker.claim(token, 500, again=True).tasks] == ["a"]


def test_a_take_that_is_cut_short_brings_no_worker_back_to_life(desk: Desk) -> None:
    dead = desk.worker()
    got: list[Claims] = []
    waiting = threading.Thread(target=lambda: got.append(dead.take_and_claim(30, "w1:1", 500)))
    waiting.start()

    nodes = [node.client() for node in nodes_of(desk.server)]

    def blocked() -> list[tuple[redis.Redis, str]]:
        return [(node, row["id"]) for node in nodes for row in node.client_list() if row["cmd"] == "blmove"]

    wait_until(blocked, 10, "the take")
    desk.keeper.hand_back("w1")
    (node, number), *_ = blocked()
    node.execute_command("CLIENT", "UNBLOCK", number)
    waiting.join(10)

    assert [claims.tasks for claims in got] == [[]]
    assert desk.redis.zscore(desk.keys.workers, "w1") is None


def test_a_claim_makes_a_forgotten_worker_and_its_names_known_again(desk: Desk) -> None:
    worker = desk.worker(names=("job", "other"))
    desk.keeper.hand_back("w1")
    assert desk.redis.exists(desk.keys.workers, desk.keys.names("w1")) == 0

    desk.claim(worker)

    assert desk.redis.zrange(desk.keys.workers, 0, -1) == ["w1"]
    assert desk.redis.smembers(desk.keys.names("w1")) == {"job", "other"}


ODD = [
    "with space",
    "line\nbreak",
    "{braces}",
    "}{",
    "nul\0byte",
    "😀",
    "*?[x]",
    "x" * 10_000,
    "x-control",
    "%s",
    "'\"\\",
    "\udcff\udcfe",
    "-1",
    "0",
    ":",
]


def test_odd_ids_pass_through_every_transition_as_they_are(desk: Desk) -> None:
    worker = desk.worker()
    desk.start(*ODD)
    token, claims = desk.claim(worker, room=len(ODD))
    assert [task.id for task in claims.tasks] == ODD
    assert worker.renew([(each, token) for each in ODD]).told == []
    for each in ODD:
        assert desk.client.restart(each) == 1
    assert worker.renew([(each, token) for each in ODD]).told == [(each, "restart") for each in ODD]
    assert worker.report([], [], [(each, token) for each in ODD], []) == []
    token, _ = desk.claim(worker, room=len(ODD))
    assert worker.report([], [], [], [(each, token) for each in ODD]) == []
    token, _ = desk.claim(worker, room=len(ODD))
    assert desk.keeper.hand_back("w1").waiting == len(ODD)
    token, claims = desk.claim(worker, room=len(ODD))
    assert sorted(task.id for task in claims.tasks) == sorted(ODD)
    for each in ODD:
        assert desk.end(worker, each, token) == []
    assert sorted(desk.ended) == sorted(ODD)
    assert {each for each, _ in desk.keeper.collect("w1", hashes=True)} == set(ODD)
    assert desk.keeper.discard("w1", [(each, False, "") for each in ODD], 0) == len(ODD)
    assert desk.where.count == Counter()


def test_data_that_is_no_utf8_reaches_the_worker_as_its_bytes(desk: Desk, redis_server: object) -> None:
    desk.redis.execute_command("HSET", desk.keys.task("a"), "task", "job", "data", b'{"x": "\xff"}')
    desk.redis.lpush(desk.keys.new_queue, "a")

    _, claims = desk.claim(desk.worker())

    assert claims.tasks == [("a", "job", '{"x": "\udcff"}')]


@pytest.mark.parametrize("which", ["new_queue", "task_set"])
def test_a_string_at_a_shared_key_refuses_the_claim_before_anything_is_taken(desk: Desk, which: str) -> None:
    key = vars(desk.keys)[which]
    worker = desk.worker()
    desk.push("a")
    desk.redis.delete(key)
    desk.redis.set(key, "oops")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        desk.claim(worker)

    desk.redis.delete(key)
    if key == desk.keys.new_queue:
        desk.redis.lpush(key, "a")
    _, claims = desk.claim(worker)
    assert [task.id for task in claims.tasks] == ["a"]


def test_a_claim_that_is_executed_only_after_it_was_sent_again_takes_nothing(desk: Desk) -> None:
    worker = desk.worker("w1")
    desk.start("a", "b")
    token = desk.token(worker)

    assert len(worker.claim(token, 1, insist=True, again=True).tasks) == 1
    late = worker.claim(token, 1, insist=True)

    assert late.tasks == []
    assert len(desk.new) == 1
    assert len(desk.held()) == 1


@pytest.mark.parametrize("field", ["charges", "since", "deaths"])
def test_words_of_another_program_where_pytask_counts_deaths_lose_nobody(desk: Desk, field: str) -> None:
    """Whether they stand there when the task is claimed, renewed, or handed back."""
    worker = desk.worker()
    desk.push("a", "b", "c")
    desk.redis.hset(desk.keys.task("b"), mapping={field: "12 EUR"})
    token, claims = desk.claim(worker, insist=True)
    assert sorted(task.id for task in claims.tasks) == ["a", "b", "c"]

    for each in ("a", "b", "c"):
        desk.redis.hset(desk.keys.task(each), mapping={"charges": "1", field: "monday"})
    assert worker.renew([(each, token) for each in ("a", "b", "c")]).told == []
    desk.redis.hset(desk.keys.task("b"), field, "")
    desk.keeper.hand_back("w1")

    assert sorted(desk.new) == ["a", "b", "c"]
    assert {desk.state(each) for each in ("a", "b", "c")} == {"WAIT"}


@pytest.mark.parametrize("name", ["running", "held", "spare", "suspect"])
def test_another_type_at_a_key_of_pytasks_own_refuses_a_claim_before_anything_is_taken(desk: Desk, name: str) -> None:
    if not desk.atomic:
        pytest.skip("in steps an id that is taken stands in the inbox until it is dealt with")
    worker = desk.worker()
    desk.start("a")
    key = {
        "running": desk.keys.running,
        "held": desk.keys.held("w1"),
        "spare": desk.keys.spare,
        "suspect": desk.keys.suspect("w1"),
    }[name]
    desk.redis.delete(key)
    desk.redis.zadd(key, {"x": 1})

    with pytest.raises(redis.ResponseError):
        desk.claim(worker, insist=True)
    assert (desk.new, desk.state("a")) == (["a"], "WAIT")

    desk.redis.delete(key)
    assert [task.id for task in desk.claim(worker, insist=True)[1].tasks] == ["a"]


def test_a_count_that_is_no_number_refuses_a_claim_before_anything_is_taken(desk: Desk) -> None:
    if not desk.atomic:
        pytest.skip("in steps an id that is taken stands in the inbox until it is dealt with")
    desk.start("a")
    desk.redis.set(desk.keys.running, "many")

    with pytest.raises(redis.ResponseError, match="no whole number"):
        desk.claim(desk.worker(), insist=True)
    assert desk.new == ["a"]


def test_another_type_where_removed_ids_stand_refuses_a_start_before_anything_is_written(desk: Desk) -> None:
    desk.redis.set(desk.keys.spare, "oops")
    with pytest.raises(redis.ResponseError):
        desk.start("a")
    desk.redis.delete(desk.keys.spare)

    desk.start("a")

    assert desk.new == ["a"]


def test_words_of_another_program_where_spare_entries_are_counted_lose_nobody(desk: Desk) -> None:
    desk.push("a", "b")
    desk.redis.hset(desk.keys.spare, mapping={"a": "by hand", "b": "-3", "c": "many"})
    desk.start("c")

    claims = desk.drain(desk.worker())

    assert sorted(task.id for task in claims.tasks) == ["a", "b", "c"]
    assert claims.passed == []
