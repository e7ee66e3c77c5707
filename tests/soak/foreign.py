"""``Foreigner``: another program on the same server, which knows nothing of pytask and its promises.

It empties the new queue, takes single entries out of it, removes running tasks as the original of 2016 did, and writes
states by hand. What it takes it keeps in a list, so that no answer that is lost can lose an id, and starts it again by
the helpers a little later: a helper that says yes must have queued it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count
from typing import Any

import redis

from pytask_core import PyTaskHelpers
from tests.soak.ledger import Ledger
from tests.soak.traffic import Rounds

#: Where it keeps what it has taken. The replay knows it, as the place of ids that pytask does not have.
TAKEN = "foreign:taken"


class Foreigner(Rounds):
    """Does one such thing a turn, and gives back what it took the turn before.

    Args:
        url: of the server itself. A program on the server's own host is not cut off by what happens to the wires.
        ledger: what it does to single ids stands there.
        seed: of its choice.
        rate: things a second.
    """

    def __init__(self, url: str, ledger: Ledger, seed: int, rate: float) -> None:
        super().__init__("foreigner", url, ledger, seed, rate)
        self._names = (f"foreign-{number}" for number in count(1))
        self._ids: list[str] = []

    def _turn(self, helpers: PyTaskHelpers) -> int:
        with suppress(redis.RedisError, OSError):
            self.give_back(helpers)
            deeds: list[Callable[[PyTaskHelpers], None]] = [
                self._empty_queue,
                self._take_one,
                self._start,
                self._start,
                self._remove_by_hand,
                self._take_out,
                self._write_state,
            ]
            self._random.choice(deeds)(helpers)
        return 1

    def give_back(self, helpers: PyTaskHelpers) -> int:
        """Start again what it has taken and what still waits; return how many ids are left in the list."""
        for task_id in helpers.redis.lrange(TAKEN, 0, 99):
            if helpers.get_task(task_id, "state") in {None, "WAIT"}:
                helpers.restart_task(task_id)  # False: it was removed meanwhile
            helpers.redis.lrem(TAKEN, 1, task_id)
        return int(helpers.redis.llen(TAKEN))

    # On all that waits

    def _empty_queue(self, helpers: PyTaskHelpers) -> None:
        """As ``DEL new-task`` would, but remembers what stood there."""
        if not helpers.redis.exists(TAKEN):
            with suppress(redis.ResponseError):  # nothing waits
                helpers.redis.rename(helpers.keys.new_queue, TAKEN)

    @staticmethod
    def _take_one(helpers: PyTaskHelpers) -> None:
        """As a foreign ``BRPOP`` would."""
        helpers.redis.lmove(helpers.keys.new_queue, TAKEN, "RIGHT", "LEFT")

    # On ids of its own

    def _start(self, helpers: PyTaskHelpers, task_id: str = "") -> None:
        """As our documentation tells programs in other languages; a new id, or one that has ended."""
        fresh = task_id or next(self._names)
        self._ledger.write("tried", id=fresh)
        name = "soak/forever" if int(fresh.rpartition("-")[2]) % 3 == 0 else "soak/short"
        values: dict[str, Any] = {"task": name, "data": json.dumps({}), "cleanup": "false", "state": "WAIT"}
        try:
            helpers.redis.hset(helpers.task_key(fresh), mapping=values)
            helpers.redis.lpush(helpers.keys.new_queue, fresh)
        except (redis.RedisError, OSError):
            self._ledger.write("doubt", id=fresh, why="no answer")
            raise
        self._ledger.write("accepted", id=fresh)
        self._ids.append(fresh)

    def _remove_by_hand(self, helpers: PyTaskHelpers) -> None:
        """As the original's ``remove_task``."""
        if not self._ids:
            return
        task_id = self._random.choice(self._ids)
        self._ids.remove(task_id)
        self._ledger.write("asked", id=task_id, verb="remove", version=0)
        answer = None
        try:
            helpers.redis.srem(helpers.keys.task_set, task_id)
            helpers.redis.delete(helpers.task_key(task_id))
            answer = True
        finally:
            self._ledger.write("told", id=task_id, verb="remove", answer=answer)

    def _take_out(self, helpers: PyTaskHelpers) -> None:
        """``LREM`` of an id that may wait, and a start by the helpers."""
        self._start(helpers)
        task_id = self._ids[-1]
        helpers.redis.lrem(helpers.keys.new_queue, 0, task_id)
        helpers.start_task("soak/short", task_id, cleanup=False)

    def _write_state(self, helpers: PyTaskHelpers) -> None:
        """The idiom of the original's own Monitor, on what has ended: the state by hand, and then a restart."""
        for task_id in self._random.sample(self._ids, min(5, len(self._ids))):
            if helpers.get_task(task_id, "state") == "SUCCESS":
                helpers.set_task(task_id, "state", "WAIT")
                helpers.restart_task(task_id)
                return

    def come_to_rest(self) -> bool:
        """Give back all that is left. Whether nothing is."""
        with closing(self.connect()) as helpers, closing(helpers.redis):
            return not self.give_back(helpers)
