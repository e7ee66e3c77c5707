"""Many slots: whoever breaks off between two steps loses nothing, and whoever repeats all of them doubles nothing.

A cluster of its own with the default names, whatever the set-up. The harm is done at each round trip in turn: the steps
after it are never sent (as when the process dies), or it was executed and its reply is lost, or only some of the nodes
that it goes to have executed it.
"""

# ruff: noqa: ARG005 - the acts share one signature, and most need only a part of it

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis

from pytask_core.connection import disconnect
from pytask_core.keys import RedisKeys
from pytask_core.store import WorkerStore
from pytask_core.store.calls import Call
from pytask_core.store.many_slots.steps import Steps
from tests.store.conftest import Desk
from tests.support.servers.redis_cluster import ServerCluster


class Executed(enum.Enum):
    """What was executed of the round trip that breaks off."""

    NOTHING = enum.auto()
    ALL = enum.auto()
    FIRST = enum.auto()  #: the first step
    REST = enum.auto()  #: all but the first step


class Frail(Steps):
    """Steps that break off at the n-th round trip."""

    broken: int | None = None
    executed = Executed.NOTHING
    count = 0

    def all(self, calls: Sequence[Call], replicas: int = 0) -> list[Any]:
        self.count += 1
        if self.count != self.broken:
            return super().all(calls, replicas)
        parts = {Executed.NOTHING: [], Executed.ALL: calls, Executed.FIRST: calls[:1], Executed.REST: calls[1:]}
        super().all(parts[self.executed], replicas)
        raise redis.ConnectionError("broken off by the test")


class Frailty:
    """Has client and keeper take frail steps; a worker is to be made with them."""

    def __init__(self, desk: Desk, number: int, executed: Executed) -> None:
        self.steps = Frail(desk.redis, desk.keys)
        self._number, self._executed = number, executed
        desk.take(self.steps)

    def arm(self) -> None:
        self.steps.broken, self.steps.executed, self.steps.count = self._number, self._executed, 0

    def disarm(self) -> bool:
        """Harm no more; whether there was a round trip to harm."""
        self.steps.broken = None
        return self.steps.count >= self._number


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServerCluster]:
    with ServerCluster(timeout=15_000) as cluster:
        yield cluster


@pytest.fixture
def desk(cluster: ServerCluster) -> Iterator[Desk]:
    cluster.flush()
    desk = Desk(cluster, RedisKeys())
    yield desk
    disconnect(desk.redis)


#: What somebody does to the task ``a``: who does it first brings it there, and then tries the act itself.
Act = Callable[[Desk, WorkerStore, str], object]


def running(desk: Desk, worker: WorkerStore) -> str:
    return desk.run(worker, "a")


def ended(desk: Desk, worker: WorkerStore) -> str:
    token = desk.run(worker, "a")
    desk.end(worker, "a", token)
    return token


def stopped(desk: Desk, worker: WorkerStore) -> str:
    token = desk.run(worker, "a")
    worker.report([], [], [("a", token)], [])
    return token


def waiting(desk: Desk, worker: WorkerStore) -> str:
    desk.start("a")
    return desk.token(worker)


def pushed(desk: Desk, worker: WorkerStore) -> str:
    desk.push("a")
    return desk.token(worker)


def in_the_inbox(desk: Desk, worker: WorkerStore) -> str:
    desk.start("a")
    assert worker.take(0.01)
    return desk.token(worker)


def withdrawn(desk: Desk, worker: WorkerStore) -> str:
    desk.start("a")
    # In an inbox, from where a stop takes nothing out.
    assert worker.take(0.01)
    desk.client.stop("a")
    return desk.token(worker)


def asked_to_restart(desk: Desk, worker: WorkerStore) -> str:
    token = desk.run(worker, "a")
    desk.client.restart("a")
    return token


def local(desk: Desk, worker: WorkerStore) -> str:
    token = desk.token(worker)
    worker.adopt("a", token, "job", "{}")
    return token


def parked(desk: Desk, worker: WorkerStore) -> str:
    token = desk.run(worker, "a")
    assert desk.pass_on(worker, "a", token, "unknown").parked
    return token


def nothing(desk: Desk, worker: WorkerStore) -> str:
    return desk.token(worker)


