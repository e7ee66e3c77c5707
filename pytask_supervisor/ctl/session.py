"""What each verb is given to reach Redis: the helpers, and what they do not offer.

Called by ``dispatch``. It reads; what changes a task goes through the helpers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any

from redis.exceptions import RedisError

from pytask_core import PyTaskHelpers
from pytask_core.connection import RedisSource, denied, disconnect, outage
from pytask_core.keys import RedisKeys
from pytask_core.states import TaskState

from .arguments import Options

#: Tasks read in one round trip. More saves round trips, fewer leaves the server room for others.
PAGE = 500

#: What ``list`` shows of a task; ``data`` and ``output`` may be large.
LISTED = ("task", "state", "last_update", "cleanup", "local", "owner")


class Session:
    """A connection's worth of pytaskctl; a context manager that closes it.

    Args:
        options: for the URL and the key names.

    Raises:
        PyTaskException: the URL is of no kind that pytask knows.
        ValueError: the key names cannot be used together.
    """

    def __init__(self, options: Options) -> None:
        self.keys = RedisKeys(**options.names)
        source = RedisSource(options.redis)
        self.helpers = PyTaskHelpers(source, **asdict(self.keys))
        #: For pub/sub: without retries, so that a lost connection is noticed and told.
        self.client: Any = source.own_client("pytaskctl")

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        disconnect(self.client)
        self.helpers.close()

    def why_unheard(self, task_id: str) -> str | None:
        """Why workers do not hear at once of what was recorded for a task; None if they do."""
        try:
            # Not a command: it only matters whether it may be sent.
            self.client.publish(self.keys.control(task_id), "")
        except RedisError as error:
            return outage(error) if denied(error) else None
        return None

    def listed(self, ids: Iterable[str]) -> Iterator[dict[str, str]]:
        """The hashes of ``ids``, page by page: ``id`` and what they have of ``LISTED``.

        An id without a hash is left out: the task was removed, and its entry in a queue does not count.
        """
        rest = iter(ids)
        while page := list(itertools.islice(rest, PAGE)):
            for task_id, values in zip(page, self.helpers.get_tasks(page, LISTED), strict=True):
                # None: a key that holds something else, and worth being seen.
                if values is None or any(value is not None for value in values):
                    found = zip(LISTED, values or (), strict=False)
                    yield {
                        "id": task_id,
                        **{name: value for name, value in found if value is not None},
                    }

    def with_workers(self, tasks: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same tasks; those that run with ``worker``, and ``silent``: seconds since it was last heard of, or None.

        Their ``owner`` is left out: it is the worker and the number of its claim.
        """
        rest = iter(tasks)
        while page := list(itertools.islice(rest, PAGE)):
            workers = [worker_of(task) for task in page]
            silence = self.helpers.worker_silence(filter(None, workers))
            for task, worker in zip(page, workers, strict=True):
                shown = {name: value for name, value in task.items() if name != "owner"}
                if worker:
                    silent = silence[worker]
                    shown |= {"worker": worker, "silent": None if silent is None else round(silent, 1)}
                yield shown


def worker_of(task: Mapping[str, Any]) -> str:
    """The worker that runs a task; '' if it does not run."""
    return str(task.get("owner") or "").rpartition(":")[0] if task.get("state") == TaskState.RUNNING else ""


def heard(silent: float | None) -> str:
    """How long a worker has been silent, in words."""
    return "no longer registered" if silent is None else f"last heard from {silent:.1f} s ago"
