"""What other programs do with plain commands to tasks that pytask has in hand: SREM, DEL, HSET, LREM, LPUSH, RPOP."""

# ruff: noqa: ARG005 - the acts share one signature, and most need only a part of it

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytask_core.store import Ending, Misplaced, WorkerStore
from pytask_core.store.many_slots.worker import LEAVING
from tests.store.conftest import Desk

Act = Callable[[Desk], object]

#: What takes the task ``a`` away from the worker that runs it.
TAKEN: dict[str, Act] = {
    "removed as the original does": lambda desk: (
        desk.redis.srem(desk.keys.task_set, "a"),
        desk.redis.delete(desk.keys.task("a")),
    ),
    "its hash is deleted": lambda desk: desk.redis.delete(desk.keys.task("a")),
    "its state is written": lambda desk: desk.redis.hset(desk.keys.task("a"), "state", "WAIT"),
    "it ends elsewhere": lambda desk: desk.redis.hset(desk.keys.task("a"), "state", "SUCCESS"),
    "its owner is written": lambda desk: desk.redis.hset(desk.keys.task("a"), "owner", "else:1"),
    "its key is another type": lambda desk: (
        desk.redis.delete(desk.keys.task("a")),
        desk.redis.set(desk.keys.task("a"), "x"),
    ),
    "queued again as the original does": lambda desk: (
        desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "state": "WAIT"}),
        desk.redis.lpush(desk.keys.new_queue, "a"),
        desk.claim(desk.worker("w2"), insist=True),
    ),
}

#: How the worker comes to know.
LEARNS: dict[str, Callable[[WorkerStore, str], object]] = {
    "renews": lambda worker, token: worker.renew([("a", token)]),
    "ends it": lambda worker, token: worker.report([], [Ending("a", token, "ERROR", "1")], [], []),
    "has stopped it": lambda worker, token: worker.report([], [], [("a", token)], []),
    "puts it back": lambda worker, token: worker.report([], [], [], [("a", token)]),
    "reads it again": lambda worker, token: worker.reload("a", token),
    "passes it on": lambda worker, token: worker.pass_on([Misplaced("a", token, "other")], 60),
}


@pytest.mark.parametrize("learns", LEARNS)
@pytest.mark.parametrize("taken", TAKEN)
def test_a_worker_lets_go_of_what_another_program_has_taken_away(desk: Desk, taken: str, learns: str) -> None:
    now = [0.0]
    worker = desk.worker(clock=lambda: now[0])
    desk.worker("w3", ("other",))
    token = desk.run(worker, "a")
    TAKEN[taken](desk)

    LEARNS[learns](worker, token)
    # In many slots a state that the worker itself may just have written is looked at once more later.
    now[0] += 2 * LEAVING
    worker.renew([])

    elsewhere = int("a" in desk.held("w2"))
    assert (desk.held(), desk.running) == (set(), elsewhere)


def test_a_worker_keeps_what_it_has_under_a_later_claim(desk: Desk) -> None:
    worker = desk.worker()
    old = desk.run(worker, "a")
    desk.push("a")
    desk.redis.hset(desk.keys.task("a"), "state", "WAIT")
    new, claims = desk.claim(worker, insist=True)
    assert [task.id for task in claims.tasks] == ["a"]

    for learn in LEARNS.values():
        learn(worker, old)
    assert worker.renew([("a", new), ("a", old)]).told == [("a", "lost")]

    assert (desk.held(), desk.running) == ({"a"}, 1)
    assert desk.end(worker, "a", new) == []
    assert (desk.held(), desk.running) == (set(), 0)


def test_a_removal_takes_a_task_out_of_the_hands_of_its_worker_whatever_its_state_says(desk: Desk) -> None:
    desk.run(desk.worker(), "a")
    desk.redis.hset(desk.keys.task("a"), "state", "WAIT")

    desk.client.remove("a")

    assert (desk.held(), desk.running, desk.active) == (set(), 0, set())


# What stands in the queue


def fill(desk: Desk, count: int) -> None:
    """Entries of foreign ids, far more than a look at the ends of the queue finds."""
    for start in range(0, count, 5_000):
        desk.redis.lpush(desk.keys.new_queue, *[f"filler-{start + number}" for number in range(5_000)])


def in_the_middle(desk: Desk) -> None:
    """The entry of ``a`` is deeper in the queue than anybody looks."""
    desk.redis.delete(desk.keys.new_queue)
    fill(desk, 5_000)
    desk.redis.lpush(desk.keys.new_queue, "a")
    fill(desk, 5_000)


def stopped_and_removed(desk: Desk) -> None:
    desk.client.stop("a")
    desk.client.remove("a")


