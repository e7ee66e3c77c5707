"""In whose hands a task is, whatever comes between two steps: nobody's hands would be found by a Monitor only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from pytask_core.outcomes import Push
from pytask_core.policy.poison import PoisonRule
from pytask_core.store import Ending, Misplaced, WorkerStore
from pytask_core.store.calls import Call, Calls
from pytask_core.store.many_slots.client import ManySlotsClientStore
from pytask_core.store.many_slots.steps import Steps
from tests.store.conftest import Desk


class Killed(BaseException):
    """Nothing that the product catches."""


class Interrupted(Steps):
    """Steps before one of which something else is done, once."""

    _script = ""

    def before(self, script: str, then: Callable[[], object]) -> None:
        self._script, self._then = script, then

    def all(self, calls: Sequence[Call], replicas: int = 0) -> list[Any]:
        if any(call.script == f"many_slots/{self._script}" for call in calls):
            self._script = ""
            self._then()
        return super().all(calls, replicas)


@pytest.fixture
def many_slots(desk: Desk) -> Desk:
    if desk.atomic:
        pytest.skip("in one slot nothing comes between: PYTASK_TEST_SETUP=cluster has steps")
    return desk


def interrupted(desk: Desk) -> Interrupted:
    """Steps for a worker; for client and keeper by ``desk.take``."""
    return Interrupted(desk.redis, desk.keys)


def note(desk: Desk, worker: WorkerStore, task_id: str) -> Call:
    """The step of a claim that says in whose hands a task is."""
    calls = Calls(desk.keys, worker.worker)
    return calls.make("many_slots/hold", [task_id], token=desk.token(worker), claimed=0)


@pytest.mark.parametrize("then", ["dies at once", "dies once it is claimed"])
def test_a_task_that_its_worker_claims_again_before_it_has_let_go_is_handed_back(many_slots: Desk, then: str) -> None:
    desk = many_slots
    report, claim = interrupted(desk), interrupted(desk)
    worker = desk.worker(steps=report)
    token = desk.run(worker, "a")
    desk.client.restart("a")
    claiming = desk.worker(steps=claim)

    def die() -> None:
        raise Killed

    # The report has queued it and not let go of it; the claim holds it; the report lets go; the claim goes on.
    def claim_again() -> None:
        claim.before("claim", let_go)
        with suppress(Killed):
            desk.claim(claiming, insist=True)

    def let_go() -> None:
        report.let_go("w1", [("a", token, True)])
        if then == "dies at once":
            die()
        claim.before("taken", die)

    report.before("let_go", claim_again)
    worker.report([], [], [("a", token)], [])
    assert desk.where.count["a"] >= 1
    assert desk.held() == {"a"}
    desk.keeper.hand_back("w1")
    assert (desk.state("a"), desk.new, desk.active, desk.running) == ("WAIT", ["a"], set(), 0)


def test_a_push_of_what_its_worker_runs_does_not_take_it_out_of_its_hands(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    desk.redis.lpush(desk.keys.new_queue, "a")
    assert desk.claim(worker, insist=True)[1].passed == [("a", "running")]
    assert desk.held() == {"a"}
    assert desk.running == 1
    assert worker.renew([("a", token)]).told == []
    desk.keeper.hand_back("w1")
    assert (desk.state("a"), desk.new, desk.active) == ("WAIT", ["a"], set())


def test_a_push_of_what_another_runs_leaves_it_in_the_others_hands(desk: Desk) -> None:
    first, second = desk.worker("w1"), desk.worker("w2")
    token = desk.run(first, "a")
    desk.redis.lpush(desk.keys.new_queue, "a")
    assert desk.claim(second, insist=True)[1].passed == [("a", "running")]
    assert (desk.held("w1"), desk.held("w2"), desk.running) == ({"a"}, set(), 1)
    assert desk.end(first, "a", token) == []
    assert (desk.held("w1"), desk.active, desk.ended, desk.running) == (set(), set(), ["a"], 0)


def test_what_a_dead_worker_noted_too_late_is_found_by_a_monitor(many_slots: Desk) -> None:
    desk = many_slots
    late = note(desk, desk.worker(), "a")
    desk.start("a")
    desk.keeper.hand_back("w1")
    Steps(desk.redis, desk.keys).all([late])
    assert desk.running == 1
    assert list(desk.keeper.overdue(0, 0) or ()) == ["w1"]
    desk.keeper.hand_back("w1", 0)
    assert (desk.state("a"), desk.new, desk.held(), desk.running) == ("WAIT", ["a"], set(), 0)
    assert not desk.redis.exists(desk.keys.holders)


class Late(Steps):
    """Steps of a worker that had beaten before it was handed back: what comes late is its taking, and no note of it."""

    has_beaten = False

    def all(self, calls: Sequence[Call], replicas: int = 0) -> list[Any]:
        if self.has_beaten and calls[0].script == "many_slots/look":
            return [[0, 0, 0, 1, 0, None]]
        if self.has_beaten and calls[0].script == "many_slots/hold":
            raise Killed
        return super().all(calls, replicas)


@pytest.mark.parametrize("how", ["take", "claim"])
def test_what_a_dead_worker_took_too_late_is_found_by_a_monitor(many_slots: Desk, how: str) -> None:
    desk = many_slots
    steps = Late(desk.redis, desk.keys)
    worker = desk.worker(steps=steps)
    desk.worker("w2")
    desk.start("a")
    steps.has_beaten = True
    desk.keeper.hand_back("w1")
    if how == "take":
        assert worker.take(0.01)
    else:
        with pytest.raises(Killed):
            desk.claim(worker, insist=True)
    assert desk.where.inboxes == ["a"]
    assert list(desk.keeper.overdue(0, 60) or ()) == ["w1"]
    desk.keeper.hand_back("w1", 60)
    assert (desk.new, desk.where.inboxes) == (["a"], [])
    assert list(desk.keeper.overdue(0, 60) or ()) == []


def test_a_worker_that_lives_keeps_its_inbox(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a")
    assert worker.take(0.01)
    assert list(desk.keeper.overdue(0, 60) or ()) == []
    assert desk.where.inboxes == ["a"]


def lose(desk: Desk, task_id: str) -> None:
    """What a failover may lose: that a worker has it in its hands."""
    keys = desk.keys
    desk.redis.srem(keys.held("w1"), task_id)
    desk.redis.srem(keys.task_set, task_id)
    desk.redis.hdel(keys.holders, task_id)
    desk.redis.decr(keys.running)


def test_a_renewal_notes_again_what_a_failover_has_taken_from_a_workers_hands(many_slots: Desk) -> None:
    desk = many_slots
    worker = desk.worker()
    tokens = {each: desk.run(worker, each) for each in "abc"}
    lose(desk, "a")
    lose(desk, "b")
    assert worker.renew(list(tokens.items())).told == []
    assert (desk.held(), desk.active, desk.running) == ({"a", "b", "c"}, {"a", "b", "c"}, 3)
    assert desk.end(worker, "a", tokens["a"]) == []
    desk.keeper.hand_back("w1")
    assert (desk.state("b"), sorted(desk.new), desk.active, desk.running) == ("WAIT", ["b", "c"], set(), 0)


def test_a_renewal_does_not_note_what_ends_meanwhile(many_slots: Desk) -> None:
    desk = many_slots
    steps = interrupted(desk)
    worker, ending = desk.worker(steps=steps), desk.worker()
    token = desk.run(worker, "a")
    lose(desk, "a")
    # Between what says that it is missing, and what notes it.
    steps.before("hold", lambda: desk.end(ending, "a", token))
    worker.renew([("a", token)])
    assert (desk.held(), desk.running) == (set(), 0)
    assert not desk.redis.exists(desk.keys.holders)
    assert desk.ended == ["a"]


def test_a_task_is_suspect_until_a_beat_of_its_worker_would_clear_it(many_slots: Desk) -> None:
    """If the worker dies, that is by what its death is judged; the clock may be further on already."""
    desk = many_slots
    desk.run(desk.worker(), "a")
    steps, window, since = Steps(desk.redis, desk.keys), PoisonRule().window_ms, 1_000_000
    desk.redis.hset(desk.keys.task("a"), mapping={"charges": 2, "since": since})

    def is_suspect(beat: int) -> bool:
        return bool(steps.one("suspected", task_id="a", worker="w1", poison_window=window, beat=beat))

    assert is_suspect(since + window - 1)
    assert not is_suspect(since + window)


@pytest.mark.parametrize("after", ["", "restart", "remove"])
def test_a_task_that_is_stopped_just_as_it_was_put_back_stands_in_the_task_set(desk: Desk, after: str) -> None:
    steps = interrupted(desk)
    worker = desk.worker(steps=steps)
    token = desk.run(worker, "a")

    def meddle() -> None:
        desk.client.stop("a")
        if after:
            getattr(desk.client, after)("a")

    if desk.atomic:
        worker.report([], [], [], [("a", token)])
        meddle()
    else:
        steps.before("let_go", meddle)
        worker.report([], [], [], [("a", token)])
    assert (desk.state("a"), desk.active) == {
        "": ("STOPPED", {"a"}),
        "restart": ("WAIT", set()),
        "remove": (None, set()),
    }[after]
    assert desk.held() == set()
    desk.client.restart("a")
    assert [task.id for task in desk.drain(desk.worker("w2")).tasks] == ["a"] * (after != "remove")
    desk.keeper.hand_back("w2")
    assert desk.active == set()


#: What is done, before which of its steps somebody comes between, and with what.
BETWEEN: dict[str, tuple[str, Callable[[Desk], object]]] = {
    "restart": ("deactivate", lambda desk: desk.client.stop("a")),
    "start": ("deactivate", lambda desk: desk.client.stop("a")),
    "remove": ("deactivate", lambda desk: (desk.start("a"), desk.client.stop("a"))),
}


@pytest.mark.parametrize("act", BETWEEN)
def test_a_task_that_somebody_stops_in_the_midst_of_anothers_command_stands_in_the_task_set(
    many_slots: Desk, act: str
) -> None:
    desk = many_slots
    desk.start("a")
    desk.client.stop("a")
    steps = interrupted(desk)
    other = ManySlotsClientStore(desk.redis, desk.keys, steps=steps)
    step, meddle = BETWEEN[act]
    steps.before(step, lambda: meddle(desk))
    if act == "start":
        assert list(other.enqueue([("a", "job", "{}", True)])) == [("a", True)]
    else:
        getattr(other, act)("a")
    assert (desk.state("a"), desk.active) == ("STOPPED", {"a"})


def test_a_task_that_was_removed_and_started_and_stopped_as_it_was_put_back_stands_in_the_task_set(
    many_slots: Desk,
) -> None:
    desk = many_slots
    steps = interrupted(desk)
    worker = desk.worker(steps=steps)
    token = desk.run(worker, "a")

    def meddle() -> None:
        desk.client.remove("a")
        desk.start("a")
        desk.client.stop("a")

    steps.before("let_go", meddle)
    worker.report([], [], [], [("a", token)])
    assert (desk.state("a"), desk.active) == ("STOPPED", {"a"})


def test_a_claim_that_finds_a_task_stopped_keeps_it_in_the_task_set_though_its_last_worker_lets_go_late(
    many_slots: Desk,
) -> None:
    desk = many_slots
    claim, report = interrupted(desk), interrupted(desk)
    worker, other = desk.worker(steps=report), desk.worker("w2", steps=claim)
    token = desk.run(worker, "a")

    def stop_and_claim() -> None:
        other.take(0.01)
        desk.client.stop("a")
        # Between the note of the claim and its look at the hash.
        claim.before("claim", lambda: report.let_go("w1", [("a", token, True)]))
        _, claims = desk.claim(other, insist=True)
        assert claims.passed == [("a", "stopped")]

    report.before("let_go", stop_and_claim)
    worker.report([], [], [], [("a", token)])
    assert (desk.state("a"), desk.active) == ("STOPPED", {"a"})
    assert (desk.held(), desk.held("w2"), desk.running) == (set(), set(), 0)


@pytest.mark.parametrize("how", ["stopped", "ended, and is not to be cleaned up", "ended, and its handler failed"])
def test_an_entry_that_is_left_over_does_not_take_out_of_the_task_set_what_belongs_there(
    many_slots: Desk, how: str
) -> None:
    desk = many_slots
    worker = desk.worker()
    desk.start("a", cleanup=how != "ended, and is not to be cleaned up")
    token, _ = desk.claim(worker)
    if how == "stopped":
        worker.report([], [], [("a", token)], [])
    else:
        desk.end(worker, "a", token)
    if how == "ended, and its handler failed":
        assert desk.keeper.collect("w1", hashes=True)
        desk.keeper.discard("w1", [("a", True, "")], 0)
    assert desk.active == {"a"}
    # A start whose push is late: the task has run and ended since.
    steps = Steps(desk.redis, desk.keys)
    steps.all([steps.pushing([("a", Push.MUST)])])
    _, claims = desk.claim(desk.worker("w2"), insist=True)
    assert (claims.tasks, claims.passed, desk.active) == ([], [("a", "ended")], {"a"})


@pytest.mark.parametrize(
    ("then", "leave"),
    [
        ("ended", lambda worker, token: worker.report([], [Ending("a", token, "SUCCESS", "1")], [], [])),
        ("push", lambda worker, token: worker.report([], [], [], [("a", token)])),
        ("push", lambda worker, token: worker.pass_on([Misplaced("a", token, "other")], 60)),
    ],
    ids=["finish", "requeue", "pass on"],
)
def test_a_renewal_does_not_take_what_is_just_leaving_out_of_its_workers_hands(
    many_slots: Desk, then: str, leave: Callable[[Any, str], object]
) -> None:
    """The worker dies right after it, between two steps of the report."""
    desk = many_slots
    desk.worker("w2", ("other",))
    steps = interrupted(desk)
    worker = desk.worker(steps=steps)
    token = desk.run(worker, "a")

    def renew_and_die() -> None:
        assert desk.stores.worker(desk.redis, desk.redis, desk.keys, "w1").renew([("a", token)]).told == [("a", "lost")]
        raise Killed

    steps.before(then, renew_and_die)
    with suppress(Killed):
        leave(worker, token)
    desk.keeper.hand_back("w1")

    assert (desk.new, desk.ended) == ((["a"], []) if desk.state("a") == "WAIT" else ([], ["a"]))
    assert (desk.active, desk.running) == (set(), 0)


@pytest.mark.parametrize("who", ["stop", "hand back", "discard"])
def test_whoever_removes_a_task_as_others_bring_it_to_rest_removes_it_whole(many_slots: Desk, who: str) -> None:
    desk = many_slots
    worker, client, steps = desk.worker(), desk.client, interrupted(desk)
    desk.take(steps)

    def remove() -> None:
        assert client.remove("a")

    if who == "stop":
        desk.start("a")
        steps.before("activate", remove)
        desk.client.stop("a")
    elif who == "hand back":
        token = desk.run(worker, "a")
        desk.client.stop("a")
        steps.before("let_go", remove)
        desk.keeper.hand_back("w1")
    else:
        token = desk.run(worker, "a")
        desk.end(worker, "a", token)
        desk.keeper.collect("w1", hashes=True)
        steps.before("activate", remove)
        desk.keeper.discard("w1", [("a", True, "")], 0)

    desk.drain(desk.worker("w2"))
    assert (desk.state("a"), desk.active, desk.new, desk.ended) == (None, set(), [], [])


@pytest.mark.parametrize("late", ["while it runs", "once it is over"])
@pytest.mark.parametrize("then", ["ends", "is requeued", "is stopped", "ends and is kept"])
def test_a_note_that_comes_late_of_what_runs_elsewhere_does_not_keep_it_in_the_task_set(
    many_slots: Desk, then: str, late: str
) -> None:
    """A host that was cut off sends it once more, and is handed back or leaves by itself."""
    desk = many_slots
    cut_off = desk.worker()
    living = desk.worker("w2")
    desk.start("a", cleanup=then != "ends and is kept")
    token, _ = desk.claim(living, insist=True)
    steps, noted = Steps(desk.redis, desk.keys), note(desk, cut_off, "a")
    if late == "while it runs":
        steps.all([noted])
    if then == "is requeued":
        living.report([], [], [], [("a", token)])
    elif then == "is stopped":
        living.report([], [], [("a", token)], [])
    else:
        desk.end(living, "a", token)
    if late == "once it is over":
        steps.all([noted])

    desk.keeper.hand_back("w1")

    assert desk.active == ({"a"} if then in {"is stopped", "ends and is kept"} else set())
    assert (desk.ended, desk.new) == (["a"] if then == "ends" else [], ["a"] if then == "is requeued" else [])
    assert (desk.running, desk.redis.exists(desk.keys.holders)) == (0, 0)


@pytest.mark.parametrize("then", ["ends", "ends and is kept", "is stopped"])
def test_a_claim_that_comes_too_late_does_not_keep_what_has_run_elsewhere_in_the_task_set(
    many_slots: Desk, then: str
) -> None:
    """It looked at the task before others ran it, and its note of it is carried out after that."""
    desk = many_slots
    living = desk.worker("w2")

    class Delayed(Steps):
        def all(self, calls: Sequence[Call], replicas: int = 0) -> list[Any]:
            if not any(call.script == "many_slots/hold" for call in calls) or len(calls) == 1:
                return super().all(calls, replicas)
            noted, *looks = calls
            seen = super().all(looks, replicas)
            desk.keeper.hand_back("w1")
            token, _ = desk.claim(living, insist=True)
            if then == "is stopped":
                living.report([], [], [("a", token)], [])
            else:
                desk.end(living, "a", token)
            return [*super().all([noted], replicas), *seen]

    late = desk.worker(steps=Delayed(desk.redis, desk.keys))
    desk.start("a", cleanup=then != "ends and is kept")
    assert late.take(0.01)
    assert desk.claim(late, insist=True)[1].tasks == []

    assert desk.active == (set() if then == "ends" else {"a"})
    assert desk.ended == (["a"] if then == "ends" else [])
    assert (desk.held(), desk.redis.exists(desk.keys.holders)) == (set(), 0)


def test_what_is_stopped_after_it_was_let_go_of_stays_though_an_older_note_goes_last(many_slots: Desk) -> None:
    desk = many_slots
    dead, living = desk.worker(), desk.worker("w2")
    token = desk.run(living, "a")
    Steps(desk.redis, desk.keys).all([note(desk, dead, "a")])
    living.report([], [], [], [("a", token)])
    desk.client.stop("a")

    desk.keeper.hand_back("w1")

    assert (desk.state("a"), desk.active) == ("STOPPED", {"a"})
    assert not desk.redis.exists(desk.keys.holders)
