"""stopped.lua, requeue.lua, reload.lua, renew.lua: tasks that leave their worker, or stay with it."""

from __future__ import annotations

import pytest
import redis

from tests.store.conftest import Desk

# Stop


def test_a_stopped_task_stays_in_the_task_set_and_out_of_the_queues(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.client.stop("a")

    assert worker.report([], [], [("a", token)], []) == []

    assert (desk.state("a"), desk.active, desk.new, desk.ended) == ("STOPPED", {"a"}, [], [])
    assert (desk.held(), desk.running, desk.field("a", "command")) == (set(), 0, None)


def test_a_stop_that_nobody_recorded_is_a_stop_all_the_same(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")

    worker.report([], [], [("a", token)], [])

    assert desk.state("a") == "STOPPED"


def test_a_stop_reported_twice_is_harmless_and_with_a_foreign_token_refused(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")

    assert worker.report([], [], [("a", "w2:1")], []) == ["a"]
    assert desk.state("a") == "RUNNING"
    assert worker.report([], [], [("a", token)], []) == []
    assert worker.report([], [], [("a", token)], []) == []
    assert desk.running == 0


def test_a_running_task_that_is_restarted_waits_again_once_it_has_stopped(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    assert desk.client.restart("a") == 1
    assert (desk.state("a"), desk.new) == ("RUNNING", [])

    worker.report([], [], [("a", token)], [])

    assert (desk.state("a"), desk.new, desk.active, desk.held()) == ("WAIT", ["a"], set(), set())


def test_the_last_of_stop_and_restart_holds(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a", "b")
    desk.client.stop("a")
    desk.client.restart("a")
    desk.client.restart("b")
    desk.client.stop("b")

    worker.report([], [], [("a", token), ("b", token)], [])

    assert (desk.state("a"), desk.state("b"), desk.new) == ("WAIT", "STOPPED", ["a"])


def test_a_stopped_local_task_that_was_told_to_restart_is_reloaded_instead(desk: Desk) -> None:
    worker = desk.worker()
    worker.adopt("a", "w1:1", "job", '{"x": 1}')

    assert desk.client.restart("a") == 1

    assert worker.renew([("a", "w1:1")]).told == [("a", "reload")]
    assert worker.reload("a", "w1:1") == (None, "job", '{"x": 1}')
    assert desk.field("a", "command") is None


# Client's stop, by state


def test_a_waiting_task_that_is_stopped_never_starts(desk: Desk) -> None:
    desk.start("a")

    assert desk.client.stop("a") == 1
    assert (desk.state("a"), desk.active) == ("STOPPED", {"a"})

    _, claims = desk.claim(desk.worker())
    assert (claims.tasks, claims.passed, desk.new) == ([], [], [])


def test_a_task_pushed_by_hand_that_is_stopped_before_it_starts_never_starts(desk: Desk) -> None:
    desk.push("a")
    desk.client.stop("a")

    _, claims = desk.claim(desk.worker())

    assert (claims.tasks, desk.state("a")) == ([], "STOPPED")


@pytest.mark.parametrize("room", [1, 5], ids=["one by one", "together"])
@pytest.mark.parametrize("ours", [True, False], ids=["started and pushed", "pushed by hand"])
def test_a_waiting_task_that_stands_in_the_queue_more_than_once_never_starts_once_stopped(
    desk: Desk, *, ours: bool, room: int
) -> None:
    if ours:
        desk.start("a")
    else:
        desk.push("a")
    desk.redis.lpush(desk.keys.new_queue, "a", "a")

    assert desk.client.stop("a") == 1

    worker = desk.worker()
    for _ in range(4):
        assert desk.claim(worker, room, insist=True)[1].tasks == []
    assert (desk.state("a"), desk.new, desk.field("a", "withdrawn")) == ("STOPPED", [], None)
    desk.redis.lpush(desk.keys.new_queue, "a")
    assert [task.id for task in desk.claim(worker)[1].tasks] == ["a"], "a push after that is a restart"


def test_stopping_what_has_ended_or_is_unknown_says_so(desk: Desk) -> None:
    worker = desk.worker()
    desk.end(worker, "a", desk.run(worker, "a"))
    desk.redis.set(desk.keys.task("string"), "x")

    assert desk.client.stop("a") == 0
    assert desk.client.stop("nothing") == -1
    assert desk.client.stop("string") == -1
    assert desk.redis.exists(desk.keys.task("nothing")) == 0


def test_restarts_while_stopped_in_the_queue_do_not_double_the_entry(desk: Desk) -> None:
    desk.start("a")
    for _ in range(3):
        desk.client.stop("a")
        desk.client.restart("a")

    assert (desk.new, desk.state("a")) == (["a"], "WAIT")


def test_a_restart_of_a_waiting_task_leaves_it_once_in_the_queue(desk: Desk) -> None:
    desk.start("a")
    desk.push("b")

    assert [desk.client.restart("a"), desk.client.restart("b")] == [1, 1]
    assert desk.new == ["a", "b"]


def test_a_restart_of_a_task_whose_entry_got_lost_begins_a_clean_run(desk: Desk) -> None:
    if not desk.atomic:
        pytest.skip("the hash alone does not tell that the entry is lost; there the claim begins a clean run")
    desk.start("a")
    desk.redis.delete(desk.keys.new_queue)
    left = {"charges": "2", "deaths": "2", "requeued": "1", "output": '"old"', "local": "true"}
    desk.redis.hset(desk.keys.task("a"), mapping=left)
    desk.redis.expire(desk.keys.task("a"), 100)

    assert desk.client.restart("a") == 1

    assert not left.keys() & desk.client.get("a").keys()
    assert desk.redis.ttl(desk.keys.task("a")) == -1
    assert desk.new == ["a"]


def test_a_hash_written_over_a_removed_entry_is_restarted_from_that_entry(desk: Desk) -> None:
    desk.start("a")
    desk.client.remove("a")
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "data": "{}"})

    assert desk.client.restart("a") == 1

    assert [task.id for task in desk.claim(desk.worker())[1].tasks] == ["a"]


def test_restart_if_state_looks_and_acts_in_one_step(desk: Desk) -> None:
    worker = desk.worker()
    desk.end(worker, "a", desk.run(worker, "a"), "ERROR")

    assert desk.client.restart("a", ["SUCCESS", "EXCEPTION"]) == 0
    assert desk.client.restart("a", ["ERROR"]) == 1
    assert desk.client.restart("a", ["WAIT"]) == 1
    assert desk.client.restart("nothing", ["WAIT"]) == -1
    assert desk.new == ["a"]


# Requeue


def test_requeued_tasks_are_the_next_to_be_claimed(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a", "b")
    desk.start("c", "d")

    assert worker.report([], [], [], [("b", token), ("a", token)]) == []

    assert desk.new[:2] in (["a", "b"], ["b", "a"])
    assert desk.new[2:] == ["c", "d"]
    assert (desk.state("a"), desk.active, desk.held(), desk.running) == ("WAIT", set(), set(), 0)


def test_a_requeue_sent_twice_queues_once_and_with_a_foreign_token_is_refused(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")

    assert worker.report([], [], [], [("a", "w2:9")]) == ["a"]
    assert worker.report([], [], [], [("a", token)]) == []
    assert worker.report([], [], [], [("a", token)]) == []

    assert (desk.new, desk.running) == (["a"], 0)


def test_a_late_second_requeue_does_not_touch_the_next_claim(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    worker.report([], [], [], [("a", token)])
    second, _ = desk.claim(worker)

    assert worker.report([], [], [], [("a", token)]) == ["a"]

    assert (desk.state("a"), desk.field("a", "owner"), desk.new) == ("RUNNING", second, [])


def test_a_recorded_stop_wins_over_a_requeue(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a", "b")
    desk.client.stop("a")
    desk.client.restart("b")

    worker.report([], [], [], [("a", token), ("b", token)])

    assert (desk.state("a"), desk.state("b"), desk.new, desk.active) == ("STOPPED", "WAIT", ["b"], {"a"})


def test_a_local_task_that_is_requeued_is_gone(desk: Desk) -> None:
    worker = desk.worker()
    worker.adopt("a", "w1:1", "job", "{}")

    assert worker.report([], [], [], [("a", "w1:1")]) == []

    assert desk.redis.exists(desk.keys.task("a")) == 0
    assert (desk.new, desk.active, desk.held(), desk.running) == ([], set(), set(), 0)


@pytest.mark.parametrize("how", ["stopped", "requeue"])
@pytest.mark.parametrize("which", ["new_queue", "task_set"])
def test_a_string_at_a_shared_key_leaves_the_task_running_until_it_is_gone(desk: Desk, which: str, how: str) -> None:
    key = vars(desk.keys)[which]
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.client.restart("a")
    desk.redis.delete(key)
    desk.redis.set(key, "oops")
    leaving = ([("a", token)], []) if how == "stopped" else ([], [("a", token)])

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        worker.report([], [], *leaving)
    if desk.atomic:
        assert desk.state("a") == "RUNNING"

    desk.redis.delete(key)
    assert worker.report([], [], *leaving) == []
    assert (desk.state("a"), desk.new) == ("WAIT", ["a"])


# Renew


def test_a_renewal_updates_the_lease_and_the_tasks(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.redis.hset(desk.keys.task("a"), "last_update", "1")
    desk.redis.zadd(desk.keys.workers, {"w1": 1})

    assert worker.renew([("a", token)])[:2] == (False, [])

    seconds, _ = desk.redis.time()
    assert float(desk.field("a", "last_update") or 0) == pytest.approx(seconds, abs=2)
    assert desk.redis.zscore(desk.keys.workers, "w1") == pytest.approx(seconds * 1000, abs=2000)


def test_a_renewal_tells_what_is_lost_and_leaves_it_alone(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "stolen", "removed", "requeued", "ended", "string", "kept")
    desk.redis.hset(desk.keys.task("stolen"), "owner", "w2:7")
    desk.client.remove("removed")
    worker.report([], [], [], [("requeued", token)])
    desk.end(worker, "ended", token)
    desk.redis.delete(desk.keys.task("string"))
    desk.redis.set(desk.keys.task("string"), "x")
    before = desk.redis.hgetall(desk.keys.task("stolen"))

    told = worker.renew([(each, token) for each in ("stolen", "removed", "requeued", "ended", "string", "kept")]).told

    assert told == [(each, "lost") for each in ("stolen", "removed", "requeued", "ended", "string")]
    assert desk.redis.hgetall(desk.keys.task("stolen")) == before
    assert desk.redis.exists(desk.keys.task("removed")) == 0


@pytest.mark.parametrize("command", ["stop", "restart", "reload"])
def test_a_renewal_tells_the_command_that_is_recorded(desk: Desk, command: str) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    {"stop": desk.client.stop, "restart": desk.client.restart, "reload": desk.client.ask_reload}[command]("a")

    assert worker.renew([("a", token)]).told == [("a", command)]
    assert worker.renew([("a", token)]).told == [("a", command)], "it stands until it is done"


def test_a_worker_that_was_forgotten_is_told_and_known_again_with_its_names(desk: Desk) -> None:
    worker = desk.worker(names=("job", "other"))
    desk.redis.flushall()

    assert worker.renew([])[0]
    assert desk.redis.smembers(desk.keys.names("w1")) == {"job", "other"}
    assert not worker.renew([])[0]


# Reload


def test_a_reload_reads_the_name_and_data_that_the_hash_has_now(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.client.set("a", {"data": '{"x": 2}', "task": "other"})
    assert desk.client.ask_reload("a") == 1

    assert worker.reload("a", token) == (None, "other", '{"x": 2}')

    assert (desk.state("a"), desk.field("a", "command")) == ("RUNNING", None)


@pytest.mark.parametrize("command", ["stop", "restart"])
def test_a_reload_tells_a_stop_or_restart_that_came_meanwhile_and_leaves_it_recorded(desk: Desk, command: str) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    (desk.client.stop if command == "stop" else desk.client.restart)("a")
    assert desk.client.ask_reload("a") == 0, "what was asked for before stands"

    answer = worker.reload("a", token)

    assert answer is not None
    assert answer.command == command
    assert desk.field("a", "command") == command


def test_a_reload_of_a_task_that_is_no_longer_ours_reads_nothing(desk: Desk) -> None:
    worker = desk.worker()
    desk.run(worker, "a")

    assert worker.reload("a", "w1:999") is None
    assert worker.reload("nothing", "w1:1") is None


def test_a_reload_is_asked_of_running_tasks_only(desk: Desk) -> None:
    worker = desk.worker()
    desk.end(worker, "a", desk.run(worker, "a"))
    desk.start("b")

    assert [desk.client.ask_reload(each) for each in ("a", "b", "nothing")] == [0, 0, -1]


def test_whether_a_worker_was_silent_is_told_from_whether_it_has_left(desk: Desk) -> None:
    """What a Monitor says of it hangs on this: one that has left in good order was not unheard of."""
    for name in ("silent", "well", "left"):
        desk.worker(name)
    desk.redis.zadd(desk.keys.workers, {"silent": 1})
    desk.keeper.hand_back("left", died=False)

    assert [desk.keeper.hand_back(each, 60).known for each in ("silent", "well", "left")] == [True, False, False]
