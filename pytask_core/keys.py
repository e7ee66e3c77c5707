"""Every key and channel name in Redis, with its type. No other room spells a key.

``docs/redis_keys.rst`` follows this file. The four configurable names are public; all others derive from them, so two
systems with different names share nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

_TAG = re.compile(r"\{([^{}]+)\}")

#: The names that users choose: three keys, and what stands before the id of a task.
KEY_NAMES = ("task_set", "task_prefix", "new_queue", "end_queue")


def has_stray_braces(name: str) -> bool:
    """Whether a name has braces besides one hash tag such as ``{pytask}``."""
    return bool(re.search(r"[{}]", _TAG.sub("", name, count=1)))


def clashes(names: Mapping[str, str], called: Callable[[str], str] = str) -> list[str]:
    """Why these values of :data:`KEY_NAMES` cannot be used together: a sentence each.

    ``called`` tells what the user calls an option.
    """
    prefix, found, seen = names["task_prefix"], [], dict[str, str]()
    for option in KEY_NAMES:
        name = names[option]
        if option == "task_prefix":
            continue
        if name in seen:
            found.append(f"{called(option)} and {called(seen[name])} must differ: both are {name!r}")
        elif name.startswith(prefix):
            found.append(
                f"{called('task_prefix')} {prefix!r} is the beginning of {called(option)} {name!r}, so a task id could "
                "name that key: choose a longer prefix"
            )
        seen.setdefault(name, option)
    return found


def beside(base: str, suffix: str) -> str:
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
        names = asdict(self)
        for option, name in names.items():
            if not isinstance(name, str) or not name:
                raise ValueError(f"{option} must be a text that is not empty, not {name!r}")
            if has_stray_braces(name):
                raise ValueError(f"{option}={name!r} has braces that do not form one hash tag such as {{pytask}}")
        for mistake in clashes(names):
            raise ValueError(mistake)

    @property
    def one_slot(self) -> bool:
        """Whether the four names share a hash tag, so that a cluster keeps all keys in one slot."""
        tags = self._tags()
        return len(tags) == 1 and None not in tags

    @property
    def mixed(self) -> bool:
        """Whether some names have a hash tag and others none, or another, so that it is unclear what was meant."""
        return len(self._tags()) > 1

    def _tags(self) -> set[str | None]:
        names = (self.task_set, self.task_prefix, self.new_queue, self.end_queue)
        return {found.group(1) if (found := _TAG.search(name)) else None for name in names}

    # What a task has

    def task(self, task_id: str) -> str:
        """HASH of the task; also the CHANNEL of its events."""
        return self.task_prefix + task_id

    def control(self, task_id: str) -> str:
        """CHANNEL of commands to the task."""
        return f"{self.task_prefix}{task_id}-control"

    def nudges(self, worker: str) -> str:
        """CHANNEL on which a worker hears that another one has put ids into its inbox."""
        return self.control(worker)

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
        return beside(self.task_set, "workers")

    @property
    def held_prefix(self) -> str:
        """What stands before a worker's id in the name of :meth:`held`."""
        return beside(self.task_set, "held:")

    def held(self, worker: str) -> str:
        """SET, ids that this worker runs."""
        return self.held_prefix + worker

    @property
    def names_prefix(self) -> str:
        """What stands before a worker's id in the name of :meth:`names`."""
        return beside(self.task_set, "names:")

    def names(self, worker: str) -> str:
        """SET, the task names that this worker knows."""
        return self.names_prefix + worker

    @property
    def inbox_prefix(self) -> str:
        """What stands before a worker's id in the name of :meth:`inbox`."""
        return beside(self.new_queue, "inbox:")

    def inbox(self, worker: str) -> str:
        """LIST, ids taken from the new queue for this worker and not yet claimed by it."""
        return self.inbox_prefix + worker

    def suspect(self, worker: str) -> str:
        """STRING, the id of the one task in this worker's hands that one more death would convict."""
        return beside(self.task_set, "suspect:") + worker

    def last_claim(self, worker: str) -> str:
        """STRING, the number of this worker's last claim, so that one which is executed late takes nothing."""
        return beside(self.task_set, "last-claim:") + worker

    def last_take(self, worker: str) -> str:
        """STRING, the same in many slots: twice the number, and one more when that claim is done."""
        return beside(self.new_queue, "last-take:") + worker

    def cleaning(self, worker: str) -> str:
        """LIST, ids taken from the end queue by a Cleanup in this worker and not yet dealt with."""
        return beside(self.end_queue, "cleaning:") + worker

    def last_report(self, worker: str) -> str:
        """STRING, in many slots: the number of this worker's last report of ends, which is not to be done twice."""
        return beside(self.end_queue, "last-report:") + worker

    # What all share

    @property
    def holders(self) -> str:
        """HASH id -> the claims that hold it or may hold it; a late release removes its own only. In many slots."""
        return beside(self.task_set, "holders")

    @property
    def running(self) -> str:
        """STRING, how many ids all workers hold together; what a fair share is measured by."""
        return beside(self.task_set, "running")

    @property
    def monitor(self) -> str:
        """HASH ``round`` (ms, when a Monitor last looked), ``cursor`` (where its paged scan stands), ``lease`` (ms, the
        shortest that a Monitor asks for) and ``lease_until`` (ms, when that is forgotten)."""
        return beside(self.task_set, "monitor")

    @property
    def leases(self) -> str:
        """HASH worker id -> ``<number of the promise> <ms>``: the silence after which others may take what it holds."""
        return beside(self.task_set, "leases")

    @property
    def waiting(self) -> str:
        """HASH id -> how many pushes its entry in the new queue stands for; only in many slots."""
        return beside(self.new_queue, "waiting")

    @property
    def inboxes(self) -> str:
        """SET, the workers that have an inbox, so that one which is filled late is found; only in many slots."""
        return beside(self.new_queue, "inboxes")

    @property
    def parked(self) -> str:
        """HASH id -> the task name under which it waits until a worker knows that name."""
        return beside(self.new_queue, "parked")

    def parked_under(self, name: str) -> str:
        """ZSET, the ids under one name -> when each was put there, in microseconds; spelled in ``parking.lua`` too."""
        return f"{self.parked}:{name}"

    @property
    def parked_names(self) -> str:
        """ZSET, these names -> when the oldest id under each was put there, or before; as in ``parking.lua``."""
        return f"{self.parked}-names"

    @property
    def early(self) -> str:
        """ZSET id -> since when, in ms: ids without a hash when they were claimed, to be looked at again."""
        return beside(self.new_queue, "early")

    @property
    def spare(self) -> str:
        """HASH id -> entries in the new queue beyond the one that it waits for.

        All, of a task that was stopped or removed. A claim passes them over.
        """
        return beside(self.new_queue, "spare")
