"""What a worker does with tasks, in many slots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from ...connection.nodes import Nodes
from ...keys import RedisKeys
from ...outcomes import Dealt, Entry, Outcome, Passed, Push, place_of
from ...payload import MAX_PAYLOAD
from ...policy.poison import PoisonRule
from ...states import Reason
from ..calls import BATCH, Call, Calls
from ..sender import run
from ..worker import (
    FILLED,
    LONGEST_WAIT,
    REPLY,
    Claimed,
    Claims,
    Ending,
    Event,
    Misplaced,
    PassedOn,
    Renewal,
    WorkerStore,
)
from .placer import Placer
from .steps import Steps, alone

#: Why an id is passed over that stays in the task set, where another transition has put it.
_STAYS_ACTIVE = {Passed.RUNNING, Passed.STOPPED, Passed.CHANGED, Passed.LOCAL}

#: Seconds that a task may be on its way out of a worker's hands, between two steps. Longer bears slower round trips,
#: shorter counts sooner what another program has taken away by its state alone.
LEAVING = 2.0

#: What is decided of a task that is not the worker's own.
_LOST = {Outcome.LOST, Outcome.OTHER_CLAIM}

#: What ``renew.lua`` answers of a task that the worker is to let go of, or is letting go of already.
_OVER = {*_LOST, Outcome.LEFT}

#: What became of an entry that a claim passes over, where it is more than passed.
_DEALT = {Passed.CLAIMED: Dealt.CLAIMED, Passed.LATER: Dealt.LATER, Passed.EARLY: Dealt.EARLY}


def _waits(outcome: str) -> bool:
    return place_of(outcome).queue is not None


def _stays_active(why: str, *more: Any) -> bool:
    return why in _STAYS_ACTIVE or (why == Passed.ENDED and bool(more[0]))


class _Entry(NamedTuple):
    """What stands in the inbox."""

    id: str
    pushes: str  #: that its entry stands for; '' where another program pushed it
    spare: bool  #: an entry of it is to start nothing
    more: int  #: entries beyond the first

    @property
    def kind(self) -> Entry:
        """What ``claim.lua`` is to know of the entry."""
        return Entry.OURS if self.pushes else Entry.SPARE if self.spare else Entry.FOREIGN


class _LastWords:
    """The events of each task in one batch. They travel with its end, in one script: so neither a script that a node
    does not know yet nor a slot that moves can bring them behind it or out of their order.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.left: dict[tuple[str, str], list[str]] = {}
        for task_id, token, payload in events:
            self.left.setdefault((task_id, token), []).append(payload)

    def of(self, task_id: str, token: str) -> Sequence[str]:
        """Take out those of a task."""
        return self.left.pop((task_id, token), ()) if self.left else ()


