"""Where ids wait while no worker knows the name of their task. Used by all three kinds of stores, in both regimes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..connection.nodes import Nodes
from ..keys import RedisKeys
from .calls import BATCH, Calls
from .sender import run


class Parked:
    """Looks at the parked ids, and puts them back.

    Args:
        client: a Redis client that answers text.
        keys: the names of the system.
        many_slots: whether their keys lie in many slots.
    """

    def __init__(self, client: Any, keys: RedisKeys, *, many_slots: bool) -> None:
        self._client = client
        self._keys = keys
        self._calls = Calls(keys)
        self._many_slots = many_slots

    def open(self, name: str) -> tuple[int, bool]:
        """Put the youngest ids under a name back to the front of the new queue; return how many, and if it was all.

        Once it was all, the oldest is next. However many there are, the server is held up for one batch at a time.
        """
        script = "many_slots/unpark" if self._many_slots else "unpark"
        count, left = run(self._client, self._calls.make(script, name=name, limit=BATCH))[0]
        return int(count), left == 0

    def open_all(self, name: str) -> int:
        """Put all ids under a name back, batch by batch; return how many."""
        total = 0
        while True:
            count, is_all = self.open(name)
            total += count
            if is_all:
                return total

    def among(self, names: Sequence[str]) -> list[str]:
        """Return those of the names under which ids are parked."""
        if not names:
            return []
        since = self._client.execute_command("ZMSCORE", self._keys.parked_names, *names)
        return [name for name, each in zip(names, since, strict=True) if each is not None]

    def sample(self, most: int) -> list[str]:
        """Return names under which ids are parked: all, or so many at random."""
        return list(self._client.execute_command("ZRANDMEMBER", self._keys.parked_names, most))

    def counts(self, most: int) -> dict[str, int]:
        """Return how many ids are parked under each name, those of the name that is parked longest first."""
        names = self._client.zrange(self._keys.parked_names, 0, most - 1)
        keys = [self._keys.parked_under(name) for name in names]
        counts = Nodes(self._client).run([(key, ("ZCARD", key)) for key in keys], resend=True) if keys else []
        return {name: count for name, count in zip(names, counts, strict=True) if isinstance(count, int) and count}

    def ids(self, name: str | None = None) -> list[str]:
        """Return the parked ids, read in pages; of one name: those parked first first."""
        if name is None:
            return list(dict.fromkeys(task_id for task_id, _ in self._client.hscan_iter(self._keys.parked, count=1000)))
        since = dict(self._client.zscan_iter(self._keys.parked_under(name), count=1000))
        return sorted(since, key=lambda task_id: since[task_id])
