"""Every state with every transition, compared with the table in ``states.py``."""

# ruff: noqa: ARG005 - the acts share one signature, and most need only a part of it

from __future__ import annotations

from collections.abc import Callable

from pytask_core.states import FINAL, TaskState
from pytask_core.store import Ending, WorkerStore
from tests.store.conftest import Desk
from tests.support.legal_moves import TRANSITIONS

#: What does something to the task ``a``, which the worker claimed last with this token.
Act = Callable[[Desk, WorkerStore, str], object]


def _push_and_claim(desk: Desk, worker: WorkerStore, token: str) -> None:
    if desk.state("a") is not None:
        desk.redis.lpush(desk.keys.new_queue, "a")
    desk.claim(worker, insist=True)


def _push_and_stop(desk: Desk, worker: WorkerStore, token: str) -> None:
    if desk.state("a") is not None:
        desk.redis.lpush(desk.keys.new_queue, "a")
    desk.client.stop("a")


def _overdue(desk: Desk, worker: WorkerStore, token: str) -> None:
    if desk.redis.exists(desk.keys.task("a")):
        desk.redis.hset(desk.keys.task("a"), "last_update", "1")
    while not desk.keeper.sweep(60).last:
        pass


def _give_up(desk: Desk, worker: WorkerStore, token: str) -> None:
    token, claims = desk.claim(worker, insist=True)
    if claims.tasks:
        desk.pass_on(worker, "a", token, "unknown")
        assert desk.keeper.end_parked("unknown", 0, '"unknown"') == (1, False)


def _end(state: TaskState) -> Act:
    return lambda desk, worker, token: worker.report([], [Ending("a", token, state, "1")], [], [])


ACTS: dict[str, Act] = {
    "start": lambda desk, worker, token: desk.start("a"),
    "stop": lambda desk, worker, token: desk.client.stop("a"),
    "restart": lambda desk, worker, token: desk.client.restart("a"),
    "reload": lambda desk, worker, token: desk.client.ask_reload("a"),
    "remove": lambda desk, worker, token: desk.client.remove("a"),
    "push and claim": _push_and_claim,
    "push and stop": _push_and_stop,
    "claim again": lambda desk, worker, token: worker.claim(token, 500, again=True, insist=True),
    **{f"end as {state}": _end(state) for state in sorted(FINAL)},
    "report a stop": lambda desk, worker, token: worker.report([], [], [("a", token)], []),
    "requeue": lambda desk, worker, token: worker.report([], [], [], [("a", token)]),
    "renew": lambda desk, worker, token: worker.renew([("a", token)]),
    "read again": lambda desk, worker, token: worker.reload("a", token),
    "pass on": lambda desk, worker, token: desk.pass_on(worker, "a", token),
    "park and end": _give_up,
    "hand back": lambda desk, worker, token: desk.keeper.hand_back("w1"),
    "hand back another": lambda desk, worker, token: desk.keeper.hand_back("w2"),
    "sweep when overdue": _overdue,
    "collect and discard": lambda desk, worker, token: (
        desk.keeper.collect("w1", hashes=True),
        desk.keeper.discard("w1", [("a", False, "")], 0),
    ),
    "collect and keep": lambda desk, worker, token: (
        desk.keeper.collect("w1", hashes=True),
        desk.keeper.discard("w1", [("a", True, "")], 0),
    ),
}

#: Acts that need the claim token: with another one they are to do nothing at all.
OWNERS = ("report a stop", "requeue", "renew", "read again", "pass on", *[f"end as {state}" for state in FINAL])

#: How a task comes into each state, none at all included.
ORIGINS: tuple[TaskState | None, ...] = (None, *TaskState)


def _bring(desk: Desk, state: TaskState | None) -> tuple[WorkerStore, str]:
    """An emptied server with the task in a state."""
    desk.redis.flushall()
    worker = desk.worker("w1")
    desk.worker("w2", ("other",))
    token = "w1:0"
    if state is None:
        desk.push("a")
    else:
        desk.start("a")
    if state not in {None, TaskState.WAIT}:
        token, _ = desk.claim(worker)
    if state is TaskState.STOPPED:
        worker.report([], [], [("a", token)], [])
    elif state in FINAL:
        desk.end(worker, "a", token, str(state))
    assert desk.state("a") == state
    return worker, token


def _now(desk: Desk) -> TaskState | None:
    """The state, where no state means WAIT; None for a task that is gone."""
    if not desk.redis.exists(desk.keys.task("a")):
        return None
    return TaskState(desk.state("a") or "WAIT")


def test_every_move_that_any_transition_makes_is_in_the_table_and_every_legal_move_is_made(desk: Desk) -> None:
    made: dict[TaskState, set[TaskState]] = {state: set() for state in TaskState}
    gone = set()
    for origin in ORIGINS:
        for name, act in ACTS.items():
            worker, token = _bring(desk, origin)
            before = origin or TaskState.WAIT
            act(desk, worker, token)
            after = _now(desk)
            if after is None:
                gone.add(name)
            elif after != before:
                assert after in TRANSITIONS[before], f"{before} became {after} by: {name}"
                made[before].add(after)
            ids = desk.where.count["a"]
            assert ids >= (after is not None), f"{before} stands nowhere after: {name}"

    assert made == TRANSITIONS
    assert gone == {"remove", "collect and discard"}


def test_no_transition_of_a_worker_does_anything_with_a_foreign_token(desk: Desk) -> None:
    for origin in ORIGINS:
        for name in OWNERS:
            worker, _ = _bring(desk, origin)
            before = (desk.redis.hgetall(desk.keys.task("a")), desk.where.count, desk.held(), desk.running)
            ACTS[name](desk, worker, "w1:foreign")
            after = (desk.redis.hgetall(desk.keys.task("a")), desk.where.count, desk.held(), desk.running)
            assert after == before, f"{origin}: {name}"


def test_every_transition_of_a_worker_is_safe_to_run_twice(desk: Desk) -> None:
    for origin in ORIGINS:
        for name in (*OWNERS, "hand back", "claim again"):
            worker, token = _bring(desk, origin)
            ACTS[name](desk, worker, token)
            once = (desk.state("a"), desk.where.count, desk.held(), desk.running)
            ACTS[name](desk, worker, token)
            assert (desk.state("a"), desk.where.count, desk.held(), desk.running) == once, f"{origin}: {name}"
