"""``Placer``: puts ids where they go after a decision, and then takes them away from where they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...outcomes import Outcome, Place, place_of
from ..calls import Call
from .steps import Steps

#: An id and the outcome of its decision, as its script answers it.
Row = tuple[str, str]


class Placer:
    """Runs the steps that :data:`~pytask_core.outcomes.PLACES` asks for.

    Args:
        steps: what to send them with.
        worker: whose reports to the end queue they are; '' for no worker's.
    """

    def __init__(self, steps: Steps, worker: str = "") -> None:
        self._steps = steps
        self._worker = worker
        self._reports = 0

    def place(self, rows: Sequence[Row], replicas: int = 0) -> None:
        """Put ids that are in no worker's hands where they go, behind those that wait, and out of where they were."""
        self.put(rows, replicas=replicas)
        self.keep(rows)
        self.take_out(rows)

    def put(self, back: Sequence[Row] = (), front: Sequence[Row] = (), replicas: int = 0) -> None:
        """Put ids into the new queue, behind those that wait or before them, and into the end queue."""
        rows = [*back, *front]
        calls, places = [*self._ending(rows)], _places(rows)
        for part, side in ((back, "LPUSH"), (front, "RPUSH")):
            entries = [(each, push) for each, outcome in part if (push := places[outcome].queue) is not None]
            if entries:
                calls.append(self._steps.pushing(entries, side))
        if calls:
            self._steps.all(calls, replicas)
        half = {outcome for outcome, place in places.items() if place.half and place.queue is not None}
        self._last([each for each, outcome in rows if outcome in half] if half else (), replicas)

    def keep(self, rows: Iterable[Row]) -> None:
        """Put ids into the task set that belong there."""
        rows = list(rows)
        stay = {outcome: place for outcome, place in _places(rows).items() if place.active}
        if stay:
            self._steps.activate([each for each, outcome in rows if outcome in stay])
            self._last([each for each, outcome in rows if outcome in stay and stay[outcome].half])

    def take_out(self, rows: Iterable[Row]) -> None:
        """Take ids out of the task set that do not belong there; those in a worker's hands once it lets go of them."""
        rows = list(rows)
        leave = {outcome for outcome, place in _places(rows).items() if place.active is False}
        if leave:
            self._steps.deactivate([each for each, outcome in rows if outcome in leave])

    def let_go(self, worker: str, rows: Iterable[tuple[str, str, str]]) -> None:
        """Take ids out of a worker's hands, and those that do not belong there out of the task set.

        Args:
            worker: whose hands.
            rows: of each its id, its claim token as ``let_go.lua`` takes it, and the outcome.
        """
        self._steps.let_go(worker, [(each, token, place_of(what).active is False) for each, token, what in rows])

    def _ending(self, rows: Sequence[Row]) -> Iterable[Call]:
        ended = [each for each, outcome in rows if outcome == Outcome.ENDED]
        again = [each for each, outcome in rows if outcome == Outcome.ENDED_BEFORE]
        if ended and self._worker:
            # Numbered, so that one which is sent twice is done once, without a look for each id.
            self._reports += 1
            yield self._steps.ending(self._worker, ended, self._reports)
            ended = []
        if ended or again:
            yield self._steps.ending(self._worker, [*ended, *again])

    def _last(self, ids: Sequence[str], replicas: int = 0) -> None:
        """Make hashes last that expire until their ids are where they are to be."""
        if ids:
            self._steps.all(self._steps.for_each("queued", ids), replicas)


def _places(rows: Iterable[Row]) -> dict[str, Place]:
    """Return the place of each outcome. Most rows of a batch share one, so it is not looked up for each row."""
    return {outcome: place_of(outcome) for outcome in {row[1] for row in rows}}
