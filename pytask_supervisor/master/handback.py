"""``Handback``: the dead workers whose tasks a live worker must put back into the queue.

An order stands until a worker confirms it. Carrying it out twice does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pytask_supervisor.master.death_log import Kind
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.worker_handle import WorkerHandle
from pytask_supervisor.master.worker_pool import WorkerPool

#: Seconds after which an order goes to another worker as well: the first may be busy or hang.
#: Shorter: more of them do the same thing while Redis is away. Longer: a hanging one delays more.
PATIENCE = 2.0


@dataclass
class _Order:
    worker_id: str
    #: Whose tasks they were, for the log.
    whose: str
    #: By which of its tasks it hung, and where, if it was killed for that.
    culprit: str = ""
    why: str = ""
    carrier: int | None = None
    given_at: float = 0.0
    #: All that were ever told of it.
    told: set[int] = field(default_factory=set)


class Handback(Part):
    """Open orders, and who has been told."""

    def __init__(self, pool: WorkerPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._orders: dict[str, _Order] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def add(self, dead: WorkerHandle) -> None:
        """Its claims are to be handed back, if it ever could have had some."""
        if dead.worker_id is not None:
            order = self._orders[dead.worker_id] = _Order(dead.worker_id, str(dead))
            if dead.culprit and dead.cause is not None and dead.cause.kind is Kind.HANG:
                order.culprit, order.why = dead.culprit, dead.blocked

    def turn(self) -> None:
        """See ``Part``: give each order that no worker has, or that one has had too long, to a ready worker."""
        workers = sorted(self._pool.ready, key=lambda worker: worker.slot)
        for order in self._orders.values():
            worker = self._choose(order, workers)
            if worker is not None:
                # If it cannot be sent, the carrier is dead or deaf, and the next one's turn comes.
                named = {"culprit": order.culprit, "why": order.why} if order.culprit else {}
                worker.channel.send({"hand_back": order.worker_id, **named})
                order.carrier, order.given_at = worker.pid, self._clock()
                order.told.add(worker.pid)

    def confirm(self, worker_id: str, by: WorkerHandle) -> str | None:
        """The order is carried out; tells whose tasks they were. None: that was known, or ``by`` has no such order."""
        order = self._orders.get(worker_id)
        if order is None or by.pid not in order.told:
            return None
        del self._orders[worker_id]
        return order.whose

    @property
    def deadline(self) -> float | None:
        """See ``Part``: when an order goes to another worker as well."""
        if not self._orders or len(self._pool.ready) < 2:  # noqa: PLR2004 - "another" needs two
            return None
        return min(order.given_at for order in self._orders.values()) + PATIENCE

    def _choose(self, order: _Order, workers: list[WorkerHandle]) -> WorkerHandle | None:
        carried_by = [worker for worker in workers if worker.pid == order.carrier]
        if carried_by and self._clock() < order.given_at + PATIENCE:
            return None
        others = [worker for worker in workers if worker.pid != order.carrier]
        if not others:
            return None
        after = [worker for worker in others if carried_by and worker.slot > carried_by[0].slot]
        return (after or others)[0]
