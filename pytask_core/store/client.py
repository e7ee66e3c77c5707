"""What clients do with tasks: start, stop, restart, remove, read. Called by the helpers, never by a worker's loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..connection.deadlines import Deadlines
from ..connection.nodes import Nodes
from ..keys import RedisKeys
from . import scripts
from .parked import Parked

#: Tasks in one script. More saves round trips, fewer lets others have their turn on the server sooner.
BATCH = 500


class ClientStore:
    """The client's transitions, each one script.

    Args:
        client: a Redis client that answers text.
        keys: the names of the system.
        replicas: how many must have a start before it counts; see ``durability``.
    """

    _many_slots = False

    def __init__(self, client: Any, keys: RedisKeys, replicas: int = 0) -> None:
        self._client = client
        self._keys = keys
        self._replicas = replicas
        self._queue_names = [keys.new_queue, keys.task_set, keys.spare, keys.workers, keys.parked]
        self._queue_prefixes = [keys.task_prefix, keys.inbox_prefix]
        #: What a client orders is carried out in time or never, since a late stop would stop another run.
        self._deadlines = Deadlines()
        #: The ids whose task name no worker knows.
        self.parked = Parked(client, keys, many_slots=self._many_slots)

    def enqueue(self, tasks: Iterable[tuple[str, str, str, bool]]) -> Iterator[tuple[str, bool]]:
        """Queue tasks, many a round trip; those that wait get the new data, those that run are left alone.

        Args:
            tasks: id, name, data as JSON, and whether to clean up at the end.

        Yields:
            id, and False where its key holds something that is no hash.
        """
        rest = iter(tasks)
        while batch := list(islice(rest, BATCH)):
            args: list[Any] = [*self._queue_prefixes]
            for task_id, name, data, cleanup in batch:
                args += (task_id, name, data, "" if cleanup else "false")
            call = ("enqueue", self._queue_names, args)
            (answers,) = scripts.call_all(self._client, [call], self._replicas, self._deadlines)
            for task, answer in zip(batch, answers, strict=True):
                yield task[0], answer >= 0

    def stop(self, task_id: str) -> int:
        """Record a stop; 1: recorded or done, 0: it had ended or stopped, -1: no such task."""
        args = [task_id, self._keys.control(task_id), self._keys.inbox_prefix]
        return int(self._order("stop", self._task_and_queue(task_id), args))

    def ask_reload(self, task_id: str) -> int:
        """Record a reload; 1: recorded, 0: it does not run, -1: no such task."""
        return int(self._order("ask_reload", [self._keys.task(task_id)], [self._keys.control(task_id)]))

    def restart(self, task_id: str, states: Sequence[str] = ()) -> int:
        """Run a task again if it is in one of ``states`` (none: any); 1: done, 0: in another state, -1: no task."""
        args = [task_id, self._keys.control(task_id), self._keys.inbox_prefix, *states]
        return int(self._order("restart", self._task_and_queue(task_id), args))

    def _task_and_queue(self, task_id: str) -> list[str]:
        keys = self._keys
        return [keys.task(task_id), keys.task_set, keys.new_queue, keys.spare, keys.workers, keys.parked]

    def remove(self, task_id: str) -> bool:
        """Forget a task in whatever state; False where there was none."""
        keys = self._keys
        names = [keys.task(task_id), keys.task_set, keys.running, keys.spare, keys.new_queue, keys.workers]
        names += [keys.parked, keys.early]
        args = [task_id, keys.control(task_id), keys.held_prefix, keys.inbox_prefix]
        return bool(self._order("remove", names, args))

    def _order(self, name: str, keys: list[str], args: list[Any]) -> Any:
        return scripts.call(self._client, name, keys, args, self._deadlines)

    def get(self, task_id: str) -> dict[str, str]:
        """Return the whole hash; empty where there is none."""
        return dict(self._client.hgetall(self._keys.task(task_id)))

    def get_fields(self, task_id: str, fields: Sequence[str]) -> list[str | None]:
        """Return some fields of the hash, in order."""
        return list(self._client.hmget(self._keys.task(task_id), list(fields)))

    def get_many(self, task_ids: Sequence[str], fields: Sequence[str]) -> list[list[str | None] | None]:
        """Return some fields of many hashes in one round trip; None where a key holds no hash."""
        keys = [self._keys.task(task_id) for task_id in task_ids]
        rows = Nodes(self._client).run([(key, ("HMGET", key, *fields)) for key in keys], resend=True) if keys else []
        return [_row(row) for row in rows]

    def set(self, task_id: str, values: Mapping[str, Any]) -> bool:
        """Write fields of the hash as they are; False where there is no task, and ``task`` is not among them."""
        flat = [part for pair in values.items() for part in pair]
        return bool(self._order("set", [self._keys.task(task_id)], flat))

    def active_ids(self) -> list[str]:
        """Return the ids in the task set, read in pages so that the server is not held up."""
        return list(dict.fromkeys(self._client.sscan_iter(self._keys.task_set, count=1000)))

    def new_ids(self) -> list[str]:
        """Return the ids in the new queue, the last pushed first."""
        return list(self._client.lrange(self._keys.new_queue, 0, -1))

    def end_ids(self) -> list[str]:
        """Return the ids in the end queue, the last pushed first."""
        return list(self._client.lrange(self._keys.end_queue, 0, -1))

    def silence(self, workers: Sequence[str]) -> list[float | None]:
        """Return for each worker how many seconds ago it was last heard of; None where it is not registered."""
        told = scripts.call(self._client, "silence", [self._keys.workers], list(workers)) if workers else []
        return [None if each is None else each / 1000 for each in told]

    def lengths(self) -> dict[str, int]:
        """Return how many ids wait, are active, have ended, and are parked."""
        pipe = self._client.pipeline(transaction=False)
        pipe.llen(self._keys.new_queue)
        pipe.scard(self._keys.task_set)
        pipe.llen(self._keys.end_queue)
        pipe.hlen(self._keys.parked)
        new, active, end, parked = pipe.execute()
        return {"new": new, "active": active, "end": end, "parked": parked}


def _row(answer: Any) -> list[str | None] | None:
    """Return the fields of a hash, or None where the key holds none."""
    if isinstance(answer, Exception):
        if str(answer).startswith("WRONGTYPE"):
            return None
        raise answer
    return list(answer)
