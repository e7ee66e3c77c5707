"""``PyTaskHelpers``: what programs do with tasks. Also the home of ``run_loop``, as in the original."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload
from uuid import UUID

from .config import replicas_for
from .connection import HELPERS_CONNECTIONS, RedisSource, disconnect
from .errors import InvalidTask, RedisRefused
from .ids import as_id, new_id
from .keys import RedisKeys
from .loops import run_loop
from .payload import MAX_PAYLOAD, encode
from .process import log_lines
from .start_options import StartOptions
from .states import TaskState
from .store import regime

__all__ = ["PyTaskHelpers", "run_loop"]

log_lines.install()

#: Names of parked tasks that are counted. Anybody can write any name to Redis.
MOST_PARKED = 1000

#: What :meth:`PyTaskHelpers.start_tasks` takes for each task: name and data, and an id where you want to choose it.
TaskSpec = tuple[str, Mapping[str, Any]] | tuple[str, Mapping[str, Any], str | int | UUID]


class PyTaskHelpers:
    """Start, stop and look at tasks, from any program that reaches Redis. Safe to share between threads and greenlets.

    Commands are recorded in Redis, so they reach a task also when its worker or the connection blinks. What may have
    arrived is not sent twice on its own: an error of the connection is raised. Whether the command was carried out is
    then unknown, but it will not be any more: the server does nothing for a command that it gets to late.

    Args:
        redis_instance: a client, a dict of its options, a list of ``(host, port)``, a URL, or None
            (``PYTASK_REDIS_URL``, else localhost:6379).
        task_set: name of the task set.
        task_prefix: what stands before an id in its key.
        new_queue: name of the queue of waiting ids.
        end_queue: name of the queue of ended ids.
        max_payload: bytes of JSON that a task's data may have.
        durability: ``'async'``: a start counts once the server has it. ``'wait'``: once a replica has it too; otherwise
            ``start_task`` raises, and may be called again with the same id. It costs the way to the replica and back,
            and without a replica nothing can be started.

    Raises:
        PyTaskException: ``redis_instance`` is none of the above, the names do not fit a cluster, or ``durability`` is
            neither.
        ValueError: the names cannot be used together.
    """

    def __init__(
        self,
        redis_instance: Any = None,
        task_set: str = "tasks",
        task_prefix: str = "task-",
        new_queue: str = "new-task",
        end_queue: str = "end-task",
        *,
        max_payload: int = MAX_PAYLOAD,
        durability: str = "async",
    ) -> None:
        source = redis_instance if isinstance(redis_instance, RedisSource) else RedisSource(redis_instance)
        self.keys = RedisKeys(task_set, task_prefix, new_queue, end_queue)
        # The names by which programs for the original read them.
        self.TASK_SET, self.TASK_PREFIX = task_set, task_prefix
        self.NEW_QUEUE, self.END_QUEUE = new_queue, end_queue
        self.max_payload = max_payload
        self._source = source
        self._client = source.store_client(HELPERS_CONNECTIONS)
        refuse_mixed_names(source, self.keys)
        stores = regime(one_slot=not source.is_cluster or self.keys.one_slot)
        self._store = stores.client(self._client, self.keys, replicas_for(durability))
        #: A Redis client for your own use.
        self.redis = source.client

    # Names

    def task_key(self, task_id: str) -> str:
        """Return the name of a task's hash, which is also its event channel."""
        return self.keys.task(as_id(task_id))

    def task_control(self, task_id: str) -> str:
        """Return the name of a task's control channel."""
        return self.keys.control(as_id(task_id))

    # Starting

    def start_task(
        self, /, task_name: str, task_id: str | int | UUID | None = None, cleanup: bool = True, **task_data: Any
    ) -> str:
        """Start a task. One that waits already runs once, on the new data; one that runs is left alone; one that ended
        or stopped starts again.

        ``task_name``, ``task_id`` and ``cleanup`` are arguments of this method. Data of these names goes another way:
        ``start_tasks([('etl', {'cleanup': 'archive'})])``.

        Args:
            task_name: the ``NAME`` of its class.
            task_id: a text, a number or a ``UUID``, which becomes a text; default: a new one.
            cleanup: False keeps the ended task in the task set instead of passing it to Cleanup.
            task_data: keyword arguments of its ``__init__``, such as ``**data`` where you have a dict.

        Returns:
            The id.

        Raises:
            InvalidTask: JSON cannot carry the data, the id cannot be used, ``cleanup`` is not a bool, or the key of the
                id holds something else.
            PayloadTooLarge: the data is larger than ``max_payload``.
        """
        options = StartOptions(task_id, cleanup)
        options.refuse_unfit(task_name)
        return next(self._enqueue([self._spec(task_name, task_data, options.task_id, options)]))

    def start_tasks(self, specs: Iterable[TaskSpec], cleanup: bool = True) -> list[str]:
        """Start many tasks, hundreds a round trip.

        Args:
            specs: for each ``(task_name, data)`` or ``(task_name, data, task_id)``; data is a dict, whose keys may have
                any names that ``__init__`` takes.
            cleanup: as in :meth:`start_task`, for all.

        Returns:
            The ids, in order.

        Raises:
            InvalidTask, PayloadTooLarge: as :meth:`start_task`, for the first that fails. Those before it are started.
        """
        options = StartOptions(cleanup=cleanup)
        options.refuse_unfit_for_all()
        return list(self._enqueue(self._spec(*_parts(spec), options) for spec in specs))

    def _spec(
        self, name: str, data: Mapping[str, Any], task_id: str | int | UUID | None, options: StartOptions
    ) -> tuple[str, str, str, bool]:
        if not isinstance(name, str) or not name:
            raise InvalidTask(f"a task name must be a text that is not empty, not {name!r}")
        if not isinstance(data, Mapping):
            raise InvalidTask(f"the data of {name!r} must be a dict of keyword arguments, not {type(data).__name__}")
        text = encode(f"the data of {name!r}", dict(data), self.max_payload)
        return (new_id() if task_id is None else as_id(task_id)), name, text, options.cleanup

    def _enqueue(self, specs: Iterable[tuple[str, str, str, bool]]) -> Iterator[str]:
        for task_id, is_hash in self._store.enqueue(specs):
            if not is_hash:
                raise InvalidTask(f"the key {self.task_key(task_id)!r} holds something that is no task")
            yield task_id

    # Commands

    def stop_task(self, task_id: str, wait: float | None = None) -> bool:
        """Stop a task. One that waits never starts; one that runs is stopped by its worker soon.

        Args:
            task_id: which.
            wait: seconds to wait until it no longer runs; default: not at all.

        Returns:
            Whether there was anything to stop; where it was waited for, whether it has come to its end in time.
        """
        if self._store.stop(as_id(task_id)) <= 0:
            return False
        return wait is None or self._becomes(task_id, lambda state, _: state != TaskState.RUNNING, wait)

    def reload_task(self, task_id: str, wait: float | None = None) -> bool:
        """Have a running task stopped and started on the data that its hash has now, in the same worker.

        Args:
            task_id: which.
            wait: seconds to wait until it runs on the new data; default: not at all.

        Returns:
            Whether it runs (and is not about to stop); where it was waited for, whether the new copy runs in time.
        """
        if self._store.ask_reload(as_id(task_id)) <= 0:
            return False
        if wait is None:
            return True
        # Once it does not run any more there is nothing left to wait for.
        self._becomes(task_id, lambda state, command: state != TaskState.RUNNING or command is None, wait)
        return self._store.get_fields(as_id(task_id), ["state", "command"]) == [TaskState.RUNNING, None]

    def _becomes(self, task_id: str, true: Callable[[str | None, str | None], bool], wait: float) -> bool:
        """Look at state and command, ever less often, until ``true`` of them; return whether it came to that."""
        deadline, pause = time.monotonic() + wait, 0.005
        while not true(*self._store.get_fields(as_id(task_id), ["state", "command"])):
            left = deadline - time.monotonic()
            if not left > 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.25)
        return True

    def restart_task(self, task_id: str) -> bool:
        """Run a task again: a running one is stopped and queued, an ended or stopped one queued; a waiting one waits.

        Returns:
            Whether there is such a task.
        """
        return self._store.restart(as_id(task_id)) > 0

    def restart_if_state(self, task_id: str, states: str | Iterable[str]) -> bool:
        """Restart a task if it is in one of the states, in one step.

        Args:
            task_id: which.
            states: one state or several, such as ``('ERROR', 'EXCEPTION')``. No state counts as ``WAIT``.

        Returns:
            Whether it was.
        """
        wanted = [states] if isinstance(states, str) else [str(state) for state in states]
        return bool(wanted) and self._store.restart(as_id(task_id), wanted) > 0

    def remove_task(self, task_id: str) -> bool:
        """Forget a task in whatever state; a running one is stopped.

        Returns:
            Whether there was such a task.
        """
        return self._store.remove(as_id(task_id))

    # Data

    @overload
    def get_task(self, task_id: str, keys: None = None) -> dict[str, str]: ...

    # A text is a sequence of texts too, but one field is asked for first.
    @overload
    def get_task(self, task_id: str, keys: str) -> str | None: ...  # type: ignore[overload-overlap]

    @overload
    def get_task(self, task_id: str, keys: Sequence[str]) -> list[str | None]: ...

    def get_task(
        self, task_id: str, keys: str | Sequence[str] | None = None
    ) -> dict[str, str] | str | list[str | None] | None:
        """Return a task's hash as a dict (empty where there is none), or one field, or a list of several.

        Args:
            task_id: which.
            keys: default: all; a field's name: its value or None; several names: their values in order.
        """
        task_id = as_id(task_id)
        if keys is None:
            return self._store.get(task_id)
        if isinstance(keys, str):
            return self._store.get_fields(task_id, [keys])[0]
        return self._store.get_fields(task_id, keys) if keys else []

    def get_tasks(self, task_ids: Sequence[str], keys: Sequence[str]) -> list[list[str | None] | None]:
        """Return some fields of many tasks in one round trip; None where a key holds no hash."""
        return self._store.get_many([as_id(task_id) for task_id in task_ids], keys)

    def set_task(self, task_id: str, data: str | Mapping[str, Any], value: Any = None) -> bool:
        """Write fields of a task's hash as they are: ``set_task(id, {'field': value})`` or ``(id, 'field', value)``.

        Returns:
            Whether they were written. They are not where there is no such task, unless ``task`` is among them: so a
            task that writes its progress while a client removes it leaves nothing behind.

        Raises:
            InvalidTask: a value is neither a text nor a number.
        """
        values = {data: value} if isinstance(data, str) else dict(data)
        for field, each in values.items():
            if isinstance(each, bool) or not isinstance(each, (str, bytes, int, float)):
                raise InvalidTask(f"the field {field!r} of a task's hash must be a text or a number, not {each!r}")
        return bool(values) and self._store.set(as_id(task_id), values)

    def get_active_task_ids(self) -> list[str]:
        """Return the ids in workers' hands, the stopped ones, and ended ones with ``cleanup=False``."""
        return self._store.active_ids()

    def get_new_task_ids(self) -> list[str]:
        """Return the ids in the new queue, the last pushed first."""
        return self._store.new_ids()

    def get_end_task_ids(self) -> list[str]:
        """Return the ids in the end queue, the last pushed first."""
        return self._store.end_ids()

    def get_parked_task_ids(self, task_name: str | None = None) -> list[str]:
        """Return the ids that wait until a worker knows the names of their tasks; all, or of one name, in order."""
        return self._store.parked.ids(task_name)

    def parked_tasks(self) -> dict[str, int]:
        """Return the names that no worker knows of tasks that wait for one, each with how many; 1,000 names at most."""
        return self._store.parked.counts(MOST_PARKED)

    def worker_silence(self, worker_ids: Iterable[str]) -> dict[str, float | None]:
        """Return how many seconds ago workers were last heard of; None of one that is not registered (any more).

        The worker that runs a task is what stands before the last colon of the field ``owner`` of its hash. More than
        some seconds of silence mean that it is cut off, frozen or dead: it obeys no command, and a Monitor gives its
        tasks to others after ``task_timeout``. Example: ``worker_silence(['host-12-ab'])`` → ``{'host-12-ab': 0.8}``.
        """
        ids = list(dict.fromkeys(worker_ids))
        return dict(zip(ids, self._store.silence(ids), strict=True))

    def queue_lengths(self) -> dict[str, int]:
        """Return how many ids wait (``new``), are active, and have ended (``end``); ``parked`` only where some are."""
        lengths = self._store.lengths()
        return lengths if lengths["parked"] else {name: lengths[name] for name in ("new", "active", "end")}

    def close(self) -> None:
        """Close the connections that these helpers opened."""
        disconnect(self._client)
        self._source.close()


def _parts(spec: TaskSpec) -> tuple[str, Mapping[str, Any], str | int | UUID | None]:
    """Return name, data and id of what is to be started."""
    match spec:
        case (name, data):
            return name, data, None
        case (name, data, task_id):
            return name, data, task_id
    raise InvalidTask(f"a task to start is (task_name, data) or (task_name, data, task_id), not {spec!r:.200}")


def refuse_mixed_names(source: RedisSource, keys: RedisKeys) -> None:
    """Make sure that the names fit the server.

    Raises:
        PyTaskException: on a cluster, some have a hash tag and others none, or another.
    """
    if source.is_cluster and keys.mixed:
        raise RedisRefused(
            "on a Redis Cluster the four names must share a hash tag, such as task_set='{pytask}tasks', "
            f"task_prefix='{{pytask}}task-', or have none at all; these do not: {keys}"
        )
