"""Every key and channel name in Redis, with its type. No other room spells a key.

``docs/redis_keys.rst`` follows this file. The four configurable names are public; all others derive from them, so two
systems with different names share nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TAG = re.compile(r"\{([^{}]+)\}")


def _derived(base: str, suffix: str) -> str:
    """Return a name beside ``base`` that a cluster keeps in the same slot."""
    return f"{base}:{suffix}" if _TAG.search(base) else f"{{{base}}}:{suffix}"


@dataclass(frozen=True)
class RedisKeys:
    """The names of one system.

    Args:
        task_set: SET, ids in a worker's hands; also stopped ids, and ended ones with ``cleanup=false``.
        task_prefix: what stands before an id in the names of its hash and channels.
        new_queue: LIST, ids waiting. Producers push on the left, workers take from the right.
        end_queue: LIST, ids that ended. Workers push on the left, Cleanup takes from the right.

    Raises:
        ValueError: a name is empty, two are the same, or an id could spell the name of a queue.
    """

    task_set: str = "tasks"
    task_prefix: str = "task-"
    new_queue: str = "new-task"
    end_queue: str = "end-task"

    def __post_init__(self) -> None:
        names = {
            "task_set": self.task_set,
            "new_queue": self.new_queue,
            "end_queue": self.end_queue,
        }
        for option, name in {**names, "task_prefix": self.task_prefix}.items():
            if not isinstance(name, str) or not name:
                raise ValueError(f"{option} must be a text that is not empty, not {name!r}")
            if re.search(r"[{}]", _TAG.sub("", name, count=1)):
                raise ValueError(f"{option}={name!r} has braces that form no hash tag such as {{pytask}}")
        if len(set(names.values())) < len(names):
            raise ValueError(f"task_set, new_queue and end_queue must differ, not {names}")
        for option, name in names.items():
            if name.startswith(self.task_prefix):
                raise ValueError(
                    f"task_prefix={self.task_prefix!r} is the beginning of {option}={name!r}, so a task id could name "
                    "that key; choose a longer prefix"
                )

    @property
    def one_slot(self) -> bool:
        """Whether the four names share a hash tag, so that a cluster keeps all keys in one slot."""
        tags = set()
        for name in (self.task_set, self.task_prefix, self.new_queue, self.end_queue):
            found = _TAG.search(name)
            tags.add(found.group(1) if found else None)
        return len(tags) == 1 and None not in tags

    # What a task has

    def task(self, task_id: str) -> str:
        """HASH of the task; also the CHANNEL of its events."""
        return self.task_prefix + task_id

    def control(self, task_id: str) -> str:
        """CHANNEL of commands to the task."""
        return f"{self.task_prefix}{task_id}-control"

    @property
    def control_pattern(self) -> str:
        """Pattern that matches the control channels of all tasks."""
        return re.sub(r"([*?\[\]\\^])", r"\\\1", self.task_prefix) + "*-control"

    @property
    def events_pattern(self) -> str:
        """Pattern that matches the event channels of all tasks (and their control channels)."""
        return re.sub(r"([*?\[\]\\^])", r"\\\1", self.task_prefix) + "*"

    def id_of_control(self, channel: str) -> str:
        """Return the id to which a control channel belongs."""
        return channel[len(self.task_prefix) : -len("-control")]

    # What a worker has

    @property
    def workers(self) -> str:
        """ZSET worker id -> its last beat, in milliseconds of the server's clock: the lease of all it holds."""
        return _derived(self.task_set, "workers")

    @property
    def held_prefix(self) -> str:
        """What stands before a worker's id in the name of :meth:`held`."""
        return _derived(self.task_set, "held:")

    def held(self, worker: str) -> str:
        """SET, ids that this worker runs."""
        return self.held_prefix + worker

    @property
    def names_prefix(self) -> str:
        """What stands before a worker's id in the name of :meth:`names`."""
        return _derived(self.task_set, "names:")

    def names(self, worker: str) -> str:
        """SET, the task names that this worker knows."""
        return self.names_prefix + worker

    @property
    def inbox_prefix(self) -> str:
        """What stands before a worker's id in the name of :meth:`inbox`."""
        return _derived(self.new_queue, "inbox:")

    def inbox(self, worker: str) -> str:
        """LIST, ids taken from the new queue for this worker and not yet claimed by it."""
        return self.inbox_prefix + worker

    def suspect(self, worker: str) -> str:
        """STRING, the id of the one task in this worker's hands that one more death would convict."""
        return _derived(self.task_set, "suspect:") + worker

    def last_claim(self, worker: str) -> str:
        """STRING, the number of this worker's last claim, so that one which is executed late takes nothing."""
        return _derived(self.task_set, "last-claim:") + worker

    def cleaning(self, worker: str) -> str:
        """LIST, ids taken from the end queue by a Cleanup in this worker and not yet dealt with."""
        return _derived(self.end_queue, "cleaning:") + worker

    # What all share

    @property
    def running(self) -> str:
        """STRING, how many ids all workers hold together; what a fair share is measured by."""
        return _derived(self.task_set, "running")

    @property
    def monitor(self) -> str:
        """HASH ``round`` (ms, when a Monitor last looked) and ``cursor`` (where its paged scan stands)."""
        return _derived(self.task_set, "monitor")

    @property
    def removed(self) -> str:
        """SET, ids removed while they waited, whose entry in the new queue is to be passed over."""
        return _derived(self.new_queue, "removed")
