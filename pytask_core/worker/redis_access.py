"""``RedisAccess``: the connections, the stores and the link of one worker."""

from __future__ import annotations

from ..connection import disconnect
from ..connection.link import RedisLink
from ..store import regime
from .app import WorkerApp
from .leasing.lease import Lease
from .leasing.registration import Registration
from .takes import Takes, take_name

#: Connections for claims, reports, renewals and Monitor. Each part has one exchange under way at a time.
CONNECTIONS = 8

#: What the log says of a cluster.
_ONE_SLOT = " (all keys in one slot, each transition one atomic script)"
_MANY_SLOTS = (
    " (keys in many slots, transitions in steps; a shared hash tag such as {pytask}tasks would make them atomic)"
)


class RedisAccess:
    """One worker's.

    Args:
        worker: its id.
        app: what it runs.
    """

    def __init__(self, worker: str, app: WorkerApp) -> None:
        source, config, keys = app.source, app.config, app.config.keys
        #: Clients: for all that is answered at once, for blocking takes, and for the control channels.
        self.commands = source.store_client(CONNECTIONS)
        self.waiting = source.own_client(take_name(worker))
        self.listening = source.own_client(f"pytask-control-{worker}")
        stores = regime(one_slot=not source.is_cluster or keys.one_slot)
        self.store = stores.worker(
            self.commands, self.waiting, keys, worker, config.poison, config.replicas, config.max_payload
        )
        self.keeper = stores.keeper(self.commands, keys, config.poison)
        self.lease = Lease(config.task_timeout, config.update_task_interval, config.partition_grace)
        self.store.lease = self.lease.seconds
        self.registration = Registration(source, self.commands, self.store, keys, app.classes)
        self.link = RedisLink(source.describe(), self.registration.renew, lambda: self.lease.grace)
        self.takes = Takes(worker, self.commands, self.waiting, keys.new_queue, self.link)
        where_keys_lie = "" if not source.is_cluster else _ONE_SLOT if keys.one_slot else _MANY_SLOTS
        #: Where tasks come from, for the log.
        self.where = source.describe() + where_keys_lie

    def close(self) -> None:
        """Close all connections of the worker's own."""
        self.link.close()
        disconnect(self.waiting, self.listening, self.commands)
