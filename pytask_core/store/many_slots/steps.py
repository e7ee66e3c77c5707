"""``Steps``: sends scripts, each for one slot, and holds the steps that several transitions share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...connection.deadlines import Deadlines
from ...keys import RedisKeys
from ...outcomes import Mark, Push
from ..calls import Call, Calls
from ..sender import run


class Steps:
    """The sender.

    Args:
        client: a cluster client that answers text.
        keys: the names of the system.
        deadlines: with it, each step is carried out in time or never.
    """

    def __init__(self, client: Any, keys: RedisKeys, deadlines: Deadlines | None = None) -> None:
        self._client = client
        #: Returns a step: a script below ``many_slots/``, and what :meth:`.Calls.make` is to know.
        self.make = Calls(keys, folder="many_slots/").make
        self._keys = keys
        self._deadlines = deadlines

    def for_each(self, script: str, ids: Iterable[str], /, **named: Any) -> list[Call]:
        """Return the same step for each of some tasks."""
        make = self.make
        return [make(script, task_id=task_id, **named) for task_id in ids]

    def all(self, calls: Sequence[Call], replicas: int = 0) -> list[Any]:
        """Run scripts in one round trip, those for one slot in order.

        Raises:
            redis.RedisError: one of them failed; the others may have run.
        """
        return run(self._client, *calls, apart=True, replicas=replicas, deadlines=self._deadlines)

    def one(self, script: str, each: Iterable[Any] = (), /, **named: Any) -> Any:
        """Run one script."""
        return self.all([self.make(script, each, **named)])[0]

    # The slot of the new queue

    def pushing(self, entries: Iterable[tuple[str, Push]], side: str = "LPUSH", into: str = "") -> Call:
        """The step that puts ids into the new queue (or ``into`` an inbox); modes as in ``push.lua``."""
        words = [part for entry in entries for part in entry]
        return self.make("push", words, list=into or self._keys.new_queue, side=side)

    def withdraw(self, task_id: str) -> int:
        """See that no entry of an id starts it; return how many of them another program has pushed."""
        return int(self.one("withdraw", task_id=task_id))

    def purge(self, task_id: str) -> None:
        """Take entries out of the queue that :meth:`withdraw` has marked, once the hash says that none starts it."""
        self.one("purge", task_id=task_id)

    def entries(self, ids: Sequence[str], near: int) -> list[int]:
        """Return for each id how many entries of it other programs have pushed to the new queue, near its ends."""
        return [int(each) for each in self.one("entries", ids, near=near)]

    def unpark(self, entries: Iterable[tuple[str, str]]) -> None:
        """Take ids out of where they are parked, each with since when it was as that was looked at."""
        words = [word for entry in entries for word in entry]
        if words:
            self.one("unparked", words)

    def unbox(self, worker: str, *, forget: bool = False) -> int:
        """Put a worker's inbox back to the front of the queue."""
        return int(self.one("unbox", worker=worker, forget=int(forget)))

    # The slot of the task set

    def let_go(self, worker: str, entries: Sequence[tuple[str, str, bool]]) -> None:
        """Take ids out of a worker's hands; each has a token, see ``let_go.lua``, and if it leaves the task set."""
        if entries:
            words = [part for each in entries for part in (each[0], each[1], int(each[2]))]
            self._look_after(self.one("let_go", words, worker=worker))

    def give_up(self, worker: str, entries: Sequence[tuple[str, str]]) -> None:
        """Let go of ids that are not the worker's, each under the token of that claim alone.

        Whoever ends or removes a task leaves its id in the task set as long as a claim is noted. This takes it out.
        """
        if entries:
            self.let_go(worker, [(each, alone(token), False) for each, token in entries])
            self.drop_past([each for each, _ in entries])

    def drop_past(self, ids: Sequence[str]) -> None:
        """Take out of the task set what went on or was removed while a claim was noted, or before it was put there."""
        active = self.all(self.for_each("passed", ids)) if ids else []
        self.deactivate([each for each, is_active in zip(ids, active, strict=True) if not is_active])

    def deactivate(self, ids: Sequence[str]) -> int:
        """Take ids out of the task set, and those in a worker's hands once it lets go of them; return how many."""
        if not ids:
            return 0
        count = int(self.one("deactivate", ids))
        self._look_after(ids)
        return count

    def _look_after(self, ids: Sequence[str]) -> None:
        """Put back what has left the task set and was stopped by somebody between the step before that and this."""
        answers = self.all(self.for_each("is_stopped", ids)) if ids else []
        self.activate([each for each, is_stopped in zip(ids, answers, strict=True) if is_stopped])

    def activate(self, ids: Sequence[str]) -> None:
        """Put ids into the task set, to stay there also where a worker is about to let go of them."""
        if ids:
            self.one("activate", ids)
            self.drop_past(ids)

    # The slot of the end queue

    def ending(self, worker: str, ids: Sequence[str], number: int | None = None) -> Call:
        """The step that puts ids into the end queue.

        Args:
            worker: whose report it is.
            ids: which.
            number: of the report; None: they may stand in the queue already.
        """
        is_again = number is None
        return self.make("ended", ids, worker=worker, again=int(is_again), number="" if is_again else number)


def alone(token: str) -> str:
    """Return a claim token as ``let_go.lua`` takes it, where it stands for that claim alone."""
    return f"{Mark.ALONE}{token}"