class ManySlotsWorkerStore(WorkerStore):
    """A worker's transitions in steps."""

    _many_slots = True

    def __init__(
        self,
        client: Any,
        blocking: Any,
        keys: RedisKeys,
        worker: str,
        poison: PoisonRule | None = None,
        replicas: int = 0,
        max_payload: int = MAX_PAYLOAD,
        steps: Steps | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(client, blocking, keys, worker, poison, replicas, max_payload)
        self._steps = steps or Steps(client, keys)
        self._step = Calls(keys, worker, "many_slots/").make
        self._placer = Placer(self._steps, worker)
        self._beat = 0
        #: What was just leaving this worker's hands when it was renewed, and when that was seen.
        self._left: dict[tuple[str, str], float] = {}
        self._clock = clock

    def _one(self, script: str, each: Iterable[Any] = (), /, **named: Any) -> Any:
        return self._steps.all([self._step(script, each, **named)])[0]

    # Registering and waiting

    def register(self, names: Iterable[str]) -> None:
        self._names = list(names)
        # First: a worker that does not reach all nodes is not to count as alive, or others would wait for it.
        Nodes(self._client).reach()
        anew = bool(self._look()[0])
        self._make_known(anew and self._registered)
        self._registered = True

    def _looking(self, lease: float | None = None) -> Call:
        return self._step("look", **self._promise(lease))

    def _look(self) -> list[int]:
        """Beat; return whether the worker was forgotten, what its share is measured by, and when that was."""
        answer: list[int] = self._steps.all([self._looking()])[0]
        return answer[:5]

    def take(self, timeout: float) -> bool:
        # The beat goes first: an id in the inbox of a worker that nobody knows would be lost.
        if self._look()[0]:
            self._make_known()
        note = ("SADD", self._keys.inboxes, self.worker)
        take = ("BLMOVE", self._keys.new_queue, self._inbox, "RIGHT", "LEFT", timeout)
        return run(self._blocking, note, take)[1] is not None

    def take_and_claim(self, timeout: float, token: str, room: int) -> Claims:  # noqa: ARG002 - here it is two steps
        if not self.take(timeout):
            return Claims([], [], 0)
        # One, since more may no longer be wanted by now.
        return self.claim(token, 1)

    # Claiming

    def claim(self, token: str, room: int, *, insist: bool = False, again: bool = False) -> Claims:
        number = int(token.rpartition(":")[2])
        anew, holds, all_hold, all_workers, self._beat = self._look()
        if anew:
            self._make_known()
        rows, left, done = self._one(
            "take",
            number=number,
            room=min(room, BATCH),
            holds=holds,
            all_hold=all_hold,
            all_workers=all_workers,
            insist=int(insist),
        )
        entries = [_Entry(rows[i], rows[i + 1], bool(rows[i + 2]), rows[i + 3]) for i in range(0, len(rows), 4)]
        tasks = self._claimed_before(token, {entry.id for entry in entries}) if again else []
        if done or not entries:
            return Claims(tasks, [], left)
        may_be_claimed = False
        try:
            suspect, seen = self._note(token, [entry.id for entry in entries])
            may_be_claimed = True
            answers = self._claim_each(token, entries, suspect, seen)
        except Exception:
            self._give_back(token, may_be_claimed=may_be_claimed)
            raise
        left = self._settle(token, entries, answers)
        passed: list[tuple[str, str]] = []
        waited: dict[str, float] = {}
        for entry in entries:
            why, *rest = answers[entry.id]
            if not why:
                tasks.append(Claimed(entry.id, *rest[:2]))
                waited.update((entry.id, ms / 1000) for ms in rest[2:] if ms is not None and ms <= LONGEST_WAIT * 1000)
                passed += [(entry.id, Passed.RUNNING)] * entry.more
            elif why not in {Passed.CHANGED, Passed.LATER}:
                passed.append((entry.id, why))
        return Claims(tasks, passed, left, waited)

    def _give_back(self, token: str, *, may_be_claimed: bool) -> None:
        """Leave what was taken to others, who may reach the node that failed.

        What is claimed of it they pass over, and this worker finds it when it asks again.
        """
        number = token.rpartition(":")[2]
        with suppress(Exception):
            self._one("give_back", number=number, may_be_claimed="1" if may_be_claimed else "")

    def _claimed_before(self, token: str, known: set[str]) -> list[Claimed]:
        """Return what a claim has got whose answer was lost."""
        held = [each for each in self._client.smembers(self._held) if each not in known]
        # As if nothing had been seen before: only what has this token already is given.
        nothing = {"seen_owner": "-", "max_deliveries": 0, "may_suspect": "", "entry": Entry.FOREIGN}
        answers = self._steps.all(
            self._steps.for_each("claim", held, token=token, max_payload=self._max_payload, **nothing)
        )
        # What was noted for that claim and not claimed: its entry is taken by others by now.
        others = [(each, token) for each, answer in zip(held, answers, strict=True) if answer[0]]
        self._steps.give_up(self.worker, others)
        return [Claimed(each, *answer[1:3]) for each, answer in zip(held, answers, strict=True) if not answer[0]]

    def _note(self, token: str, ids: Sequence[str]) -> tuple[str, list[Any]]:
        """Note that ids are in this worker's hands; return its suspect, and what ``peek.lua`` answers of each."""
        (suspect, anew), *seen = self._steps.all(
            [self._holding(token, ids), *self._steps.for_each("peek", ids)],
        )
        if anew:
            self._make_known()
        return suspect, seen

    def _claim_each(
        self, token: str, entries: Sequence[_Entry], suspect: str, seen: Sequence[Any]
    ) -> dict[str, list[Any]]:
        """Claim what stands in the inbox; return by id what ``claim.lua`` answers."""
        most, cap = self._poison.max_deliveries, self._max_payload
        ids = [entry.id for entry in entries]
        near = [each for each, (_, charges, _) in zip(ids, seen, strict=True) if most and charges >= most - 1]
        chosen = near[0] if near and not self._runs(suspect) else ""
        calls: list[Call] = [
            self._step(
                "claim",
                task_id=entry.id,
                token=token,
                seen_owner=owner,
                max_deliveries=most,
                may_suspect=int(entry.id == chosen),
                entry=entry.kind,
                max_payload=cap,
            )
            for entry, (owner, *_) in zip(entries, seen, strict=True)
        ]
        answers = dict(zip(ids, self._in_parts(calls, [size for *_, size in seen]), strict=True))
        if chosen and not answers[chosen][0]:
            self._client.execute_command("SET", self._keys.suspect(self.worker), chosen)
        return answers

    def _in_parts(self, calls: Sequence[Call], sizes: Sequence[int]) -> list[Any]:
        """Run the scripts, of whose data no more than :data:`REPLY` bytes and one task's come in one reply."""
        answers: list[Any] = []
        begin = total = 0
        for at, size in enumerate(sizes, 1):
            total += min(size, self._max_payload)
            if total >= REPLY or at == len(calls):
                answers += self._steps.all(calls[begin:at])
                begin, total = at, 0
        return answers

    def _holding(self, token: str, ids: Sequence[str], *, claimed: bool = False) -> Call:
        return self._step("hold", ids, token=token, claimed=int(claimed))

    def _runs(self, suspect: str) -> bool:
        """Whether this worker runs a task that one more death would convict."""
        if not suspect:
            return False
        window = self._poison.window_ms
        return bool(self._one("suspected", task_id=suspect, poison_window=window, beat=self._beat))

    def _settle(self, token: str, entries: Sequence[_Entry], answers: dict[str, list[Any]]) -> int:
        """Clear the inbox of what was dealt with, and let go of what was not claimed; return how many ids are left."""
        dealt: list[str] = []
        for entry in entries:
            why = answers[entry.id][0]
            if why != Passed.CHANGED:
                dealt += (entry.id, entry.pushes, _DEALT.get(why, Dealt.PASSED))
        calls = [self._step("taken", dealt, number=token.rpartition(":")[2])]
        mine = [each for each, answer in answers.items() if not answer[0]]
        if mine:
            calls.append(self._holding(token, mine, claimed=True))
        left, *held = self._steps.all(calls)
        if held and held[0][1]:
            self._make_known()
        refused = [(each, *answer) for each, answer in answers.items() if answer[0]]
        # This claim alone: an earlier one may be what runs the task.
        self._steps.let_go(
            self.worker, [(each, alone(token), True) for each, *why in refused if not _stays_active(*why)]
        )
        self._steps.give_up(self.worker, [(each, token) for each, *why in refused if _stays_active(*why)])
        return int(left)

    # Renewing and ending

    def renew(self, tasks: Sequence[tuple[str, str]], lease: float | None = None) -> Renewal:
        now = self._clock()
        before = [task for task, since in self._left.items() if now - since > LEAVING and task not in tasks]
        asked = [*tasks, *before]
        looked, noted, *told = self._steps.all(
            [
                self._looking(lease),
                self._step("still", [each for each, _ in asked] or [""]),
                *self._renewing(asked),
            ]
        )
        if looked[0]:
            self._make_known()
        held = [task for task, there in zip(asked, noted, strict=False) if there]
        rows = list(zip(asked, told, strict=True))
        self._note_again([task for task, what in rows if task not in held and what not in _OVER])
        self._steps.give_up(self.worker, [task for task, what in rows if what in _LOST])
        self._part_with([task for task, what in rows if what == Outcome.LEFT and task in held], before, now)
        forgotten, self._forgotten = self._forgotten, False
        told_of = [(task[0], Outcome.LOST if what in _OVER else what) for task, what in rows[: len(tasks)] if what]
        return Renewal(forgotten, told_of, None if looked[5] is None else looked[5] / 1000)

    def _part_with(self, left: Sequence[tuple[str, str]], before: Sequence[tuple[str, str]], now: float) -> None:
        """Let go of what was leaving already when it was seen before: it is another program that wrote its state.

        It stays in the task set, where a Monitor finds what is to wait and does not.
        """
        for task in before:
            self._left.pop(task, None)  # two renewals may be under way at a time
        for task in left:
            if task not in before:
                self._left.setdefault(task, now)
        self._steps.let_go(
            self.worker, [(each, alone(token), False) for each, token in left if (each, token) in before]
        )

    def _give_up(self, tasks: Sequence[tuple[str, str]]) -> None:
        self._steps.give_up(self.worker, tasks)

    def _renewing(self, tasks: Sequence[tuple[str, str]]) -> list[Call]:
        window = self._poison.window_ms
        return [self._step("renew", task_id=each, token=token, poison_window=window) for each, token in tasks]

    def _note_again(self, tasks: Sequence[tuple[str, str]]) -> None:
        """A failover has lost what was noted. As in a claim: first noted, then looked at, since a task may just end."""
        if not tasks:
            return
        self._steps.all([self._holding(token, [each]) for each, token in tasks])
        told = list(zip(tasks, self._steps.all(self._renewing(tasks)), strict=True))
        self._steps.all(
            [self._holding(token, [each], claimed=True) for (each, token), what in told if what not in _OVER]
        )
        self._steps.give_up(self.worker, [task for task, what in told if what in _OVER])

    def report(
        self,
        events: Sequence[Event],
        endings: Sequence[Ending],
        stopped: Sequence[tuple[str, str]],
        requeue: Sequence[tuple[str, str]],
    ) -> list[str]:
        make = self._step
        last = _LastWords(events)
        calls: list[Call] = [
            *(
                make(
                    "finish",
                    last.of(*each[:2]),
                    task_id=each.id,
                    token=each.token,
                    state=each.state,
                    output=each.output,
                )
                for each in endings
            ),
            *(
                make("leave", last.of(each, token), task_id=each, token=token, why=why)
                for why, tasks in ((Reason.STOP, stopped), (Reason.REQUEUE, requeue))
                for each, token in tasks
            ),
        ]
        # What is left is of tasks that run on.
        emits = [make("emit", said, task_id=each, token=token) for (each, token), said in last.left.items()]
        answers = self._steps.all([*emits, *calls], self._replicas if endings else 0)[len(emits) :]
        ids = [*(each.id for each in endings), *(each for each, _ in stopped), *(each for each, _ in requeue)]
        tokens = [*(each.token for each in endings), *(token for _, token in (*stopped, *requeue))]
        became = list(zip(ids, answers, strict=True))
        front = len(endings) + len(stopped)
        self._placer.put(became[:front], became[front:], self._replicas)
        lost = self._let_go([(each, token, what) for (each, what), token in zip(became, tokens, strict=True)])
        return [each for each, *_ in lost]

    def _let_go(self, rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
        """Take out of this worker's hands what was decided of each id, with its token; return what was not its own."""
        lost = [(each, token) for each, token, what in rows if what in _LOST]
        self._placer.let_go(self.worker, [row for row in rows if row[2] not in _LOST])
        self._steps.give_up(self.worker, lost)
        return lost

    # Reloading is as in one slot: it concerns the hash alone.

    def adopt(self, task_id: str, token: str, name: str, data: str) -> None:
        hold = self._holding(token, [task_id], claimed=True)
        self._steps.all([self._looking(), hold])
        self._one("adopt", task_id=task_id, token=token, name=name, data=data)

    def pass_on(self, tasks: Sequence[Misplaced], task_timeout: float) -> list[PassedOn]:
        steps = self._steps
        able = self._able(tasks, task_timeout)
        leave = [self._step("leave", task_id=each.id, token=each.token, why=Reason.REQUEUE) for each in tasks]
        became = list(zip(tasks, steps.all(leave), strict=True))
        waiting = [task for task, what in became if _waits(what)]
        first = self._place(waiting, able)
        self._let_go([(each.id, each.token, what) for each, what in became])
        self._look_after(waiting, able, task_timeout)
        return [
            PassedOn(able[task.name], parked=not able[task.name], first=task.id in first)
            if _waits(what)
            else PassedOn("", parked=False)
            for task, what in became
        ]

    def _able(self, tasks: Sequence[Misplaced], task_timeout: float) -> dict[str, str]:
        """Return for each name a live worker that knows it, or ''."""
        names = list(dict.fromkeys(task.name for task in tasks))
        able = self._one("able", names, asking=self.worker, task_timeout=int(task_timeout * 1000))
        return dict(zip(names, able, strict=True))

    def _place(self, tasks: Sequence[Misplaced], able: dict[str, str]) -> set[str]:
        """Put ids where they belong; return those that are parked as the first of their names."""
        keys, steps = self._keys, self._steps
        calls: list[Call] = [
            steps.pushing(
                [(task.id, Push.MUST) for task in tasks if able[task.name] == worker], into=keys.inbox(worker)
            )
            for worker in dict.fromkeys(able[task.name] for task in tasks)
            if worker
        ]
        parked = [task for task in tasks if not able[task.name]]
        if parked:
            words = [word for task in parked for word in (task.id, task.name)]
            calls.append(self._step("park", words))
        answers = steps.all(calls) if calls else []
        self._nudge([worker for worker in dict.fromkeys(able[task.name] for task in tasks) if worker])
        return {task.id for task, answer in zip(parked, answers[-1], strict=True) if answer} if parked else set()

    def _nudge(self, workers: Sequence[str]) -> None:
        """Tell workers that something lies in their inboxes; where we may not, they find it by themselves."""
        keys = self._keys
        nudges = [(keys.new_queue, ("PUBLISH", keys.nudges(worker), FILLED)) for worker in workers]
        if nudges:
            Nodes(self._client).run(nudges, resend=True)

    def _look_after(self, tasks: Sequence[Misplaced], able: dict[str, str], task_timeout: float) -> None:
        """Mend what others did between the look for a worker and the step that relied on it."""
        keys = self._keys
        for other in dict.fromkeys(able[task.name] for task in tasks):
            if other and self._client.execute_command("ZSCORE", keys.workers, other) is None:
                # It has left meanwhile, so no worker would look into its inbox any more.
                self._steps.unbox(other)
        parked = [task for task in tasks if not able[task.name]]
        if parked:
            # One that has registered meanwhile perhaps looked before they were there.
            for name in (name for name, worker in self._able(parked, task_timeout).items() if worker):
                self.parked.open_all(name)
