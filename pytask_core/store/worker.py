"""What a worker does with tasks: take, claim, renew, end, give back. Every write carries the claim token.

A token is ``<worker id>:<number of the claim>``: unique to one claim of one batch, so a copy that lost its task can
neither end nor renew nor speak for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from ..connection.nodes import Command, Nodes
from ..keys import RedisKeys
from ..outcomes import Parking
from ..payload import MAX_PAYLOAD
from ..policy.poison import PoisonRule
from ..states import TaskState
from .calls import BATCH, Call, Calls
from .parked import Parked
from .sender import run

#: Ids without a hash that are looked at again at once. More finds late hashes sooner where there are many, fewer lets
#: others have their turn on the server sooner.
EARLY = 200

#: Seconds for which an id without a hash is looked at again. Longer bears slower clients, shorter tells sooner.
EARLY_FOR = 2.0

#: What a worker is told on its channel of nudges: something that it may claim lies in its inbox.
FILLED = "filled"

#: Values of ``state`` with which a task waits.
_WAIT = {None, "", TaskState.WAIT}

#: Bytes of data in one reply, and one task's more. More saves round trips, fewer holds the loop up for less.
REPLY = 16 * 1024 * 1024

#: Seconds in the queue that are counted, a year: what is longer is not a time that any of our scripts wrote.
LONGEST_WAIT = 366 * 86_400.0


class Claimed(NamedTuple):
    """A task that is now this worker's."""

    id: str
    name: str | None
    data: str | int | None  #: JSON, or how many bytes of it there are, more than ``max_payload``


class Claims(NamedTuple):
    """The answer to a claim."""

    tasks: list[Claimed]
    passed: list[tuple[str, str]]  #: ids from the queue that are not to run, and why
    left: int  #: ids still in the queue
    #: Seconds that each stood in the queue, where whoever put it there wrote down when.
    waited: Mapping[str, float] = MappingProxyType({})


class Event(NamedTuple):
    """An event of a task, as it is to be published."""

    id: str
    token: str
    payload: str


class Ending(NamedTuple):
    """How a task ended."""

    id: str
    token: str
    state: str
    output: str  #: JSON


class Renewal(NamedTuple):
    """The answer to a renewal."""

    forgotten: bool  #: since the last renewal Redis had forgotten this worker, which is registered again
    told: list[tuple[str, str]]  #: id and ``lost``, or the command that is recorded for it
    asked: float | None = None  #: the lease in seconds that the Monitors ask for, where a promise was made


class Misplaced(NamedTuple):
    """A task in the hands of a worker that does not know its name."""

    id: str
    token: str
    name: str


class PassedOn(NamedTuple):
    """Where a task is that its worker did not know."""

    worker: str  #: the one that has it now, '' for none
    parked: bool  #: it waits until a worker knows its name; where neither, it is no longer the worker's own
    first: bool = False  #: and is the first of that name to do so


class Reloaded(NamedTuple):
    """A task's fields, read again."""

    command: str | None
    name: str | None
    data: str | int | None  #: as of :class:`Claimed`


