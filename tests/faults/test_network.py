"""F16, F17, F27: replies that are lost, connections cut at any byte, a host that is cut off."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
import redis

from pytask_core import PyTaskHelpers
from pytask_core.connection import RedisSource, disconnect
from pytask_core.keys import RedisKeys
from pytask_core.store import ClientStore, Ending, KeeperStore, WorkerStore
from tests.faults.numbers import LEASE, RENEWAL, SCALE, SWEEP
from tests.faults.trial import Trial, seconds_until
from tests.soak.traffic import connect
from tests.soak.wire import Wire
from tests.support.servers.redis_server import RedisServer
from tests.support.servers.setups import chosen
from tests.support.servers.tcp_proxy import ByteCut, TcpProxy
from tests.support.whereabouts import Whereabouts

pytestmark = pytest.mark.skipif(
    chosen().is_cluster,
    reason="their wire stands before one server; on clusters test_every_request.py and test_partition.py have others",
)

KEYS = RedisKeys()


def test_no_lost_reply_doubles_a_start_a_run_or_an_end() -> None:
    """F16: the reply of every k-th exchange is lost, of clients and of workers; a client asks again until it is told.

    In full: the fault ``lose-reply`` of ``make soak``.
    """
    dice, asked = random.Random(16), 0
    with Trial() as trial, closing(Wire(trial.server.socket)) as wire:
        hosts = [trial.host(), trial.host()]
        with closing(connect(wire.url)) as helpers, closing(helpers.redis):
            ids = [f"short-{number}" for number in range(60 * SCALE)]
            for number, task_id in enumerate(ids):
                # A client that loses the reply waits until the server would do nothing more for it, some two seconds.
                if number % 6 == 0:
                    wire.lose_reply(1)
                if number % 5 == 0:
                    dice.choice(hosts).wire.lose_reply(dice.randint(1, 4))
                trial.note("tried", [task_id])
                asked += start_until_told(helpers, task_id)
                trial.note("accepted", [task_id])
        trial.wait_state(ids, "SUCCESS")
        assert sorted(trial.redis.lrange("end-task", 0, -1)) == sorted(ids)
        assert trial.run_counts(ids) == {1: len(ids)}
    assert asked >= len(ids) * 7 // 6, "that many replies were lost"
    assert trial.report.counts["ends"] == len(ids)


def start_until_told(helpers: PyTaskHelpers, task_id: str) -> int:
    """Start a task however often its answer is lost; how often it was asked for.

    It may have ended meanwhile, and a start of what has ended is a new run: so the client looks first.
    """
    asked = 0
    while True:
        with suppress(redis.ConnectionError, redis.TimeoutError):
            if not asked or not helpers.get_task(task_id):
                asked += 1
                helpers.start_task("soak/short", task_id)
            return asked
        asked += 1


class Lab:
    """One task, one worker's store behind a proxy, and what is done where its connection is cut."""

    def __init__(self, server: RedisServer, proxy: TcpProxy) -> None:
        self.redis: Any = RedisSource(server.url).store_client(2)
        self.cut: Any = RedisSource(proxy.url).store_client(1)
        self.client = ClientStore(self.redis, KEYS)
        self.keeper = KeeperStore(self.redis, KEYS)
        self.proxy = proxy
        # So that the server knows the scripts: what is cut is to be the step itself.
        for end in (False, True):
            self.begin()
            self.claim()
            self.report(end=end)

    def begin(self) -> None:
        """A task that waits, and a worker that is known."""
        self.redis.flushdb()
        self.worker = WorkerStore(self.cut, self.cut, KEYS, "w1")
        self.worker.register(["job"])
        assert list(self.client.enqueue([("a", "job", '{"text": "hi"}', True)])) == [("a", True)]

    def claim(self, *, again: bool = False) -> None:
        assert [task.id for task in self.worker.claim("w1:1", 10, again=again).tasks] == ["a"]

    def report(self, *, end: bool) -> None:
        ends, requeue = ([Ending("a", "w1:1", "SUCCESS", "1")], []) if end else ([], [("a", "w1:1")])
        assert self.worker.report([], ends, [], requeue) == []

    def look(self) -> tuple[str | None, dict[str, int], int]:
        """State, where the id stands, and what workers hold."""
        state = self.redis.hget("task-a", "state")
        return state, dict(Whereabouts(self.redis).count), int(self.redis.get(KEYS.running) or 0)