#: What is done, from where, and in which states the task may be after it was done as a whole.
ACTS: dict[str, tuple[Callable[[Desk, WorkerStore], str], Act, set[str | None]]] = {
    "start": (nothing, lambda d, w, t: d.start("a"), {"WAIT"}),
    "start what ended": (ended, lambda d, w, t: d.start("a"), {"WAIT"}),
    "start what stopped": (stopped, lambda d, w, t: d.start("a"), {"WAIT"}),
    "start what was withdrawn": (withdrawn, lambda d, w, t: d.start("a"), {"WAIT"}),
    "restart what ended": (ended, lambda d, w, t: d.client.restart("a"), {"WAIT"}),
    "restart what stopped": (stopped, lambda d, w, t: d.client.restart("a"), {"WAIT"}),
    "restart what was withdrawn": (withdrawn, lambda d, w, t: d.client.restart("a"), {"WAIT"}),
    "stop what waits": (waiting, lambda d, w, t: d.client.stop("a"), {"STOPPED"}),
    "claim": (waiting, lambda d, w, t: w.claim(t, 5, insist=True), {"RUNNING"}),
    "claim what was pushed": (pushed, lambda d, w, t: w.claim(t, 5, insist=True), {"RUNNING"}),
    "claim from the inbox": (in_the_inbox, lambda d, w, t: w.claim(t, 5, insist=True), {"RUNNING"}),
    "claim what was withdrawn": (withdrawn, lambda d, w, t: w.claim(t, 5, insist=True), {"STOPPED"}),
    "finish": (running, lambda d, w, t: d.end(w, "a", t), {"SUCCESS"}),
    "finish what is to restart": (asked_to_restart, lambda d, w, t: d.end(w, "a", t), {"WAIT"}),
    "stop": (running, lambda d, w, t: w.report([], [], [("a", t)], []), {"STOPPED"}),
    "stop what is to restart": (asked_to_restart, lambda d, w, t: w.report([], [], [("a", t)], []), {"WAIT"}),
    "requeue": (running, lambda d, w, t: w.report([], [], [], [("a", t)]), {"WAIT"}),
    "let go of a local one": (local, lambda d, w, t: w.report([], [], [], [("a", t)]), {None}),
    "pass on": (running, lambda d, w, t: d.pass_on(w, "a", t), {"WAIT"}),
    "park": (running, lambda d, w, t: d.pass_on(w, "a", t, "unknown"), {"WAIT"}),
    "start what is parked": (parked, lambda d, w, t: d.start("a"), {"WAIT"}),
    "restart what is parked": (parked, lambda d, w, t: d.client.restart("a"), {"WAIT"}),
    "stop what is parked": (parked, lambda d, w, t: d.client.stop("a"), {"STOPPED"}),
    "remove what is parked": (parked, lambda d, w, t: d.client.remove("a"), {None}),
    "end what is parked": (parked, lambda d, w, t: d.keeper.end_parked("unknown", 0, '"unknown"'), {"EXCEPTION"}),
    "hand back": (running, lambda d, w, t: d.keeper.hand_back("w1"), {"WAIT"}),
    "hand back an inbox": (in_the_inbox, lambda d, w, t: d.keeper.hand_back("w1"), {"WAIT"}),
    "discard": (
        ended,
        lambda d, w, t: (d.keeper.collect("w1", hashes=True), d.keeper.discard("w1", [("a", False, "")], 0)),
        {None},
    ),
    "discard and keep": (
        ended,
        lambda d, w, t: (d.keeper.collect("w1", hashes=True), d.keeper.discard("w1", [("a", True, "")], 0)),
        {"SUCCESS"},
    ),
}


def each_harm() -> Iterator[tuple[int, Executed]]:
    return ((number, executed) for number in itertools.count(1) for executed in Executed)


def mend(desk: Desk) -> None:
    """What siblings and Monitor do in time."""
    for worker in ("w1", "w2"):
        desk.keeper.hand_back(worker, died=False)
    assert desk.state("a") != "RUNNING", "it is in the hands of nobody until a Monitor finds it"
    if desk.state("a") is not None:
        desk.redis.hset(desk.keys.task("a"), "last_update", "1")
    while not desk.keeper.sweep(60).last:
        pass
    if desk.state("a") == "WAIT":
        desk.keeper.collect("w2", hashes=False)
        desk.keeper.discard("w2", [(each, False, "") for each in desk.where.cleaning], 0)
    else:
        # What still stands there of one that was stopped or removed goes when its time is over.
        desk.keeper.end_parked("unknown", 0, '"unknown"')


def run_to_the_end(desk: Desk) -> int:
    """A new worker, which knows all names, claims all there is and ends it; how often ``a`` ran."""
    worker, runs = desk.worker("w9"), 0
    worker.parked.open_all("unknown")
    for _ in range(5):
        token, claims = desk.claim(worker, insist=True)
        for task in claims.tasks:
            runs += 1
            assert desk.end(worker, task.id, token) == []
    return runs


def clean(desk: Desk) -> None:
    """Nothing is left of anything but what the public contract has."""
    keys = desk.keys
    assert desk.new == []
    assert (desk.held("w1"), desk.held("w2"), desk.held("w9")) == (set(), set(), set())
    assert desk.running == 0
    assert desk.redis.exists(keys.waiting) == desk.redis.exists(keys.holders) == desk.redis.exists(keys.spare) == 0
    assert desk.redis.exists(keys.parked) == desk.redis.exists(keys.parked_names) == 0


