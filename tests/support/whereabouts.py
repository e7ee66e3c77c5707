"""Where every id of a system stands, counted from outside with plain commands. Called by tests."""

from __future__ import annotations

from collections import Counter
from typing import Any

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
        pipe = redis.pipeline(transaction=True)
        # Which lists there are may change between the two steps, so both kinds are read in the second.
        lists = sorted(key for key in redis.scan_iter(count=1000) if key.startswith((inboxes, cleaning)))
        pipe.lrange(keys.new_queue, 0, -1)
        pipe.smembers(keys.task_set)
        pipe.lrange(keys.end_queue, 0, -1)
        for key in lists:
            pipe.lrange(key, 0, -1)
        self.new, active, self.end, *rest = pipe.execute()
        self.active = sorted(active)
        self.inboxes = [each for key, ids in zip(lists, rest, strict=True) if key.startswith(inboxes) for each in ids]
        self.cleaning = [each for key, ids in zip(lists, rest, strict=True) if key.startswith(cleaning) for each in ids]

    @property
    def count(self) -> Counter[str]:
        """How often each id stands anywhere."""
        return Counter([*self.new, *self.inboxes, *self.active, *self.end, *self.cleaning])

    def missing(self, ids: list[str]) -> list[str]:
        """The ids that stand nowhere."""
        count = self.count
        return [each for each in ids if not count[each]]
