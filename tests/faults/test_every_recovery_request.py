"""A worker whose Monitor and Cleanup deal with what a dead one left, with harm done at each of its requests in turn."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from pytask_core.store import Ending, KeeperStore, WorkerStore, regime
from tests.faults.test_every_request import MOST, Dead, Scenario
from tests.support.processes.core_process import Nursery
from tests.support.servers.redis_server import RedisServer
from tests.support.servers.tcp_proxy import Harm, TcpProxy
from tests.support.waiting import wait_until
from tests.support.whereabouts import Whereabouts, contents

HELD = ["held-1", "held-2", "held-3"]
ENDED = ["collected", "ended"]


class Recovery(Scenario):
    """What a dead worker has left: tasks in its hands, in its inbox, in its cleaning list; and what it had ended."""

    def play(self) -> None:
        self._die()
        self.nursery.start(self.proxy.url, detour=self.detour, monitor=True, cleanup=True, **self.options)
        self.until(self._all_is_done)
        self.nursery.signal(signal.SIGINT)
        if self.nursery.wait() != 0:
            raise Dead

    def _die(self) -> None:
        stores = regime(one_slot=self.keys.one_slot or self.detour is None)
        worker = stores.worker(self.client, self.client, self.keys, "dead")
        worker.register(["once"])
        keeper = stores.keeper(self.client, self.keys)
        self._end(worker, 1, "collected")
        assert [each for each, _ in keeper.collect("dead", hashes=False)] == ["collected"]
        self._end(worker, 2, "ended")
        self.accept("once", *HELD)
        assert len(worker.claim("dead:3", 10, insist=True).tasks) == len(HELD)
        self.accept("once", "inbox")
        assert worker.take(0.1)
        self.redis.zadd(self.keys.workers, {"dead": 1})

    def _end(self, worker: WorkerStore, number: int, task_id: str) -> None:
        self.accept("once", task_id)
        assert worker.claim(f"dead:{number}", 1, insist=True).tasks
        worker.report([], [Ending(task_id, f"dead:{number}", "SUCCESS", "1")], [], [])

    def _all_is_done(self) -> bool:
        """Everything has run and is cleaned up, and nobody is to be handed back any more."""
        if any(self.redis.exists(self.keys.task(each)) for each in self.accepted):
            return False
        # In many slots the hash goes a step before its id, and a Cleanup may take that between two steps of a look.
        looks = (Whereabouts(self.redis, self.keys).count for _ in range(2))
        if any(stands[each] for stands in looks for each in self.accepted):
            return False
        return not self.redis.zscore(self.keys.workers, "dead")

    def nothing_is_missing(self) -> None:
        left = [each for each in self.accepted if self.redis.exists(self.keys.task(each))]
        missing = Whereabouts(self.redis, self.keys).missing(left)
        assert not missing, f"{missing} stand nowhere after {self.proxy.struck}, request {self.proxy.count}"

    def recover(self) -> None:
        for worker in self.redis.zrange(self.keys.workers, 0, -1):
            self._keeper().hand_back(worker)
        self.nursery.start(self.server.url, monitor=True, cleanup=True, **self.options)
        with self.story():
            # Where all was done already, it may not even listen to signals yet.
            wait_until(lambda: self.redis.zcard(self.keys.workers), message="the worker to begin")
            wait_until(self._all_is_done, message="everything run and cleaned up")
        self.nursery.signal(signal.SIGINT)
        assert self.nursery.wait() == 0
        self.nothing_is_left()

    def _keeper(self) -> KeeperStore:
        return regime(one_slot=self.keys.one_slot or self.detour is None).keeper(self.client, self.keys)

    def nothing_stays(self) -> None:
        """Another worker at most finds ids of forgotten tasks in the end queue, and takes them out.

        In many slots a report that is sent again may put an id there once more that a Cleanup has dealt with just then.
        """
        where = Whereabouts(self.redis, self.keys)
        if where.count:
            assert where.count == Counter(where.end), f"{contents(self.redis)} after request {self.proxy.count}"
            assert not any(self.redis.exists(self.keys.task(each)) for each in where.end)
            self.recover()
        self.nothing_is_left()

    def nothing_is_left(self) -> None:
        where = Whereabouts(self.redis, self.keys)
        assert where.count == Counter(), f"after {self.proxy.struck}, request {self.proxy.count}"
        assert self.redis.get(self.keys.running) in {None, "0"}


@pytest.fixture
def recovery(
    redis_server: RedisServer,
    proxy: TcpProxy,
    nursery: Nursery,
    names: dict[str, str],
    detour: dict[int, int] | None,
) -> Iterator[Recovery]:
    recovery = Recovery(redis_server, proxy, nursery, names, detour)
    yield recovery
    if nursery.pid:
        nursery.kill()
        nursery.wait()
    recovery.close()


@pytest.mark.parametrize("before", [False, True], ids=["answered", "unseen"])
def test_whoever_is_killed_while_it_hands_back_and_cleans_up_loses_nothing(
    recovery: Recovery, nursery: Nursery, *, before: bool
) -> None:
    struck = []
    for number in range(1, MOST):
        recovery.begin(Harm(number, before, nursery.kill))
        try:
            recovery.play()
            break
        except Dead:
            assert recovery.proxy.struck, "it died by itself"
            if nursery.pid:
                assert nursery.wait() == -signal.SIGKILL
            recovery.nothing_is_missing()
            struck.append(recovery.proxy.struck)
            recovery.recover()
            runs = Counter(recovery.redis.lrange("runs", 0, -1))
            assert runs.keys() == {*HELD, "inbox"}, "what had ended before ran again, or something never ran"
    assert len(struck) > 10


@pytest.mark.parametrize("before", [False, True], ids=["answered", "unseen"])
def test_a_connection_cut_while_a_worker_hands_back_and_cleans_up_loses_nothing_and_runs_nothing_twice(
    recovery: Recovery, *, before: bool
) -> None:
    struck = []
    for number in range(1, MOST):
        recovery.begin(Harm(number, before))
        recovery.play()
        if not recovery.proxy.struck:
            break
        struck.append(recovery.proxy.struck)
        recovery.nothing_stays()
        assert Counter(recovery.redis.lrange("runs", 0, -1)) == dict.fromkeys([*HELD, "inbox"], 1), struck[-1]
    assert len(struck) > 10
