"""The only room that reads or writes task data in Redis. One class for each kind of caller:

- :class:`~.client.ClientStore`: whoever starts, stops and looks at tasks (the helpers);
- :class:`~.worker.WorkerStore`: a worker, for what it claims, renews and ends;
- :class:`~.keeper.KeeperStore`: Monitor and Cleanup.

Two regimes with the same methods. **One slot** (these classes): every key of the system lies in one slot (a single
server, Sentinel, or a cluster with names that share a hash tag), so each transition is one atomic script over a batch.
**Many slots** (:mod:`.many_slots`): a cluster with other names, where each transition is a row of steps. :func:`regime`
chooses.
"""

from __future__ import annotations

from typing import NamedTuple

from .calls import BATCH
from .client import ClientStore
from .keeper import HandedBack, KeeperStore
from .many_slots.client import ManySlotsClientStore
from .many_slots.keeper import ManySlotsKeeperStore
from .many_slots.worker import ManySlotsWorkerStore
from .worker import Claimed, Claims, Ending, Event, Misplaced, PassedOn, Reloaded, Renewal, WorkerStore


class Regime(NamedTuple):
    """The classes that fit where the keys lie."""

    client: type[ClientStore]
    worker: type[WorkerStore]
    keeper: type[KeeperStore]


def regime(*, one_slot: bool) -> Regime:
    """Return the classes for keys that lie in one slot, or in many."""
    if one_slot:
        return Regime(ClientStore, WorkerStore, KeeperStore)
    return Regime(ManySlotsClientStore, ManySlotsWorkerStore, ManySlotsKeeperStore)


__all__ = [
    "BATCH",
    "Claimed",
    "Claims",
    "ClientStore",
    "Ending",
    "Event",
    "HandedBack",
    "KeeperStore",
    "Misplaced",
    "PassedOn",
    "Regime",
    "Reloaded",
    "Renewal",
    "WorkerStore",
    "regime",
]
