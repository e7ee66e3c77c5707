"""``PyTask``: an app; holds its options and task classes, and runs a ``Worker``."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar, overload

from gevent import monkey

from . import errors
from .config import CoreConfig
from .connection import CLIENT_CONNECTIONS, RedisSource
from .errors import PyTaskException
from .exception_handlers import ExceptionHandlers
from .helpers import PyTaskHelpers
from .keys import RedisKeys
from .payload import MAX_PAYLOAD, encode
from .policy.poison import PoisonRule
from .process import log_lines
from .process.signals import hear
from .task import Task
from .task_classes import name_of, refuse_unfit
from .worker.app import WorkerApp
from .worker.worker import Worker

__all__ = ["PyTask", "PyTaskException"]

log = logging.getLogger("pytask")
log_lines.install()

T = TypeVar("T")


class _Option(Generic[T]):
    """An option of the app as an attribute. One that is set replaces the configuration of later workers."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, app: None, _owner: type) -> _Option[T]: ...

    @overload
    def __get__(self, app: PyTask, _owner: type) -> T: ...

    def __get__(self, app: PyTask | None, _owner: type) -> T | _Option[T]:
        if app is None:
            return self
        value: T = getattr(app._config, self._name)
        return value

    def __set__(self, app: PyTask, value: T) -> None:
        changes: Any = {self._name: value}
        app._config = replace(app._config, **changes)