#: How the task ``a``, which waits, is lost from the queue while the hash says that it waits, or was stopped or removed.
LOST: dict[str, Act] = {
    "LREM": lambda desk: desk.redis.lrem(desk.keys.new_queue, 0, "a"),
    "DEL": lambda desk: desk.redis.delete(desk.keys.new_queue),
    "RPOP": lambda desk: desk.redis.rpop(desk.keys.new_queue),
    "LREM from the middle": lambda desk: (in_the_middle(desk), desk.redis.lrem(desk.keys.new_queue, 0, "a")),
    "DEL, and others came": lambda desk: (desk.redis.delete(desk.keys.new_queue), fill(desk, 5_000)),
}

#: What a client had done before.
BEFORE: dict[str, Act] = {
    "": lambda desk: None,
    "stopped": lambda desk: desk.client.stop("a"),
    "removed": lambda desk: desk.client.remove("a"),
    "stopped and removed": stopped_and_removed,
}

#: How it is brought back.
BACK: dict[str, Act] = {
    "start": lambda desk: desk.start("a"),
    "restart": lambda desk: desk.client.restart("a"),
    "start among others": lambda desk: desk.start("x", "a", "y"),
    "remove, and start": lambda desk: (desk.client.remove("a"), desk.start("a")),
    "stop, and start": lambda desk: (desk.client.stop("a"), desk.start("a")),
    "stop, and restart": lambda desk: (desk.client.stop("a"), desk.client.restart("a")),
    "HSET and LPUSH": lambda desk: desk.push("a"),
}


def runs(desk: Desk, task_id: str = "a") -> int:
    """How often a task runs until nothing is left in the queue, each time to its end."""
    worker, count, idle = desk.worker("w9"), 0, 0
    while idle < 3:
        token, claims = desk.claim(worker, insist=True)
        for task in claims.tasks:
            assert desk.end(worker, task.id, token) == []
            count += task.id == task_id
        idle = 0 if claims.tasks or claims.passed else idle + 1
    return count


@pytest.mark.parametrize("back", BACK)
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("lost", LOST)
def test_what_another_program_took_out_of_the_queue_runs_once_where_it_is_started_again(
    desk: Desk, lost: str, before: str, back: str
) -> None:
    desk.start("a")
    BEFORE[before](desk)
    LOST[lost](desk)

    BACK[back](desk)

    wanted = back not in {"restart", "stop, and restart"} or "removed" not in before
    assert runs(desk) == wanted
    assert desk.new == []


@pytest.mark.parametrize("back", [each for each in BACK if each != "HSET and LPUSH"])
@pytest.mark.parametrize("before", BEFORE)
def test_what_stands_deep_in_a_long_queue_runs_once_however_often_it_is_started(
    desk: Desk, before: str, back: str
) -> None:
    desk.start("a")
    in_the_middle(desk)
    BEFORE[before](desk)

    for _ in range(3):
        BACK[back](desk)

    wanted = back not in {"restart", "stop, and restart"} or "removed" not in before
    assert runs(desk) == wanted


def test_what_waits_in_a_workers_inbox_is_not_queued_a_second_time(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a")
    assert worker.take(0.01)

    desk.start("a", data='{"x": 2}')
    desk.client.restart("a")

    assert desk.new == []
    assert desk.drain(worker).tasks == [("a", "job", '{"x": 2}')]


def test_what_is_stopped_in_a_workers_inbox_does_not_start_and_can_be_restarted(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a")
    assert worker.take(0.01)

    desk.client.stop("a")
    assert desk.drain(worker).passed == [("a", "stopped")]
    desk.client.restart("a")

    assert runs(desk) == 1


def test_another_programs_push_of_an_ended_task_still_runs_it_again(desk: Desk) -> None:
    desk.start("a")
    desk.redis.lrem(desk.keys.new_queue, 0, "a")
    desk.start("a")
    desk.client.stop("a")
    desk.client.restart("a")
    assert runs(desk) == 1

    desk.redis.lpush(desk.keys.new_queue, "a")
    assert runs(desk) == 1

    assert desk.client.stop("a") == 0
    desk.redis.lpush(desk.keys.new_queue, "a")
    assert runs(desk) == 1


@pytest.mark.parametrize("state", ["STOPPED", "SUCCESS", "ERROR"])
def test_what_another_program_has_queued_again_without_a_word_in_the_hash_can_be_stopped(
    desk: Desk, state: str
) -> None:
    """As the original leaves it at SIGINT."""
    desk.redis.hset(
        desk.keys.task("a"), mapping={"task": "job", "data": "{}", "state": state, "output": "1", "command": "stop"}
    )
    desk.redis.sadd(desk.keys.task_set, "a")
    desk.redis.lpush(desk.keys.new_queue, "a")

    assert desk.client.stop("a") == 1
    assert desk.client.stop("a") == 0

    assert (desk.state("a"), desk.field("a", "output"), desk.active) == ("STOPPED", None, {"a"})
    assert runs(desk) == 0
    assert desk.client.restart("a") == 1
    assert runs(desk) == 1


@pytest.mark.parametrize("back", ["start", "restart", "start among others"])
@pytest.mark.parametrize("state", ["STOPPED", "SUCCESS", "EXCEPTION"])
def test_what_another_program_has_queued_again_runs_once_where_it_is_started_too(
    desk: Desk, state: str, back: str
) -> None:
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "data": "{}", "state": state})
    desk.redis.lpush(desk.keys.new_queue, "a")

    BACK[back](desk)

    assert desk.new.count("a") == 1
    assert runs(desk) == 1


