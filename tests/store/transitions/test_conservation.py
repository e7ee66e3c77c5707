"""Any sequence of transitions: after each step every known id stands where its state says, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pytask_core.policy.poison import PoisonRule
from pytask_core.states import FINAL
from tests.store.conftest import Desk

IDS = st.sampled_from(["a", "b", "c", "d"])
WORKERS = st.sampled_from(["w1", "w2"])


@dataclass
class Known:
    """What the model knows of one task."""

    state: str = "WAIT"
    worker: str = ""
    token: str = ""
    command: str = ""

    def leave(self, worker_says: str) -> None:
        """It leaves its worker, which says 'stop' or 'requeue'; what was recorded decides."""
        stops = self.command == "stop" or (worker_says == "stop" and self.command != "restart")
        self.state, self.command, self.worker = ("STOPPED" if stops else "WAIT"), "", ""


class Tasks(RuleBasedStateMachine):
    """The real scripts beside a model of what they are to do."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.known: dict[str, Known] = {}
        #: Ids that say WAIT, and that another program has taken out of the queue.
        self.lost: set[str] = set()

    @initialize()
    def begin(self) -> None:
        # Three expiries in a row would convict what ran; the model knows nothing of that.
        self.desk.keeper = self.desk.stores.keeper(self.desk.redis, self.desk.keys, PoisonRule(max_deliveries=0))
        self.desk.redis.flushall()
        self.workers = {name: self.desk.worker(name) for name in ("w1", "w2")}

    def running(self, task_id: str) -> Known | None:
        known = self.known.get(task_id)
        return known if known is not None and known.state == "RUNNING" else None

    # Clients

    @rule(task_id=IDS)
    def start(self, task_id: str) -> None:
        self.desk.start(task_id)
        self.lost.discard(task_id)
        known = self.known.setdefault(task_id, Known())
        if known.state == "RUNNING":
            known.command = "restart" if known.command == "stop" else known.command
        else:
            known.state = "WAIT"

    @rule(task_id=IDS)
    def stop(self, task_id: str) -> None:
        answer = self.desk.client.stop(task_id)
        known = self.known.get(task_id)
        assert answer == (-1 if known is None else int(known.state in {"WAIT", "RUNNING"}))
        if known is not None and known.state == "RUNNING":
            known.command = "stop"
        elif answer == 1:
            self.known[task_id].state = "STOPPED"

    @rule(task_id=IDS)
    def restart(self, task_id: str) -> None:
        answer = self.desk.client.restart(task_id)
        self.lost.discard(task_id)
        known = self.known.get(task_id)
        assert answer == (-1 if known is None else 1)
        if known is not None and known.state == "RUNNING":
            known.command = "restart"
        elif known is not None:
            known.state = "WAIT"

    @rule(task_id=IDS)
    def reload(self, task_id: str) -> None:
        self.desk.client.ask_reload(task_id)
        known = self.running(task_id)
        if known is not None and not known.command:
            known.command = "reload"

    @rule(task_id=IDS)
    def remove(self, task_id: str) -> None:
        assert self.desk.client.remove(task_id) == (self.known.pop(task_id, None) is not None)

    # Other programs

    @rule(task_id=IDS, whole=st.booleans())
    def take_out(self, task_id: str, *, whole: bool) -> None:
        """An operator takes an id out of the queue, or deletes that: a helper must be able to bring each back."""
        queue = self.desk.new
        if whole:
            self.desk.redis.delete(self.desk.keys.new_queue)
        else:
            self.desk.redis.lrem(self.desk.keys.new_queue, 0, task_id)
        self.lost |= {each for each in queue if each not in self.desk.new and self.desk.state(each) == "WAIT"}

    # Workers

    @rule(worker=WORKERS, room=st.integers(1, 4), insist=st.booleans(), lost=st.booleans(), take=st.booleans())
    def claim(self, worker: str, room: int, *, insist: bool, lost: bool, take: bool) -> None:
        if take and self.desk.redis.llen(self.desk.keys.new_queue):
            self.workers[worker].take(0.01)
        token, claims = self.desk.claim(self.workers[worker], room, insist=insist)
        if lost and claims.tasks:
            assert sorted(self.workers[worker].claim(token, room, again=True).tasks) == sorted(claims.tasks)
        for task in claims.tasks:
            assert self.known[task.id].state == "WAIT", "only what waits is claimed"
            self.known[task.id] = Known("RUNNING", worker, token)
        assert {why for _, why in claims.passed} <= {"stopped", "removed"}

    @rule(task_id=IDS, own=st.booleans(), twice=st.booleans())
    def finish(self, task_id: str, *, own: bool, twice: bool) -> None:
        known = self.running(task_id)
        if known is None or not own:
            assert self.desk.end(self.workers["w1"], task_id, "w1:foreign") == [task_id]
            return
        assert self.desk.end(self.workers[known.worker], task_id, known.token) == []
        if twice:
            self.desk.end(self.workers[known.worker], task_id, known.token)
        if known.command == "restart":
            known.leave("requeue")
        else:
            known.state, known.command, known.worker = "SUCCESS", "", ""

    @rule(task_id=IDS, twice=st.booleans(), requeue=st.booleans())
    def leave(self, task_id: str, *, twice: bool, requeue: bool) -> None:
        known = self.running(task_id)
        if known is None:
            return
        pairs = [(task_id, known.token)]
        for _ in range(1 + twice):
            report: Any = ([], pairs) if requeue else (pairs, [])
            refused = self.workers[known.worker].report([], [], *report)
        assert twice or refused == []
        known.leave("requeue" if requeue else "stop")

    @rule(task_id=IDS)
    def park(self, task_id: str) -> None:
        """Its worker does not know its name, and no other does."""
        known = self.running(task_id)
        if known is not None:
            where = self.desk.pass_on(self.workers[known.worker], task_id, known.token, "unknown")
            known.leave("requeue")
            assert where.parked == (known.state == "WAIT")

    @rule()
    def open(self) -> None:
        self.desk.keeper.parked.open_all("unknown")

    @rule()
    def end_parked(self) -> None:
        parked = self.desk.where.parked
        assert self.desk.keeper.end_parked("unknown", 0, '"unknown"') == (len(parked), False)
        for each in parked:
            assert self.known[each].state == "WAIT"
            self.known[each].state = "EXCEPTION"

    @rule(worker=WORKERS)
    def hand_back(self, worker: str) -> None:
        self.desk.keeper.hand_back(worker)
        self.put_back(lambda known: known.worker == worker)

    def put_back(self, whose: Callable[[Known], bool]) -> None:
        for known in self.known.values():
            if known.state == "RUNNING" and whose(known):
                known.leave("requeue")

    @rule(worker=WORKERS)
    def expire(self, worker: str) -> None:
        """Its lease runs out, and a Monitor looks."""
        self.desk.redis.zadd(self.desk.keys.workers, {worker: 1})
        self.desk.redis.delete(self.desk.keys.monitor)
        overdue = self.desk.keeper.overdue(10, 60)
        assert list(overdue or ()) == [worker], "and not the other one"
        self.desk.keeper.hand_back(worker, 60)
        self.put_back(lambda known: known.worker == worker)
        self.workers[worker].register(("job",))  # it comes back

    @rule(task_id=IDS)
    def expire_alone(self, task_id: str) -> None:
        """Nobody has renewed this one for long, whatever became of its worker."""
        known = self.running(task_id)
        if known is not None:
            self.desk.redis.hset(self.desk.keys.task(task_id), "last_update", "1")
        while not self.desk.keeper.sweep(60).last:
            pass
        self.put_back(lambda each: each is known)

    @rule(task_id=IDS, own=st.booleans())
    def renew(self, task_id: str, *, own: bool) -> None:
        known = self.running(task_id)
        worker, token = (known.worker, known.token) if known and own else ("w1", "w1:foreign")
        told = dict(self.workers[worker].renew([(task_id, token)]).told)
        assert told.get(task_id, "") == (known.command if known and own else "lost")

    @rule(worker=WORKERS)
    def clean_up(self, worker: str) -> None:
        collected = self.desk.keeper.collect(worker, hashes=False)
        self.desk.keeper.discard(worker, [(each, False, "") for each, _ in collected], 0)
        for each, _ in collected:
            if each in self.known and self.known[each].state in FINAL:
                del self.known[each]

    # What always holds

    @invariant()
    def every_id_stands_where_its_state_says(self) -> None:
        where = self.desk.where
        waiting = [*where.new, *where.parked, *where.inboxes]
        ended = [*where.end, *where.cleaning]
        for task_id in ("a", "b", "c", "d"):
            known = self.known.get(task_id)
            state = self.desk.state(task_id)
            assert state == (known.state if known else None), task_id
            assert (self.desk.field(task_id, "command") or "") == (known.command if known else ""), task_id
            assert waiting.count(task_id) <= 1, "queued twice"
            assert (task_id in waiting) or state != "WAIT" or task_id in self.lost
            assert (task_id not in waiting) or state in {"WAIT", "STOPPED", None}, "an entry beside a task in hand"
            assert (task_id not in where.parked) or state == "WAIT", "parked though it does not wait"
            assert (task_id in where.active) == (state in {"RUNNING", "STOPPED"}), task_id
            assert task_id in ended or state not in FINAL, "an end that no Cleanup finds"
        held = sorted(each for name in self.workers for each in self.desk.held(name))
        assert held == sorted(each for each in self.known if self.running(each))
        assert self.desk.running == len(held)

    def teardown(self) -> None:
        for task_id in self.lost:
            if self.desk.state(task_id) == "WAIT":
                assert self.desk.client.restart(task_id) == 1
                where = self.desk.where
                assert [*where.new, *where.inboxes].count(task_id) == 1, f"{task_id} cannot be brought back"


@pytest.mark.timeout(600)  # only where it fails: the shortest example takes long to find
def test_no_sequence_of_transitions_loses_doubles_or_misplaces_an_id(desk: Desk) -> None:
    run_state_machine_as_test(
        lambda: Tasks(desk),
        settings=settings(
            max_examples=80,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