class PyTask:
    """A daemon that runs tasks in greenlets, with all state in Redis.

    Args:
        redis_instance: a client (with or without ``decode_responses``), a dict such as ``{'host': …, 'port': …}``, a
            list of ``(host, port)`` or such dicts (one: a plain client, several: a cluster client), a URL, or None
            (``PYTASK_REDIS_URL``, else localhost:6379).
        update_task_interval: seconds between renewals of running tasks; default 5, or a quarter of a ``task_timeout``
            below 20. Shorter finds a missed stop sooner, longer costs less. ``task_timeout`` stretches to four times
            it, unless ``partition_grace`` is given.
        task_set: name of the task set.
        task_prefix: what stands before an id in its key.
        new_queue: name of the queue of waiting ids.
        end_queue: name of the queue of ended ids.
        concurrency: tasks at once in one worker; 0 for no bound. More shares one process among more waiting, fewer
            bounds memory. Local tasks do not count.
        task_timeout: seconds without a renewal after which Monitor gives a task to another worker, unless a Monitor has
            a shorter one. Shorter recovers a lost host sooner, longer bears longer pauses of a worker.
        partition_grace: seconds that tasks run on while Redis is away; default half of ``task_timeout``, always less.
        stop_timeout: seconds that a task has to leave: for its ``stop`` and for what it tidies up after ``StopTask``,
            together. Longer lets tasks wind up, shorter lets workers leave.
        max_payload: bytes of JSON that data, an output or an event may have.
        cleanup_handlers: the ``module:attribute`` names that a Cleanup started through Redis may call, since whoever
            can write to Redis could otherwise run any function.

        max_deliveries: a task whose worker died under it so many times in a row ends as ``EXCEPTION``; 0: never. More
            forgives tasks that were only near, fewer spares workers.
        poison_window: seconds that a task must run after a death until that no longer counts. Longer convicts
            slower poison, shorter clears the innocent sooner.
        unknown_timeout: seconds for which a task waits whose name no worker knows, until a Monitor ends it as
            ``EXCEPTION``. Longer bears longer times without the worker that knows it, shorter finds wrong names sooner.
        durability: ``'async'``: starts and ends count once the server has them. ``'wait'``: once a replica has them
            too, so that a failover undoes none. It costs the way to the replica and back; without a replica nothing
            starts, and Redis counts as away.
        max_connections: that ``redis`` may open in each worker for all tasks together, and as many for subscriptions;
            on a cluster, to each node. More lets more commands block at once, fewer spares the server.

    Raises:
        PyTaskException: ``redis_instance`` is none of the above, or the names do not fit a cluster.
        ValueError: an option makes no sense.
    """

    PyTaskException = errors.PyTaskException
    PyTaskError = errors.PyTaskException  # its name in the original's code
    StopTask = errors.StopTask
    MissingTaskError = errors.MissingTaskError
    PayloadTooLarge = errors.PayloadTooLarge

    # Each of them is an argument above.
    concurrency = _Option[int]()
    max_payload = _Option[int]()
    task_timeout = _Option[float]()
    update_task_interval = _Option[float]()
    partition_grace = _Option[float]()
    stop_timeout = _Option[float]()
    unknown_timeout = _Option[float]()
    cleanup_handlers = _Option[tuple[str, ...]]()
    poison = _Option[PoisonRule]()
    durability = _Option[str]()

    #: Who loads and runs the apps of this process, such as a supervisor; ``run`` then refuses to.
    run_by: ClassVar[str] = ""

    def __init__(
        self,
        redis_instance: Any = None,
        update_task_interval: float | None = None,
        task_set: str = "tasks",
        task_prefix: str = "task-",
        new_queue: str = "new-task",
        end_queue: str = "end-task",
        concurrency: int = 1000,
        *,
        task_timeout: float = 60,
        partition_grace: float | None = None,
        stop_timeout: float = 10,
        max_payload: int = MAX_PAYLOAD,
        cleanup_handlers: Iterable[str] = (),
        max_deliveries: int = 3,
        poison_window: float = 3,
        unknown_timeout: float = 86_400,
        durability: str = "async",
        max_connections: int = CLIENT_CONNECTIONS,
    ) -> None:
        self._config = CoreConfig.of(
            keys=RedisKeys(task_set, task_prefix, new_queue, end_queue),
            concurrency=concurrency,
            max_payload=max_payload,
            task_timeout=task_timeout,
            update_task_interval=update_task_interval,
            partition_grace=partition_grace,
            stop_timeout=stop_timeout,
            unknown_timeout=unknown_timeout,
            max_connections=max_connections,
            cleanup_handlers=cleanup_handlers,
            poison=PoisonRule(max_deliveries, poison_window),
            durability=durability,
        )
        #: Whether the app names its own Redis.
        self.redis_given = redis_instance is not None
        self._source = RedisSource(redis_instance, connections=max_connections)
        #: Start, stop and look at tasks.
        self.helpers = PyTaskHelpers(
            self._source, task_set, task_prefix, new_queue, end_queue, max_payload=max_payload, durability=durability
        )
        # The names by which programs for the original read them.
        self.TASK_SET, self.TASK_PREFIX = task_set, task_prefix
        self.NEW_QUEUE, self.END_QUEUE = new_queue, end_queue
        #: A Redis client, the same that tasks see.
        self.redis = self._source.client
        #: Task classes by name.
        self.task_classes: dict[str, type[Task]] = {}
        self._exception_handlers = ExceptionHandlers()
        self._local_tasks: list[tuple[str, dict[str, Any]]] = []
        self._worker: Worker | None = None

    # Classes and handlers

    def add_task(self, task_class: type[Task]) -> None:
        """Add a task class; the same one may be added again.

        Raises:
            PyTaskException: it is not a subclass of ``Task``, has no ``NAME`` or that of another class, or no worker
                can run it: ``start`` is missing, an ``async def``, or has a ``yield``.
        """
        self._add(name_of(task_class), task_class)

    def _add(self, name: str, task_class: type[Task]) -> None:
        refuse_unfit(name, task_class, self.task_classes)
        self.task_classes[name] = task_class

    def add_tasks(self, *task_classes: type[Task]) -> None:
        """Add several task classes; raises as :meth:`add_task`."""
        for task_class in task_classes:
            self.add_task(task_class)

    def add_exception_handler(self, handler: Callable[[BaseException], object]) -> None:
        """Have ``handler`` called with every unexpected exception of a task, after its end is on its way to Redis."""
        self._exception_handlers.add(handler)

    def start_local_task(self, /, task_name: str, **task_data: Any) -> None:
        """Start a task that belongs to this worker: when :meth:`run` is called, or now if it has been.

        It never passes through the queue, is started again when Redis comes back, and is removed with its worker. Where
        it cannot be made (its ``__init__`` raises, or does not take the data) it ends :meth:`run` if it was to begin
        with that; one that is added later ends as EXCEPTION, and one that could be made before is tried again.

        Args:
            task_name: the ``NAME`` of its class.
            task_data: keyword arguments of its ``__init__``.

        Raises:
            MissingTaskError: the worker runs already and has no class of that name; else :meth:`run` raises it.
            InvalidTask: JSON cannot carry the data.
        """
        encode(f"the data of {task_name!r}", task_data, self.max_payload)
        if self._worker is not None:
            self._refuse_missing(task_name)
        self._local_tasks.append((task_name, task_data))
        if self._worker is not None:
            self._worker.start_local(task_name, task_data)

    def _refuse_missing(self, name: str) -> None:
        if name not in self.task_classes:
            raise errors.MissingTaskError(f"the local task {name!r} has no class; add it with add_task before run")

    # Life

    def create_worker(
        self, graceful_timeout: float | None = None, mark: str | None = None, max_tasks: int = 0
    ) -> Worker:
        """Return a new worker for this app, which can live once.

        Args:
            graceful_timeout: seconds that its stop may take in all; default ``stop_timeout`` and a little.
            mark: what its id ends with, by which its maker knows it; default: something random.
            max_tasks: it claims no more once so many have ended or are about to; 0: no limit. Whoever asks for this
                replaces it.
        """
        for name, _ in self._local_tasks:
            self._refuse_missing(name)
        app = WorkerApp(
            source=self._source,
            config=self._config,
            classes=self.task_classes,
            local_tasks=self._local_tasks,
            middlewares=[self._exception_handlers],
            helpers=self.helpers,
        )
        self._worker = Worker(
            app,
            graceful_timeout=self._config.graceful_timeout if graceful_timeout is None else graceful_timeout,
            mark=mark,
            max_tasks=max_tasks,
        )
        return self._worker

    def run(self, task_map: Mapping[str, type[Task]] | None = None) -> None:
        """Run tasks until SIGINT or SIGTERM; then stop and requeue them, and return.

        A second signal requeues at once what has not stopped yet.

        Args:
            task_map: more task classes, by name.

        Raises:
            PyTaskException: the standard library is not patched by gevent, a local task has no class or cannot be made
                (its ``__init__`` raises, or does not take the data), ``task_map`` has what :meth:`add_task` refuses,
                Redis refuses us (password, permission, too old), or a supervisor runs the app.
        """
        if self.run_by:
            raise PyTaskException(
                f"run() was called in a process in which {self.run_by} runs the app; put the call under "
                "if __name__ == '__main__':, so that it is not made when the module is imported"
            )
        if not monkey.is_module_patched("socket"):
            raise PyTaskException(
                "tasks would block each other, since gevent has not patched the standard library; put 'from gevent "
                "import monkey; monkey.patch_all()' before all other imports of your program"
            )
        for name, task_class in (task_map or {}).items():
            self._add(name, task_class)
        worker = self.create_worker()
        try:
            with hear((signal.SIGINT, signal.SIGTERM), worker.stop):
                worker.run()
        finally:
            self._worker = None
