"""The only room that reads or writes task data in Redis. One class for each kind of caller:

- :class:`~.client.ClientStore`: whoever starts, stops and looks at tasks (the helpers);
- :class:`~.worker.WorkerStore`: a worker, for what it claims, renews and ends;
- :class:`~.keeper.KeeperStore`: Monitor and Cleanup.

This is the one-slot regime: every key of the system lies in one slot (a single server, Sentinel, or a cluster with
names that share a hash tag), so each transition is one atomic script over a batch. A regime for many slots will stand
beside it as a second set of these classes, with the same methods.
"""

from .client import ClientStore
from .keeper import HandedBack, KeeperStore
from .worker import Claimed, Claims, Ending, Event, Reloaded, Renewal, WorkerStore

__all__ = [
    "Claimed",
    "Claims",
    "ClientStore",
    "Ending",
    "Event",
    "HandedBack",
    "KeeperStore",
    "Reloaded",
    "Renewal",
    "WorkerStore",
]
