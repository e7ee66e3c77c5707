"""What clients do with tasks: start, stop, restart, remove, read. Called by the helpers, never by a worker's loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..connection.deadlines import Deadlines
from ..connection.nodes import Nodes
from ..keys import RedisKeys
from ..outcomes import Outcome
from .calls import BATCH, Calls
from .parked import Parked
from .sender import run


class ClientStore:
    """The client's transitions, each one script.

    Args:
        client: a Redis client that answers text.
        keys: the names of the system.
        replicas: how many must have a start before it counts; see ``durability``.
    """

    _many_slots = False

    def __init__(self, client: Any, keys: RedisKeys, replicas: int = 0, *, deadlines: Deadlines | None = None) -> None:
        self._client = client
        self._keys = keys
        self._replicas = replicas
        self._calls = Calls(keys)
        #: What a client orders is carried out in time or never, since a late stop would stop another run.
        self._deadlines = deadlines or Deadlines()
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
            words: list[str] = []
            for task_id, name, data, cleanup in batch:
                words += (task_id, name, data, "" if cleanup else "false")
            call = self._calls.make("enqueue", words)
            (answers,) = run(self._client, call, replicas=self._replicas, deadlines=self._deadlines)
            for task, answer in zip(batch, answers, strict=True):
                yield task[0], bool(answer)

    def stop(self, task_id: str) -> int:
        """Record a stop; 1: recorded or done, 0: it had ended or stopped, -1: no such task."""
        return _told(self._stop(task_id))

    def _stop(self, task_id: str) -> str:
        return str(self._order("stop", task_id=task_id))

    def ask_reload(self, task_id: str) -> int:
        """Record a reload; 1: recorded, 0: it does not run, -1: no such task."""
        return _told(self._order("ask_reload", task_id=task_id))

    def restart(self, task_id: str, states: Sequence[str] = ()) -> int:
        """Run a task again if it is in one of ``states`` (none: any); 1: done, 0: in another state, -1: no task."""
        return _told(self._restart(task_id, states))

    def _restart(self, task_id: str, states: Sequence[str]) -> str:
        return str(self._order("restart", states, task_id=task_id))

    def remove(self, task_id: str) -> bool:
        """Forget a task in whatever state; False where there was none."""
        return bool(self._order("remove", task_id=task_id))

    def _order(self, script: str, each: Iterable[Any] = (), /, **named: Any) -> Any:
        return run(self._client, self._calls.make(script, each, **named), deadlines=self._deadlines)[0]

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
        return bool(self._order("set", flat, task_id=task_id))

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
        told = run(self._client, self._calls.make("silence", workers))[0] if workers else []
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


#: What the answer to a client's order means, where it is not 1: done or recorded.
_TOLD = {Outcome.UNKNOWN: -1, Outcome.OTHER: 0, Outcome.STOPPED_BEFORE: 0}


def _told(outcome: str) -> int:
    return _TOLD.get(Outcome(outcome), 1)


def _row(answer: Any) -> list[str | None] | None:
    """Return the fields of a hash, or None where the key holds none."""
    if isinstance(answer, Exception):
        if str(answer).startswith("WRONGTYPE"):
            return None
        raise answer
    return list(answer)
