"""``Replay``: carries out the server's log of writes again, and notes what became of each task on the way.

After every transaction it asks, for each task touched, whether its id still stands somewhere: the promise that nothing
is lost, checked at every instant and not only at the end. Pure; called by ``stage`` with ``aof.transactions`` and by
the checker's own tests with a few lines of commands.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pytask_core.keys import RedisKeys
from pytask_core.states import FINAL

Command = list[str]

#: A state besides those of ``TaskState``: there is no hash.
GONE = "GONE"


@dataclass(frozen=True, slots=True)
class Move:
    """What a transaction made of a task."""

    at: int  #: number of the transaction
    state: str  #: WAIT also where the hash has none; GONE where there is no hash
    owner: str | None
    command: str | None
    output: str | None
    is_local: bool


@dataclass
class History:
    """What became of one id."""

    moves: list[Move] = field(default_factory=list)
    was_placed: bool = False  #: it has stood in a queue or a set

    @property
    def state(self) -> str:
        """The last state."""
        return self.moves[-1].state if self.moves else GONE


class Replay:
    """A small Redis that knows the commands the product's writes consist of.

    Args:
        keys: the names of the system.
    """

    def __init__(self, keys: RedisKeys | None = None) -> None:
        self.names = RedisKeys() if keys is None else keys
        self.keys: dict[str, Any] = {}
        self.histories: dict[str, History] = {}
        #: Ids that stood nowhere although they had a hash and were not ended, and after which transaction.
        self.homeless: list[tuple[str, int]] = []
        #: Ids that another program has taken out of the queue and that stand nowhere since: none of ours lost them.
        self.taken: set[str] = set()
        #: How often each task was charged: with the death of its worker, or with its lost lease, which looks the same.
        self.charged: Counter[str] = Counter()
        #: The transactions in which the server lost everything.
        self.flushes: list[int] = []
        #: How many transactions there were.
        self.count = 0
        self._places: Counter[str] = Counter()
        self._touched: set[str] = set()

    def feed(self, transactions: Iterable[list[Command]]) -> Replay:
        """Carry out transactions."""
        for commands in transactions:
            self.count += 1
            for name, *words in commands:
                handler = self.commands.get(name.upper())
                if handler is None:
                    raise ValueError(f"the log has a command that the replay does not know: {[name, *words]}")
                handler(self, *words)
            for task_id in self._touched:
                self._note(task_id)
            self._touched.clear()
        return self

    def stands(self, task_id: str) -> int:
        """In how many places an id stands: queues, inboxes, parked, the task set, workers' hands, cleaning lists."""
        return self._places[task_id]

    def _note(self, task_id: str) -> None:
        history = self.histories.setdefault(task_id, History())
        history.was_placed = history.was_placed or self._places[task_id] > 0
        hash_ = self.keys.get(self.names.task(task_id), {})
        if "task" not in hash_ and "state" not in hash_:
            # Or fields that a client wrote for a task which was gone already.
            move = Move(self.count, GONE, None, None, None, is_local=False)
        else:
            state, get = hash_.get("state", "WAIT"), hash_.get
            output = get("output") if state in FINAL else None
            move = Move(self.count, state, get("owner"), get("command"), output, get("local") == "true")
            if self._places[task_id]:
                self.taken.discard(task_id)
            elif history.was_placed and state not in FINAL and task_id not in self.taken:
                self.homeless.append((task_id, self.count))
        last = history.moves[-1] if history.moves else None
        if last is None or replace(last, at=move.at) != move:
            history.moves.append(move)

    def _is_place(self, key: str) -> bool:
        names = self.names
        return key in (names.new_queue, names.parked, names.task_set, names.end_queue) or key.startswith(
            (names.inbox_prefix, names.held_prefix, names.cleaning(""))
        )

    def _moved(self, key: str, members: Iterable[str], by: int) -> None:
        if self._is_place(key):
            for member in members:
                self._places[member] += by
                self._touched.add(member)

    def _hash_touched(self, key: str) -> None:
        if key.startswith(self.names.task_prefix):
            self._touched.add(key[len(self.names.task_prefix) :])

    def _drop_if_empty(self, key: str) -> None:
        if key in self.keys and not self.keys[key]:
            del self.keys[key]

    # Commands

    def _hset(self, key: str, *pairs: str) -> None:
        values = self.keys.setdefault(key, {})
        self._moved(key, [each for each in pairs[::2] if each not in values], 1)
        values.update(zip(pairs[::2], pairs[1::2], strict=True))
        self._hash_touched(key)
        if "charges" in pairs[::2] and key.startswith(self.names.task_prefix):
            self.charged[key[len(self.names.task_prefix) :]] += 1

    def _hdel(self, key: str, *fields: str) -> None:
        self._moved(key, [each for each in fields if each in self.keys.get(key, {})], -1)
        for each in fields:
            self.keys.get(key, {}).pop(each, None)
        self._drop_if_empty(key)
        self._hash_touched(key)

    def _hincrby(self, key: str, name: str, by: str) -> None:
        self._hset(key, name, str(int(self.keys.get(key, {}).get(name, 0)) + int(by)))

    def _del(self, *keys: str) -> None:
        for key in keys:
            value = self.keys.pop(key, None)
            if value is not None:
                self._moved(key, value, -1)
            self._hash_touched(key)

    def _lpush(self, key: str, *members: str) -> None:
        self.keys.setdefault(key, deque()).extendleft(members)
        self._moved(key, members, 1)

    def _rpush(self, key: str, *members: str) -> None:
        self.keys.setdefault(key, deque()).extend(members)
        self._moved(key, members, 1)

    def _lpop(self, key: str, count: str = "1") -> None:
        self._pop(key, count, deque.popleft)

    def _rpop(self, key: str, count: str = "1") -> None:
        self._pop(key, count, deque.pop)

    def _pop(self, key: str, count: str, how: Callable[[deque[str]], str]) -> None:
        entries = self.keys.get(key, deque())
        self._moved(key, [how(entries) for _ in range(min(int(count), len(entries)))], -1)
        self._drop_if_empty(key)

    def _lmove(self, source: str, target: str, leaves: str, enters: str) -> None:
        member = self.keys[source][-1 if leaves.upper() == "RIGHT" else 0]
        (self._rpop if leaves.upper() == "RIGHT" else self._lpop)(source)
        (self._rpush if enters.upper() == "RIGHT" else self._lpush)(target, member)

        # We move entries between lists of ours only.
        if self._is_place(source) and not self._is_place(target):
            self.taken.add(member)

    def _rename(self, source: str, target: str) -> None:
        value = self.keys.pop(source)
        if self._is_place(source):
            self._moved(source, value, -1)
            self.taken.update(value)
        self.keys[target] = value

    def _lrem(self, key: str, count: str, member: str) -> None:
        if key == self.names.new_queue:  # we never do
            self.taken.add(member)
        entries = self.keys.get(key, deque())
        for _ in range(min(int(count) or len(entries), entries.count(member))):
            entries.remove(member)
            self._moved(key, [member], -1)
        self._drop_if_empty(key)

    def _sadd(self, key: str, *members: str) -> None:
        held = self.keys.setdefault(key, set())
        fresh = set(members) - held
        held |= fresh
        self._moved(key, fresh, 1)

    def _srem(self, key: str, *members: str) -> None:
        gone = set(members) & self.keys.get(key, set())
        self.keys.get(key, set()).difference_update(gone)
        self._moved(key, gone, -1)
        self._drop_if_empty(key)

    def _zadd(self, key: str, *words: str) -> None:
        pairs = [word for word in words if word.upper() not in {"NX", "XX", "GT", "LT", "CH"}]
        scores, is_new = self.keys.setdefault(key, {}), any(word.upper() == "NX" for word in words)
        scores.update(
            (each, score) for score, each in zip(*[iter(pairs)] * 2, strict=True) if not is_new or each not in scores
        )

    def _zpopmax(self, key: str, count: str = "1") -> None:
        scores = self.keys.get(key, {})
        last = sorted(scores, key=lambda member: (float(scores[member]), member), reverse=True)
        self._zrem(key, *last[: int(count)])

    def _zrem(self, key: str, *members: str) -> None:
        for member in members:
            self.keys.get(key, {}).pop(member, None)
        self._drop_if_empty(key)

    def _set(self, key: str, value: str, *_options: str) -> None:
        self.keys[key] = value

    def _incrby(self, key: str, by: str = "1") -> None:
        self.keys[key] = str(int(self.keys.get(key, 0)) + int(by))

    def _decrby(self, key: str, by: str = "1") -> None:
        self._incrby(key, str(-int(by)))

    def _flushall(self, *_options: str) -> None:
        for key in list(self.keys):
            if self._is_place(key):
                self._moved(key, list(self.keys[key]), -1)
            self._hash_touched(key)
        self.keys.clear()
        self.flushes.append(self.count)

    def _nothing(self, *_words: str) -> None:
        """Changes no value: the database that is chosen, and times of expiry, whose coming is logged as DEL."""

    #: By name.
    commands: ClassVar[dict[str, Callable[..., None]]] = {
        "HSET": _hset,
        "HMSET": _hset,
        "HDEL": _hdel,
        "HINCRBY": _hincrby,
        "DEL": _del,
        "UNLINK": _del,
        "LPUSH": _lpush,
        "RPUSH": _rpush,
        "LPOP": _lpop,
        "RPOP": _rpop,
        "LMOVE": _lmove,
        "LREM": _lrem,
        "RENAME": _rename,
        "SADD": _sadd,
        "SREM": _srem,
        "ZADD": _zadd,
        "ZPOPMAX": _zpopmax,
        "ZREM": _zrem,
        "SET": _set,
        "INCR": _incrby,
        "INCRBY": _incrby,
        "DECR": _decrby,
        "DECRBY": _decrby,
        "FLUSHALL": _flushall,
        **dict.fromkeys(("SELECT", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "PERSIST"), _nothing),
    }