@pytest.mark.parametrize("deep", [False, True], ids=["near", "deep"])
def test_a_cleanup_forgets_what_has_ended_though_a_spare_entry_of_it_stands_in_the_queue(
    desk: Desk, *, deep: bool
) -> None:
    worker = desk.worker()
    if deep:
        in_the_middle(desk)
        desk.redis.lrem(desk.keys.new_queue, 0, "a")
    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "state": "WAIT"})
    desk.start("a")
    desk.redis.rpush(desk.keys.new_queue, desk.redis.lpop(desk.keys.new_queue))  # at the front
    desk.redis.lpush(desk.keys.new_queue, "a")
    desk.start("a")
    token, claims = desk.claim(worker, room=1, insist=True)
    assert [task.id for task in claims.tasks] == ["a"]
    desk.end(worker, "a", token)

    desk.keeper.collect("w1", hashes=False)
    # A push by another program while it waited is no order to run it once more.
    desk.keeper.discard("w1", [("a", False, "")], 0)

    assert runs(desk) == 0
    assert desk.redis.exists(desk.keys.task("a")) == 0


def test_a_monitor_queues_what_another_program_made_wait_and_did_not_queue(desk: Desk) -> None:
    desk.run(desk.worker(), "a")
    desk.redis.hset(desk.keys.task("a"), mapping={"state": "WAIT", "last_update": "1"})

    while not desk.keeper.sweep(60).last:
        pass

    assert desk.new == ["a"]
    desk.keeper.hand_back("w1")
    assert (desk.new, desk.active) == (["a"], set())
    assert runs(desk) == 1


# What a former run has left in the hash

#: How a task has ended, or has been asked to, when another program queues it again by its state.
FORMER: dict[str, Callable[[Desk, WorkerStore, str], object]] = {
    "ended and cleaned": lambda desk, worker, token: (
        desk.end(worker, "a", token),
        desk.keeper.collect("w1", hashes=False),
        desk.keeper.discard("w1", [("a", False, "")], 60),
    ),
    "ended": lambda desk, worker, token: desk.end(worker, "a", token),
    "stopped": lambda desk, worker, token: worker.report([], [], [("a", token)], []),
    "asked to stop": lambda desk, worker, token: desk.client.stop("a"),
    "asked to reload": lambda desk, worker, token: desk.client.ask_reload("a"),
    "asked to restart": lambda desk, worker, token: desk.client.restart("a"),
    "running": lambda desk, worker, token: None,
    "kept": lambda desk, worker, token: (
        desk.end(worker, "a", token),
        desk.keeper.collect("w1", hashes=True),
        desk.keeper.discard("w1", [("a", True, "")], 0),
    ),
}


@pytest.mark.parametrize("former", FORMER)
def test_what_another_program_queues_by_its_state_begins_a_clean_run(desk: Desk, former: str) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.redis.hset(desk.keys.task("a"), mapping={"charges": "2", "deaths": "7", "since": "5"})
    FORMER[former](desk, worker, token)

    desk.redis.hset(desk.keys.task("a"), mapping={"task": "job", "data": '{"x": 2}', "state": "WAIT"})
    desk.redis.lpush(desk.keys.new_queue, "a")
    new, claims = desk.claim(desk.worker("w2"), insist=True)

    assert claims.tasks == [("a", "job", '{"x": 2}')]
    fields = desk.redis.hgetall(desk.keys.task("a"))
    assert fields.pop("last_update")
    assert fields == {"task": "job", "data": '{"x": 2}', "state": "RUNNING", "owner": new}
    assert desk.redis.ttl(desk.keys.task("a")) == -1


@pytest.mark.parametrize("then", ["", "started again", "restarted"])
def test_what_pytask_itself_puts_back_keeps_what_counts_against_it(desk: Desk, then: str) -> None:
    """Also where whoever comes next starts what ought to run, as apps do: else a task that kills would never end."""
    desk.run(desk.worker(), "a")
    desk.keeper.hand_back("w1")
    if then == "started again":
        desk.start("a")
    elif then == "restarted":
        desk.client.restart("a")
    assert (desk.field("a", "charges"), desk.field("a", "deaths")) == ("1", "1")

    desk.claim(desk.worker("w2"), insist=True)

    assert (desk.field("a", "charges"), desk.field("a", "deaths")) == ("1", "1")
    # And not once more, where another program takes it from here.
    desk.redis.hset(desk.keys.task("a"), "state", "WAIT")
    desk.redis.lpush(desk.keys.new_queue, "a")
    desk.claim(desk.worker("w3"), insist=True)
    assert (desk.field("a", "charges"), desk.field("a", "deaths")) == (None, None)
