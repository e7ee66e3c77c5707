"""What clients do with tasks, in many slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from ...connection.deadlines import Deadlines
from ...keys import RedisKeys
from ...outcomes import Outcome, place_of
from ..calls import BATCH
from ..client import ClientStore
from .placer import Placer
from .steps import Steps


class ManySlotsClientStore(ClientStore):
    """The client's transitions in steps. Reading is as in one slot."""

    _many_slots = True

    def __init__(
        self,
        client: Any,
        keys: RedisKeys,
        replicas: int = 0,
        steps: Steps | None = None,
        *,
        deadlines: Deadlines | None = None,
    ) -> None:
        super().__init__(client, keys, replicas, deadlines=deadlines)
        self._steps = steps or Steps(client, keys, self._deadlines)
        self._placer = Placer(self._steps)

    def enqueue(self, tasks: Iterable[tuple[str, str, str, bool]]) -> Iterator[tuple[str, bool]]:
        rest = iter(tasks)
        while batch := list(islice(rest, BATCH)):
            make = self._steps.make
            answers: list[str] = self._steps.all(
                [
                    make("begin", task_id=task_id, name=name, data=data, cleanup="" if cleanup else "false")
                    for task_id, name, data, cleanup in batch
                ],
                self._replicas,
            )
            self._placer.place(list(zip((task[0] for task in batch), answers, strict=True)), self._replicas)
            for task, answer in zip(batch, answers, strict=True):
                yield task[0], answer != Outcome.WRONG_TYPE

    def _stop(self, task_id: str) -> str:
        # First, so that an entry which a start makes after the stop is not taken for the old one.
        foreign, since = self._steps.withdraw(task_id), self._since(task_id)
        outcome: str = self._steps.one("stop", task_id=task_id, foreign=foreign)
        self._placer.place([(task_id, outcome)])
        if place_of(outcome).active:
            self._unpark(task_id, since)
            self._steps.purge(task_id)
        return outcome

    def _restart(self, task_id: str, states: Sequence[str]) -> str:
        outcome: str = self._steps.one("restart", states, task_id=task_id)
        self._placer.place([(task_id, outcome)], self._replicas)
        return outcome

    def remove(self, task_id: str) -> bool:
        # First, so that an entry which a start makes after the removal is not taken for the old one.
        self._steps.withdraw(task_id)
        since = self._since(task_id)
        outcome, owner = self._steps.one("remove", task_id=task_id)
        # Of a task that has just stopped or ended too: its worker lets go of it a step later, and until then it counts
        # as in its hands.
        worker = owner.rpartition(":")[0]
        if worker:
            self._steps.let_go(worker, [(task_id, owner, True)])
        gone = self._steps.deactivate([task_id])
        self._unpark(task_id, since)
        self._steps.purge(task_id)
        return outcome == Outcome.GONE or gone > 0

    def _since(self, task_id: str) -> str:
        """Since when an id is parked, '' where it is not."""
        return str(self._steps.one("since", task_id=task_id))

    def _unpark(self, task_id: str, since: str) -> None:
        """Take an id out of where it is parked, since its hash says by now that it does not wait."""
        if since:
            self._steps.unpark([(task_id, since)])