class WorkerStore:
    """A worker's transitions, each one script over a batch.

    Args:
        client: a Redis client that answers text and resends nothing.
        blocking: another, used for blocking takes alone, so that nothing queues behind them.
        keys: the names of the system.
        worker: this worker's id, unique to one life of one process.
        poison: when a task that kills its worker is no longer run.
        replicas: how many must have an end before it counts; see ``durability``.
        max_payload: bytes of data that are read of a task.
    """

    _many_slots = False

    def __init__(
        self,
        client: Any,
        blocking: Any,
        keys: RedisKeys,
        worker: str,
        poison: PoisonRule | None = None,
        replicas: int = 0,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:
        self._max_payload = max_payload
        self._poison = poison or PoisonRule()
        self._replicas = replicas
        self._client = client
        self._blocking = blocking
        self._keys = keys
        self.worker = worker
        self._calls = Calls(keys, worker)
        self._names: list[str] = []
        self._registered = False
        self._forgotten = False
        #: The lease in seconds that was promised last, or is to be promised first.
        self.lease = 60.0
        self._promises = 0
        #: The ids whose task name no worker knows.
        self.parked = Parked(client, keys, many_slots=self._many_slots)
        #: Called once Redis knows, or knows again, which names this worker knows.
        self.on_known: Callable[[], object] = lambda: None
        self._held = keys.held(worker)
        self._inbox = keys.inbox(worker)

    def register(self, names: Iterable[str]) -> None:
        """Make this worker known, with the task names it can run."""
        self._names = list(names)
        anew, *_ = run(self._client, self._renewal([]))[0]
        self._make_known(anew and self._registered)
        self._registered = True

    def rehearse(self) -> list[str]:
        """Try what servers refuse that serve all the rest, without an effect.

        Returns:
            Sentences on what will be missing, for the log.

        Raises:
            redis.RedisError: the server refuses what no worker can do without.
        """
        take = ("BLMOVE", self._inbox, self._inbox, "RIGHT", "RIGHT", 0.001)
        # On a channel that no program listens to by itself: that of a task with the worker's id.
        channel = self._keys.task(self.worker)
        commands: list[Command] = [(self._inbox, take), (channel, ("PUBLISH", channel, "{}"))]
        if self._replicas:
            commands.append((self._inbox, ("WAIT", 0, 1)))
        moved, published, *confirmed = Nodes(self._client).run(commands)
        for answer in (moved, *confirmed):
            if isinstance(answer, Exception):
                raise answer
        if not isinstance(published, Exception):
            return []
        lost = "the events of tasks are lost, and stops and reloads are found by the next renewal"
        remedy = "give the user of Redis the right &* (all channels)"
        return [f"nothing can be published on channels such as {channel} ({published}): {lost}; {remedy}"]

    def note_names(self) -> None:
        """Note which names this worker knows, also where that note got lost."""
        if self._names:
            # An id of a worker is never used again, so nothing has to be taken away before.
            self._client.execute_command("SADD", self._keys.names(self.worker), *self._names)

    def _make_known(self, anew: bool = True) -> None:
        self._forgotten = self._forgotten or anew
        if anew:
            # Who registers by a claim has promised nothing; until now it was judged by what its Monitor's app wants.
            promised = "{promise} {lease}".format(**self._promise())
            self._client.execute_command("HSET", self._keys.leases, self.worker, promised)
        if self._names:
            self.note_names()
            # Not before: what is parked after this look finds the name, and what was parked before it is found.
            self.on_known()

    def take(self, timeout: float) -> bool:
        """Wait until an id can be moved from the new queue to this worker's inbox.

        Args:
            timeout: seconds to wait at most; less than the socket's timeout.

        Returns:
            Whether the inbox may hold something now.
        """
        # The beat goes first, in the same packet: an id in the inbox of a worker that nobody knows would be lost.
        take = ("BLMOVE", self._keys.new_queue, self._inbox, "RIGHT", "LEFT", timeout)
        (anew, *_), moved = run(self._blocking, self._renewal([]), take)
        if anew:
            self._make_known()
        return moved is not None

    def take_and_claim(self, timeout: float, token: str, room: int) -> Claims:
        """Wait as in :meth:`take`, and claim what then lies in the inbox; both in one round trip.

        Args:
            timeout: as in :meth:`take`.
            token: new for each call. Where its answer is lost, :meth:`claim` with ``again`` gets what it claimed.
            room: how many at most.
        """
        take = ("BLMOVE", self._keys.new_queue, self._inbox, "RIGHT", "LEFT", timeout)
        claim = self._claiming(token, room, is_taken=True)
        (anew, *_), _, answer = run(self._blocking, self._renewal([]), take, claim)
        if anew:
            self._make_known()
        return self._claims(answer)

    def claim(self, token: str, room: int, *, insist: bool = False, again: bool = False) -> Claims:
        """Claim tasks from the inbox and the new queue.

        Args:
            token: new for each claim.
            room: how many at most.
            insist: take a part of the queue even when this worker holds its share already.
            again: the reply to a claim with this token was lost; get what it claimed.
        """
        return self._claims(run(self._client, self._claiming(token, room, insist=insist, again=again))[0])

    def decline(self) -> None:
        """Leave what others have put into this worker's inbox to workers that can begin it, the oldest ``BATCH`` of it.

        Until :meth:`accept`, others are given tasks of its names first.
        """
        self._run("many_slots/unable")
        self._run("many_slots/decline", limit=BATCH, counts=int(self._many_slots))

    def accept(self) -> None:
        """Be given tasks again, after :meth:`decline`."""
        self._client.execute_command("SREM", self._keys.names(self.worker), "")

    def _claiming(
        self, token: str, room: int, *, insist: bool = False, again: bool = False, is_taken: bool = False
    ) -> Call:
        return self._calls.make(
            "claim",
            token=token,
            room=min(room, BATCH),
            insist=int(insist),
            again=int(again),
            max_deliveries=self._poison.max_deliveries,
            poison_window=self._poison.window_ms,
            is_taken=int(is_taken),
            max_payload=self._max_payload,
            reply=REPLY,
        )

    def _claims(self, answer: Any) -> Claims:
        claimed, passed, left, anew, now = answer
        if anew:
            self._make_known()
        rows = range(0, len(claimed), 4)
        tasks = [Claimed(*claimed[i : i + 3]) for i in rows]
        waited = {claimed[i]: each for i in rows if (each := _waited(claimed[i + 3], now)) is not None}
        return Claims(tasks, _pairs(passed), left, waited)

    def look_at_early(self) -> tuple[list[str], int]:
        """Look again at ids that came before their hash, the first ``EARLY`` of them: what has one goes to the queue.

        Returns:
            Those that are given up, and how many are left.
        """
        keys = self._keys
        found = _pairs(self._run("many_slots/early", limit=EARLY, over=int(EARLY_FOR * 1000)))
        asked = [(keys.task(each), ("HMGET", keys.task(each), "state", "task")) for each, _ in found]
        rows = Nodes(self._client).run(asked, resend=True) if asked else []
        # Another type at the key is for a claim to tell of.
        seen = {each: [""] if isinstance(row, Exception) else row for (each, _), row in zip(found, rows, strict=True)}
        come = [each for each, row in seen.items() if row[0] in _WAIT and any(x is not None for x in row)]
        over = [each for each, is_over in found if is_over and seen[each] == [None, None]]
        # What runs or has run meanwhile was queued by the program that wrote its hash.
        past = [each for each, row in seen.items() if row[0] not in _WAIT]
        return over, int(self._run("many_slots/late_hash", [*come, *over, *past], with_hash=len(come)))

    def renew(self, tasks: Sequence[tuple[str, str]], lease: float | None = None) -> Renewal:
        """Renew the worker's lease and the ``last_update`` of tasks, at most ``BATCH`` of them.

        Args:
            tasks: id and token of each.
            lease: seconds of silence that the worker promises to stay below, and keeps to already; None: as before.
        """
        anew, told, asked = run(self._client, self._renewal(tasks, lease))[0]
        if anew:
            self._make_known()
        forgotten, self._forgotten = self._forgotten, False
        return Renewal(forgotten, _pairs(told), None if asked is None else asked / 1000)

    def _renewal(self, tasks: Sequence[tuple[str, str]], lease: float | None = None) -> Call:
        promise = self._promise(lease)
        return self._calls.make("renew", _flat(tasks), poison_window=self._poison.window_ms, **promise)

    def _promise(self, lease: float | None = None) -> dict[str, Any]:
        """As the scripts take it: number, milliseconds, and whether it counts from now on."""
        if lease is not None:
            self.lease = lease
            self._promises += 1
        return {"promise": self._promises, "lease": int(self.lease * 1000), "counts": "" if lease is None else "1"}

    def _give_up(self, tasks: Sequence[tuple[str, str]]) -> None:
        """Let go of what turned out to be no longer this worker's (id, token), and will not be renewed any more."""
        if tasks:
            run(self._client, self._renewal(tasks))

    def report(
        self,
        events: Sequence[Event],
        endings: Sequence[Ending],
        stopped: Sequence[tuple[str, str]],
        requeue: Sequence[tuple[str, str]],
    ) -> list[str]:
        """Send what became of tasks, in one round trip: events first, so that none comes after its task's end.

        Args:
            events: to publish.
            endings: to write; each with its final event.
            stopped: id and token of tasks that were stopped on purpose.
            requeue: id and token of tasks to put back to the front of the queue.

        Returns:
            The ids of endings, stops and requeues that were refused: no longer this worker's own.
        """
        make = self._calls.make
        batch: list[Call] = []
        if events:
            batch.append(make("emit", _flat(events)))
        if endings:
            batch.append(make("finish", _alike(endings)))
        if stopped:
            batch.append(make("stopped", _flat(stopped)))
        if requeue:
            batch.append(make("requeue", _flat(requeue)))
        answers = run(self._client, *batch, replicas=self._replicas if endings else 0)
        if events:
            answers = answers[1:]
        return [task_id for refused in answers for task_id in refused]

    def reload(self, task_id: str, token: str) -> Reloaded | None:
        """Read a task again whose old copy has stopped; None where it is no longer this worker's own."""
        answer = self._run("reload", task_id=task_id, token=token, max_payload=self._max_payload)
        if not answer:
            self._give_up([(task_id, token)])
            return None
        return Reloaded(*answer)

    def adopt(self, task_id: str, token: str, name: str, data: str) -> None:
        """Register a local task, born in this worker's hands."""
        self._run("adopt", task_id=task_id, token=token, name=name, data=data)

    def pass_on(self, tasks: Sequence[Misplaced], task_timeout: float) -> list[PassedOn]:
        """Take tasks out of this worker's hands whose names it does not know: to a live worker that does, or to where
        they wait until one registers.

        Args:
            tasks: at most ``BATCH``.
            task_timeout: seconds without a beat after which a worker is not live.
        """
        answers = self._run("pass_on", _flat(tasks), task_timeout=int(task_timeout * 1000), filled=FILLED)
        self._give_up([(task.id, task.token) for task, answer in zip(tasks, answers, strict=True) if answer is None])
        return [_NOT_OURS if answer is None else passed_on(answer) for answer in answers]

    def _run(self, script: str, each: Iterable[Any] = (), /, **named: Any) -> Any:
        return run(self._client, self._calls.make(script, each, **named))[0]


_NOT_OURS = PassedOn("", parked=False)


def passed_on(answer: str) -> PassedOn:
    """Return what ``pass_on.lua`` says of a task that was the worker's own."""
    if answer in (Parking.FIRST, Parking.MORE):
        return PassedOn("", parked=True, first=answer == Parking.FIRST)
    return PassedOn(answer, parked=False)


def _waited(since: str | None, now: int) -> float | None:
    """Seconds from a ``last_update`` to ``now``, in milliseconds; None where there is none, or it is no such time."""
    try:
        waited = now / 1000 - float(since) if since else -1.0
    except ValueError:
        return None
    # False also of NaN. A few milliseconds ahead is the stamp's rounding.
    return max(0.0, waited) if -1.0 < waited <= LONGEST_WAIT else None


def _flat(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [part for row in rows for part in row]


def _alike(endings: Sequence[Ending]) -> list[Any]:
    """As ``finish.lua`` reads them: what neighbours have in common once, since each argument costs the server time."""
    args: list[Any] = []
    for (token, state), group in groupby(endings, key=attrgetter("token", "state")):
        rows = [part for each in group for part in (each.id, each.output)]
        args += (token, state, len(rows) // 2, *rows)
    return args


def _pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    return [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
