"""Clients, workers that die, Monitors and Cleanups at once on a few ids: whatever the order, nothing stays behind.

In many slots each step of a transition waits a little at random, so that the steps of others come between.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pytask_core.connection import disconnect
from pytask_core.keys import RedisKeys
from pytask_core.states import FINAL
from pytask_core.store import Ending, Misplaced
from pytask_core.store.calls import Call
from pytask_core.store.many_slots.steps import Steps
from tests.store.conftest import Desk
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

IDS = ["a", "b", "c", "d", "e", "f"]
SECONDS = 2.0


class Hesitant(Steps):
    """Steps that wait a little before each round trip."""

    chance = random.Random(0)

    def all(self, calls: Sequence[Call], replicas: int = 0) -> list[Any]:
        time.sleep(self.chance.random() * 0.004)
        return super().all(calls, replicas)


class Crowd:
    """All who do something at once, each in a thread with a client of its own."""

    def __init__(self, server: RedisServer | ServerCluster, keys: RedisKeys, seed: int) -> None:
        self.server, self.keys, self.seed = server, keys, seed
        self.desk = Desk(server, keys)
        self.until = time.monotonic() + SECONDS
        self.failed: list[BaseException] = []
        self.accepted: set[str] = set()
        self.lives = 0
        self.ends: list[tuple[str, str]] = []

    def run(self, *who: Callable[[Desk, random.Random], None]) -> None:
        threads = [threading.Thread(target=self._life, args=(each, number)) for number, each in enumerate(who)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if self.failed:
            raise self.failed[0]

    def _life(self, who: Callable[[Desk, random.Random], None], number: int) -> None:
        chance = random.Random(f"{self.seed}-{number}")
        desk = Desk(self.server, self.keys)
        desk.take(Hesitant(desk.redis, self.keys))
        try:
            while time.monotonic() < self.until:
                who(desk, chance)
        except BaseException as error:
            self.failed.append(error)
        finally:
            disconnect(desk.redis)

    def client(self, desk: Desk, chance: random.Random) -> None:
        task_id = chance.choice(IDS)
        act = chance.choice(["start", "start", "restart", "stop", "remove", "push"])
        if act == "start":
            desk.start(task_id)
        elif act == "push":
            desk.push(task_id)
        elif act == "restart":
            desk.client.restart(task_id)
        elif act == "stop":
            desk.client.stop(task_id)
        else:
            desk.client.remove(task_id)
        time.sleep(chance.random() * 0.004)

    def worker(self, desk: Desk, chance: random.Random) -> None:
        """One life of a worker, which ends in good order or by its death."""
        self.lives += 1
        name = f"w{self.seed}-{threading.get_ident()}-{self.lives}"
        store = desk.worker(name, steps=Hesitant(desk.redis, self.keys))
        held: dict[str, str] = {}
        for number in range(1, chance.randrange(3, 13)):
            if chance.random() < 0.3:
                store.take(0.01)
            for task in store.claim(f"{name}:{number}", 3, insist=True).tasks:
                held[task.id] = f"{name}:{number}"
            self.deal(store, held, chance)
        died = chance.random() < 0.5
        if not died:
            store.report([], [], [], list(held.items()))
        desk.keeper.hand_back(name, died=False)

    def deal(self, store: Any, held: dict[str, str], chance: random.Random) -> None:
        lost = [each for each, told in store.renew(list(held.items())).told if told == "lost"]
        for each in lost:
            del held[each]
        for task_id, token in list(held.items()):
            kind = chance.choice(["end", "end", "stop", "requeue", "park", "keep"])
            if kind == "end":
                store.report([], [Ending(task_id, token, "SUCCESS", "1")], [], [])
            elif kind == "stop":
                store.report([], [], [(task_id, token)], [])
            elif kind == "requeue":
                store.report([], [], [], [(task_id, token)])
            elif kind == "park":
                store.pass_on([Misplaced(task_id, token, "unknown")], 60)
            if kind != "keep":
                del held[task_id]

    def keeper(self, desk: Desk, chance: random.Random) -> None:
        desk.keeper.overdue(0.01, 60)
        desk.keeper.sweep(60)
        collected = desk.keeper.collect("keeper", hashes=chance.random() < 0.5)
        if chance.random() < 0.5:
            desk.keeper.parked.open("unknown")
        if chance.random() < 0.1:
            desk.keeper.end_parked("unknown", 0.01, '"unknown"')
        desk.keeper.discard("keeper", [(each, chance.random() < 0.2, "") for each, _ in collected], 0)


def settle(desk: Desk) -> None:
    """What Monitor, Cleanup and a last worker do once all is quiet."""
    worker = desk.worker("last")
    for _ in range(4):
        # What was removed between its hash and its push.
        wait_until(lambda: worker.look_at_early()[1] == 0, 10, "the ids without a hash to be dropped")
        for task_id in IDS:
            if desk.redis.exists(desk.keys.task(task_id)):
                desk.redis.hset(desk.keys.task(task_id), "last_update", "1")
        while not desk.keeper.sweep(60).last:
            pass
        desk.keeper.hand_back("keeper", died=False)
        desk.keeper.parked.open_all("unknown")
        while collected := desk.keeper.collect("last", hashes=False):
            desk.keeper.discard("last", [(each, False, "") for each, _ in collected], 0)
        for _ in range(10):
            token, claims = desk.claim(worker, insist=True)
            if claims.tasks:
                worker.report([], [Ending(task.id, token, "SUCCESS", "1") for task in claims.tasks], [], [])
    desk.keeper.hand_back("last", died=False)


@pytest.mark.parametrize("seed", range(1, 5))
def test_nothing_stays_behind_whatever_comes_between(
    redis_server: RedisServer, names: dict[str, str], seed: int
) -> None:
    crowd = Crowd(redis_server, RedisKeys(**names), seed)
    crowd.run(crowd.client, crowd.client, crowd.client, crowd.worker, crowd.worker, crowd.worker, crowd.keeper)

    desk = crowd.desk
    settle(desk)

    for task_id in IDS:
        state = desk.state(task_id)
        assert state in {*FINAL, "STOPPED", None}, f"{task_id} is left behind as {state}"
        assert state is not None or not desk.redis.exists(desk.keys.task(task_id)), f"{task_id} never ran"
    assert desk.new == []
    assert desk.where.inboxes == []
    left = {key for key in desk.redis.scan_iter() if not key.startswith(desk.keys.task_prefix)}
    # What the Monitor remembers, and the count of what runs.
    assert left <= {desk.keys.task_set, desk.keys.end_queue, desk.keys.monitor, desk.keys.running}, left
    assert desk.running == 0
    disconnect(desk.redis)
