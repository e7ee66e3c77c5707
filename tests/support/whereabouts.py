"""Where every id of a system stands, counted from outside with plain commands. Called by tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from pytask_core.connection.nodes import is_cluster
from pytask_core.keys import RedisKeys


class Whereabouts:
    """One look at all places where an id can stand.

    Args:
        redis: a client that answers text.
        keys: the names of the system.
    """

    def __init__(self, redis: Any, keys: RedisKeys | None = None) -> None:
        keys = RedisKeys() if keys is None else keys
        inboxes = keys.inbox_prefix
        cleaning = keys.cleaning("")
        # Of one moment, where one transaction can reach all keys.
        atomic = keys.one_slot or not is_cluster(redis)
        pipe = redis.pipeline(transaction=atomic)
        # Which lists there are may change between the two steps, so both kinds are read in the second.
        found = sorted(redis.scan_iter(count=1000))
        lists = [key for key in found if key.startswith((inboxes, cleaning))]
        # Between two steps a task may be in a worker's hands and not yet in the task set again.
        hands = [] if atomic else [key for key in found if key.startswith(keys.held_prefix)]
        pipe.lrange(keys.new_queue, 0, -1)
        pipe.smembers(keys.task_set)
        pipe.lrange(keys.end_queue, 0, -1)
        pipe.hkeys(keys.parked)
        pipe.zrange(keys.early, 0, -1)
        for key in lists:
            pipe.lrange(key, 0, -1)
        for key in hands:
            pipe.smembers(key)
        self.new, active, self.end, self.parked, self.early, *rest = pipe.execute()
        self.active = sorted(active)
        self.inboxes = [each for key, ids in zip(lists, rest, strict=False) if key.startswith(inboxes) for each in ids]
        self.cleaning = [
            each for key, ids in zip(lists, rest, strict=False) if key.startswith(cleaning) for each in ids
        ]
        self.held = {each for ids in rest[len(lists) :] for each in ids}

    @property
    def count(self) -> Counter[str]:
        """How often each id stands anywhere."""
        return Counter([*self.new, *self.parked, *self.early, *self.inboxes, *self.active, *self.end, *self.cleaning])

    def missing(self, ids: list[str]) -> list[str]:
        """The ids that stand nowhere."""
        count = self.count
        return [each for each in ids if not count[each] and each not in self.held]


def is_cleaned_up(redis: Any, keys: RedisKeys | None = None) -> bool:
    """Whether no ended id is left, where none ends any more.

    A Cleanup may take the last ones just between the two steps of a look; then the next look finds them with it.
    """
    looks = (Whereabouts(redis, keys) for _ in range(2))
    return not any(look.end or look.cleaning for look in looks)


def stands_nowhere(redis: Any, task_id: str, keys: RedisKeys | None = None) -> bool:
    """Whether no entry of a task that was removed is left, not even in the inbox of a worker that is about to drop it.

    An entry may go on to a list that a look does not know yet; then the next look finds it there.
    """
    looks = (Whereabouts(redis, keys) for _ in range(2))
    return not any(look.count[task_id] or task_id in look.held for look in looks)


def contents(redis: Any) -> list[str]:
    """All that stands there, a line each key; for tests that fail."""
    read: dict[str, Callable[[str], object]] = {
        "hash": redis.hgetall,
        "list": lambda key: redis.lrange(key, 0, -1),
        "set": redis.smembers,
        "string": redis.get,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
    }
    return [f"{key}: {read[redis.type(key)](key)}" for key in sorted(redis.scan_iter(count=1000))]
