"""``desk``: the three stores of one system on the test's server, and short words to look at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pytask_core.connection import RedisSource, disconnect
from pytask_core.connection.nodes import is_cluster
from pytask_core.keys import RedisKeys
from pytask_core.store import Claims, ClientStore, Ending, KeeperStore, Misplaced, PassedOn, WorkerStore, regime
from pytask_core.store.many_slots.client import ManySlotsClientStore
from pytask_core.store.many_slots.keeper import ManySlotsKeeperStore
from pytask_core.store.many_slots.steps import Steps
from tests.support.listener import Listener
from tests.support.servers.redis_server import RedisServer
from tests.support.whereabouts import Whereabouts


class Desk:
    """The stores, and looks at what they did. ``redis`` sends plain commands, as a foreign program would."""

    def __init__(self, server: RedisServer, keys: RedisKeys) -> None:
        self.server = server
        self.keys = keys
        #: As the product makes it, so that ids which are no UTF-8 pass.
        self.redis: Any = RedisSource(server.url).store_client(4)
        #: Whether each transition is one script, so that nothing of it is done where it cannot be done as a whole.
        self.atomic = keys.one_slot or not is_cluster(self.redis)
        self.stores = regime(one_slot=self.atomic)
        self.client: ClientStore = self.stores.client(self.redis, self.keys)
        self.keeper: KeeperStore = self.stores.keeper(self.redis, self.keys)
        self._tokens = 0

    def worker(self, name: str = "w1", names: tuple[str, ...] = ("job",), **in_many_slots: Any) -> WorkerStore:
        """A worker's store, registered; the rest is for one in many slots only, such as its ``steps``."""
        more = {} if self.atomic else in_many_slots
        store = self.stores.worker(self.redis, self.redis, self.keys, name, **more)
        store.register(names)
        return store

    def take(self, steps: Steps) -> None:
        """From now on client and keeper take these steps, where there are steps."""
        if not self.atomic:
            self.client = ManySlotsClientStore(self.redis, self.keys, steps=steps)
            self.keeper = ManySlotsKeeperStore(self.redis, self.keys, steps=steps)

    def token(self, worker: WorkerStore) -> str:
        """A claim token that was never given before."""
        self._tokens += 1
        return f"{worker.worker}:{self._tokens}"

    # Doing

    def push(self, *ids: str, name: str = "job", data: str = "{}") -> None:
        """HSET and LPUSH, as a producer in any language does."""
        for each in ids:
            self.redis.hset(self.keys.task(each), mapping={"task": name, "data": data})
            self.redis.lpush(self.keys.new_queue, each)

    def start(self, *ids: str, name: str = "job", data: str = "{}", cleanup: bool = True) -> list[bool]:
        """Enqueue through the store."""
        return [good for _, good in self.client.enqueue((each, name, data, cleanup) for each in ids)]

    def claim(self, worker: WorkerStore, room: int = 500, **how: bool) -> tuple[str, Claims]:
        """One claim; its token and its answer."""
        token = self.token(worker)
        return token, worker.claim(token, room, **how)

    def drain(self, worker: WorkerStore) -> Claims:
        """Claim until nothing comes; all that came."""
        tasks, passed = [], []
        while True:
            _, claims = self.claim(worker, insist=True)
            if not (claims.tasks or claims.passed):
                return Claims(tasks, passed, claims.left)
            tasks += claims.tasks
            passed += claims.passed

    def drain_token(self, worker: WorkerStore) -> str:
        """Claim once, and return the token."""
        return self.claim(worker, insist=True)[0]

    def run(self, worker: WorkerStore, *ids: str) -> str:
        """Start ids and claim them, so that they run; the token they all have."""
        self.start(*ids)
        token, claims = self.claim(worker, insist=True)
        assert sorted(task.id for task in claims.tasks) == sorted(ids)
        return token

    def end(self, worker: WorkerStore, task_id: str, token: str, state: str = "SUCCESS", out: str = "1") -> list[str]:
        """End one task; what was refused."""
        return worker.report([], [Ending(task_id, token, state, out)], [], [])

    def pass_on(self, worker: WorkerStore, task_id: str, token: str, name: str = "other") -> PassedOn:
        """Take a task from a worker that does not know its name."""
        [where] = worker.pass_on([Misplaced(task_id, token, name)], 60)
        return where

    def park(self, *ids: str, name: str = "other", cleanup: bool = True) -> None:
        """Start ids whose name no worker knows, and have them claimed by one."""
        stranger = self.worker("stranger", ("job",))
        self.start(*ids, name=name, cleanup=cleanup)
        while True:
            token, claims = self.claim(stranger, insist=True)
            if not claims.tasks:
                return
            where = stranger.pass_on([Misplaced(task.id, token, name) for task in claims.tasks], 60)
            assert all(each.parked for each in where)

    # Looking

    def state(self, task_id: str) -> str | None:
        return self.field(task_id, "state")

    def field(self, task_id: str, name: str) -> str | None:
        value: str | None = self.redis.hget(self.keys.task(task_id), name)
        return value

    @property
    def new(self) -> list[str]:
        """The queue, next to be claimed first."""
        return list(reversed(self.redis.lrange(self.keys.new_queue, 0, -1)))

    @property
    def ended(self) -> list[str]:
        """The end queue, next to be cleaned first."""
        return list(reversed(self.redis.lrange(self.keys.end_queue, 0, -1)))

    @property
    def active(self) -> set[str]:
        return set(self.redis.smembers(self.keys.task_set))

    def held(self, worker: str = "w1") -> set[str]:
        return set(self.redis.smembers(self.keys.held(worker)))

    @property
    def running(self) -> int:
        """What all workers hold together, as fair shares are measured."""
        return int(self.redis.get(self.keys.running) or 0)

    def listen(self, *ids: str) -> Listener:
        """Hear the events of these tasks from now on."""
        return Listener(self.server, self.keys, *ids)

    @property
    def where(self) -> Whereabouts:
        return Whereabouts(self.redis, self.keys)


@pytest.fixture
def desk(redis_server: RedisServer, names: dict[str, str]) -> Iterator[Desk]:
    """The stores of one system."""
    desk = Desk(redis_server, RedisKeys(**names))
    yield desk
    disconnect(desk.redis)