@pytest.mark.parametrize("name", ACTS)
def test_whoever_dies_between_two_steps_leaves_a_task_that_is_mended(desk: Desk, name: str) -> None:
    origin, act, _ = ACTS[name]
    harmed = 0
    for number, executed in each_harm():
        desk.redis.flushall()
        frailty = Frailty(desk, number, executed)
        worker = desk.worker("w1", steps=frailty.steps)
        desk.worker("w2", ("other",))
        token = origin(desk, worker)
        accepted = desk.redis.exists(desk.keys.task("a")) == 1
        frailty.arm()
        try:
            act(desk, worker, token)
        except redis.ConnectionError:
            harmed += 1
        if not frailty.disarm():
            break
        words = f"{name}, broken off at round trip {number}, executed: {executed.name}"
        if accepted and desk.state("a") is not None:
            assert desk.where.count["a"] >= 1, f"stands nowhere: {words}"

        mend(desk)
        state = desk.state("a")
        if accepted and state is not None:
            assert desk.redis.ttl(desk.keys.task("a")) == -1, f"expires: {words}"
        if state in {"SUCCESS", "EXCEPTION", "STOPPED"}:
            assert run_to_the_end(desk) == 0, f"ran again: {words}"
            assert desk.state("a") == state
        elif desk.redis.exists(desk.keys.task("a")):
            # A start that was broken off was not accepted, and may as well be forgotten.
            assert run_to_the_end(desk) == 1 or not accepted, words
            assert desk.ended.count("a") <= 1, words
        clean(desk)
    assert harmed >= 2, "there was nothing to harm"


@pytest.mark.parametrize("name", ACTS)
def test_whoever_repeats_what_was_broken_off_comes_to_the_same_end(desk: Desk, name: str) -> None:
    origin, act, after = ACTS[name]
    for number, executed in each_harm():
        desk.redis.flushall()
        frailty = Frailty(desk, number, executed)
        worker = desk.worker("w1", steps=frailty.steps)
        desk.worker("w2", ("other",))
        token = origin(desk, worker)
        frailty.arm()
        try:
            act(desk, worker, token)
        except redis.ConnectionError:
            frailty.disarm()
            claims = name.startswith("claim")
            answer = worker.claim(token, 5, insist=True, again=True) if claims else act(desk, worker, token)
            if claims and not (answer.tasks or answer.passed):
                # What it had taken went back to the queue.
                token = desk.token(worker)
                answer = worker.claim(token, 5, insist=True)
            if claims:
                # The entry of what was claimed all the same went back too, and starts nothing.
                assert desk.drain(desk.worker("w3", ("other",))).tasks == []
                desk.keeper.hand_back("w3", died=False)
            words = f"{name}, broken off at round trip {number}, executed: {executed.name}: {answer}"
            assert desk.state("a") in after, words
            where = desk.where
            assert [*where.new, *where.inboxes, *where.parked].count("a") == ("WAIT" in after), words
            assert ("a" in where.active) == bool(after & {"RUNNING", "STOPPED"} or name == "discard and keep"), words
            assert where.end.count("a") <= 1, words
            if "RUNNING" in after:
                assert [task.id for task in answer.tasks] == ["a"], words
                assert desk.end(worker, "a", token) == [], words
            for each in ("w1", "w2"):
                desk.keeper.hand_back(each, died=False)
            assert run_to_the_end(desk) == ("WAIT" in after), words
            clean(desk)
        if not frailty.disarm() or frailty.steps.count < number:
            break


class Interrupted(Steps):
    """Steps between which something else happens: after the n-th round trip."""

    count, number = 0, 0
    meanwhile: Callable[[], object]

    def all(self, calls: Sequence[Call], replicas: int = 0) -> list[Any]:
        answers = super().all(calls, replicas)
        self.count += 1
        if self.count == self.number:
            self.meanwhile()
        return answers


def running_and_pushed_again(desk: Desk, worker: WorkerStore) -> str:
    desk.run(desk.worker("w2"), "a")
    desk.push("a")
    return desk.token(worker)


#: What a worker does as somebody removes the task, and from where.
LEAVING: dict[str, tuple[Callable[[Desk, WorkerStore], str], Act]] = {
    **{
        name: ACTS[name][:2]
        for name in (
            "finish",
            "stop",
            "stop what is to restart",
            "requeue",
            "let go of a local one",
            "claim",
            "claim what was withdrawn",
        )
    },
    "claim what runs elsewhere": (running_and_pushed_again, ACTS["claim"][1]),
}


@pytest.mark.parametrize("name", LEAVING)
def test_whoever_removes_a_task_that_a_worker_is_just_dealing_with_removes_it_whole(desk: Desk, name: str) -> None:
    """As a client does that waited for the stop: the state says so before the last step is done."""
    origin, act = LEAVING[name]
    for number in itertools.count(1):
        desk.redis.flushall()
        steps = Interrupted(desk.redis, desk.keys)
        worker = desk.worker("w1", steps=steps)
        token = origin(desk, worker)
        steps.meanwhile, steps.number, steps.count = lambda: desk.client.remove("a"), number, 0
        act(desk, worker, token)
        if steps.count < number:
            break
        # What it claimed all the same it learns to have lost.
        worker.renew([("a", token)])
        words = f"{name}, removed after round trip {number} of {steps.count}"
        assert (desk.state("a"), desk.where.active) == (None, []), words
        for each in ("w1", "w2"):
            desk.keeper.hand_back(each, died=False)
        assert run_to_the_end(desk) == 0, words
        desk.keeper.hand_back("w9", died=False)
        clean(desk)
    assert number > 2, "there was nothing between which it could come"
