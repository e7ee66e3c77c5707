"""What other programs do with plain commands to tasks that pytask has in hand: SREM, DEL, HSET, LREM, LPUSH, RPOP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytask_core.store import Ending, Misplaced, WorkerStore
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
    worker: Any = desk.worker()
    desk.worker("w3", ("other",))
    token = desk.run(worker, "a")
    TAKEN[taken](desk)

    LEARNS[learns](worker, token)
    if not desk.atomic:
        # A state that the worker itself may just have written is looked at once more later.
        worker._clock = lambda: float("inf")
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
