"""``Parts``: the parts of one worker, tied together, and in which order they start and stop."""

from __future__ import annotations

from gevent.event import Event

from ..connection import disconnect
from ..maintenance.means import Means
from ..process.service import Service
from ..task import Tools
from .app import WorkerApp
from .claiming.allowance import Allowance
from .claiming.backpressure import Backpressure
from .claiming.claimer import Claimer, Intake
from .claiming.early import Early
from .claiming.nudges import Nudges
from .claiming.parking import Parking
from .command_listener import CommandListener
from .executor import Executor
from .leasing.heartbeat import Heartbeat
from .leasing.partition_guard import PartitionGuard
from .local_tasks import LocalTasks
from .recovery import Recovery
from .redis_access import RedisAccess
from .reporter import Reporter


class Parts:
    """All parts.

    Args:
        worker: the id of the worker.
        app: what it runs.
        tools: what its tasks are given.
        stop: set once the worker is to stop.
        max_tasks: how many tasks may end in it before it is replaced; 0: no limit.
    """

    def __init__(self, worker: str, app: WorkerApp, tools: Tools, stop: Event, max_tasks: int) -> None:
        config, keys = app.config, app.config.keys
        self.worker = worker
        self.redis = redis = RedisAccess(worker, app)
        store, link = redis.store, redis.link
        # The way of a task, from its end backwards.
        self.reporter = Reporter(store, link)
        self.executor = executor = Executor(app.classes, store, self.reporter, link, config, tools, app.middlewares)
        self.allowance = Allowance(max_tasks, executor)
        self.backpressure = Backpressure()
        early = Early(store, link)
        nudges = Nudges(keys.nudges(worker), store, link, redis.takes.cut_own, self.allowance)
        intake = Intake(self.allowance, self.backpressure, config.concurrency)
        self.claimer = Claimer(store, link, executor, intake, nudges, early)
        parking = Parking(store, link, app.classes, config.task_timeout, executor.settle)
        executor.on_misplaced = parking.add
        self.local_tasks = LocalTasks(
            app.local_tasks, store, executor, link, self.claimer.next_token, stop, config.max_payload
        )
        link.on_back.append(self.local_tasks.resume)
        # What keeps it ours.
        self.partition_guard = PartitionGuard(executor, redis.lease, self.local_tasks)
        heartbeat = Heartbeat(store, executor, link, redis.lease, self.partition_guard, self.local_tasks)
        listener = CommandListener(redis.listening, keys, executor, link, nudges, heartbeat)
        # What it does for others.
        self.recovery = Recovery(link, redis.keeper, redis.takes, app.helpers)
        self.means = Means(worker, redis.keeper, link, app.source.own_client)
        #: In the order in which they start: what sends and renews comes before what brings tasks. They stop the other
        #: way round.
        self.services: tuple[Service, ...] = (
            self.reporter,
            heartbeat,
            self.partition_guard,
            nudges,
            listener,
            parking,
            self.backpressure,
            self.local_tasks,
            early,
            self.claimer,
        )

    def start(self) -> None:
        """Start all; returns once local tasks are made, or have had their time."""
        self.redis.link.begin()
        for service in self.services:
            service.start()

    def stop(self) -> None:
        """Nothing renews, takes or sends any more; what is handed back for others goes on. May be called again."""
        for service in reversed(self.services):
            service.stop()
        disconnect(self.redis.waiting)

    def close(self) -> None:
        """End everything, and close the connections."""
        self.redis.link.close()
        self.stop()
        self.recovery.stop()
        self.redis.close()