@pytest.fixture
def lab(redis_server: RedisServer, proxy: TcpProxy) -> Iterator[Lab]:
    lab = Lab(redis_server, proxy)
    yield lab
    disconnect(lab.redis, lab.cut)


@pytest.mark.parametrize("side", ["request", "reply"])
@pytest.mark.parametrize("step", ["claim", "finish", "requeue"])
def test_a_connection_cut_at_any_byte_leaves_each_step_done_or_not_done_and_safe_to_do_again(
    lab: Lab, step: str, side: str
) -> None:
    """F17: claim, finish and requeue and their answers, at every byte; requests, in small, at every 13th."""
    run_before = {"claim": "WAIT", "finish": "RUNNING", "requeue": "RUNNING"}[step]
    after = {"claim": "RUNNING", "finish": "SUCCESS", "requeue": "WAIT"}[step]
    offset, seen = 0, set()
    while True:
        lab.begin()
        if step != "claim":
            lab.claim()
        act = _act(lab, step)
        lab.proxy.cut_at(ByteCut(offset, of_reply=side == "reply"))
        try:
            act(again=False)
            break  # the cut lies behind the last byte
        except redis.ConnectionError:
            state, count, running = lab.look()
        finally:
            lab.proxy.cut_at(None)
        words = f"cut after byte {offset} of the {side}"
        assert state in {run_before, after}, words
        assert count == {"a": 1}, words
        assert running == (state == "RUNNING"), words
        seen.add(state)
        act(again=True)
        assert lab.look() == (after, {"a": 1}, int(after == "RUNNING")), words
        offset += 13 if side == "request" and SCALE == 1 else 1
    assert offset > (100 if side == "request" else 2)
    assert seen == ({run_before} if side == "request" else {after})


def _act(lab: Lab, step: str) -> Callable[..., None]:
    if step == "claim":
        return lab.claim
    return lambda again: lab.report(end=step == "finish")  # noqa: ARG005 - it may always be said again


def test_a_host_that_is_cut_off_stops_before_others_start_and_its_late_writes_are_refused() -> None:
    """F27: a partition longer than the lease; what was sent into it arrives in the end.

    In full: the fault ``stall`` of ``make soak``.
    """
    with Trial() as trial:
        cut, rest = trial.host(), trial.host()
        ids = trial.forever(20)
        ending = trial.start(*(("soak/short", {"seconds": 0.8}, f"short-{number}") for number in range(20)))
        trial.wait_running(ending)
        pids = cut.pids()
        theirs = {each for each in [*ids, *ending] if trial.runs(each)[-1].pid in pids}
        assert theirs & set(ids)
        assert theirs & set(ending)
        cut.wire.stall()
        took = seconds_until(lambda: all(trial.runs(each)[-1].pid not in pids for each in theirs), LEASE + 10)
        assert took < LEASE + SWEEP + 2
        trial.wait_state(ending, "SUCCESS")
        cut.wire.heal()
        assert seconds_until(lambda: workers(trial, pids) == 2) < 5
        assert cut.pids() == pids
        assert rest.is_up
        more = trial.start(*(("soak/short", {"seconds": RENEWAL}, f"more-{number}") for number in range(40)))
        trial.wait_state(more, "SUCCESS")
        assert {trial.runs(each)[0].pid for each in more} & set(pids), "it takes its part again"
    # Between worker and worker there was none, so the checker held it to a tenth of a second.
    assert trial.report.counts["ends"] == len(ending) + len(more)


def workers(trial: Trial, pids: list[int]) -> int:
    """How many of these processes are registered."""
    return sum(int(each.split("-")[-2]) in pids for each in trial.redis.zrange(trial.keys.workers, 0, -1))
