"""One scenario of claim, finish, stop, restart and requeue, with harm done at each request in turn."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pytask_core import PyTaskHelpers
from pytask_core.connection import RedisSource, disconnect
from pytask_core.keys import RedisKeys
from pytask_core.store import regime, scripts
from pytask_core.store.scripts import load
from tests.support.processes.core_process import Nursery
from tests.support.servers.redis_server import RedisServer
from tests.support.servers.tcp_proxy import Harm, TcpProxy
from tests.support.waiting import wait_until
from tests.support.whereabouts import Whereabouts, contents

ONCE = ["once-1", "once-2", "once-3"]
LONG = ["long-1", "long-2", "long-3"]
IDS = [*ONCE, *LONG, "stop", "restart", "late"]
OPTIONS: dict[str, Any] = {"update_task_interval": 0.2, "task_timeout": 30}

#: The scenario has fewer requests than that; one more means that it was never harmed.
MOST = 500


SCRIPTS = Path(scripts.__file__).with_name("lua")


class Dead(Exception):  # noqa: N818 - it is what happened
    """The worker was killed, so the scenario goes no further."""


class Scenario:
    """What clients and the worker do, up to the harm."""

    def __init__(
        self,
        server: RedisServer,
        proxy: TcpProxy,
        nursery: Nursery,
        names: dict[str, str],
        detour: dict[int, int] | None,
    ) -> None:
        self.redis: Any = server.client(decode_responses=True)
        #: As the product makes it, for what a sibling does.
        self.client = RedisSource(server.url).store_client(4)
        self.helpers = PyTaskHelpers(server.url, **names)
        self.keys = RedisKeys(**names)
        self.options = {**OPTIONS, **names}
        self.detour = detour
        self.server, self.proxy, self.nursery = server, proxy, nursery
        self.accepted: list[str] = []
        self.kills = False

    def begin(self, harm: Harm | None) -> None:
        """Everything as at first; harm is done on the way."""
        self.redis.flushall()
        self.accepted.clear()
        self.stopped = self.restarted = False
        self.proxy.arm(harm)
        self.kills = harm is not None and harm.kill is not None

    def accept(self, name: str, *ids: str) -> None:
        self.helpers.start_tasks((name, {}, each) for each in ids)
        self.accepted += ids

    def state(self, task_id: str) -> str | None:
        value: str | None = self.redis.hget(self.keys.task(task_id), "state")
        return value

    def until(self, good: Callable[[], bool]) -> None:
        """Wait for something good, or for the end of the worker."""

        def over() -> bool:
            return bool(self.kills and self.proxy.struck) or good()

        wait_until(over, timeout=20, interval=0.002, message=f"after {self.proxy.struck} at {self.proxy.count}")
        if self.kills and self.proxy.struck:
            raise Dead

    def play(self) -> None:
        """The whole scenario, up to the end of the worker."""
        self.accept("once", *ONCE)
        self.accept("forever", *LONG, "stop", "restart")
        self.nursery.start(self.proxy.url, detour=self.detour, **self.options)
        self.until(lambda: {self.state(each) for each in (*LONG, "stop", "restart")} == {"RUNNING"})
        self.until(lambda: {self.state(each) for each in ONCE} == {"SUCCESS"})
        self.until(lambda: self.redis.llen("runs") >= 8)
        self.stopped = self.helpers.stop_task("stop")
        self.restarted = self.helpers.restart_task("restart")
        self.accept("once", "late")
        self.until(lambda: self.state("stop") == "STOPPED" and self.state("late") == "SUCCESS")
        self.until(lambda: self.redis.lrange("runs", 0, -1).count("restart") == 2)
        with suppress(ProcessLookupError):  # just killed
            self.nursery.signal(signal.SIGINT)
        if self.nursery.wait() != 0:
            raise Dead

    def nothing_is_missing(self) -> None:
        """Conservation, counted from outside."""
        missing = Whereabouts(self.redis, self.keys).missing(self.accepted)
        assert not missing, f"{missing} stand nowhere after {self.proxy.struck}, request {self.proxy.count}"

    def recover(self) -> None:
        """What a sibling does for a dead worker, and then another worker."""
        one_slot = self.keys.one_slot or self.detour is None
        keeper = regime(one_slot=one_slot).keeper(self.client, self.keys)
        for worker in self.redis.zrange(self.keys.workers, 0, -1):
            keeper.hand_back(worker)
        if not self.stopped:
            self.helpers.stop_task("stop")
        self.accept("once", *[each for each in IDS if each not in self.accepted])
        self.nursery.start(self.server.url, forever=False, monitor=True, **self.options)
        rest = [each for each in IDS if each != "stop"]
        with self.story():
            wait_until(lambda: {self.state(each) for each in rest} == {"SUCCESS"}, message="the others to end")
        self.nursery.signal(signal.SIGINT)
        assert self.nursery.wait() == 0
        assert self.state("stop") == "STOPPED"
        where = Whereabouts(self.redis, self.keys)
        assert Counter(where.end) == dict.fromkeys(rest, 1)
        assert (where.active, where.inboxes) == (["stop"], [])
        assert self.redis.get(self.keys.running) in {None, "0"}

    @contextmanager
    def story(self) -> Iterator[None]:
        """Tell what stands where, and what the worker had sent, if this fails."""
        try:
            yield
        except AssertionError:
            print(f"after {self.proxy.struck}, request {self.proxy.count}")
            print(*contents(self.redis), sep="\n")
            print(*map(readable, self.proxy.heard[-80:]), sep="\n")
            raise

    def close(self) -> None:
        self.helpers.close()
        disconnect(self.client)


def readable(request: bytes) -> str:
    """A command in words, with the name of its script."""
    words = [word.decode("utf-8", "replace") for word in request.split(b"\r\n")[2::2]]
    by_sha = {load(f"many_slots/{file.stem}").sha: file.stem for file in SCRIPTS.glob("many_slots/*.lua")}
    by_sha |= {load(file.stem).sha: file.stem for file in SCRIPTS.glob("*.lua")}
    return " ".join(by_sha.get(word, word if len(word) < 80 else "…") for word in words)


@pytest.fixture
def scenario(
    redis_server: RedisServer,
    proxy: TcpProxy,
    nursery: Nursery,
    names: dict[str, str],
    detour: dict[int, int] | None,
) -> Any:
    scenario = Scenario(redis_server, proxy, nursery, names, detour)
    yield scenario
    if nursery.pid:
        nursery.kill()
        nursery.wait()
    scenario.close()


@pytest.mark.parametrize("before", [False, True], ids=["answered", "unseen"])
def test_a_worker_killed_at_any_request_loses_nothing_and_all_tasks_end(
    scenario: Scenario, nursery: Nursery, *, before: bool
) -> None:
    struck = []
    for number in range(1, MOST):
        scenario.begin(Harm(number, before, nursery.kill))
        try:
            scenario.play()
            break
        except Dead:
            assert scenario.proxy.struck, "it died by itself"
            if nursery.pid:
                assert nursery.wait() == -signal.SIGKILL
            scenario.nothing_is_missing()
            struck.append(scenario.proxy.struck)
            scenario.recover()
    else:
        pytest.fail("the scenario has more requests than that")
    assert len(struck) > 10
    assert {"EVALSHA", "SADD"} <= set(struck)


@pytest.mark.parametrize("before", [False, True], ids=["answered", "unseen"])
def test_a_connection_cut_at_any_request_loses_nothing_and_runs_nothing_twice(
    scenario: Scenario, nursery: Nursery, *, before: bool
) -> None:
    struck = []
    for number in range(1, MOST):
        scenario.begin(Harm(number, before))
        scenario.play()
        if not scenario.proxy.struck:
            break
        struck.append(scenario.proxy.struck)
        words = f"after {struck[-1]}, request {number}"
        runs = Counter(scenario.redis.lrange("runs", 0, -1))
        assert runs == {**dict.fromkeys(IDS, 1), "restart": 2}, words
        where = Whereabouts(scenario.redis, scenario.keys)
        assert sorted(where.new) == sorted([*LONG, "restart"]), words
        assert Counter(where.end) == dict.fromkeys([*ONCE, "late"], 1), words
        assert (where.active, where.inboxes) == (["stop"], []), words
        assert {scenario.state(each) for each in where.new} == {"WAIT"}, words
        assert scenario.redis.get(scenario.keys.running) == "0", words
    assert len(struck) > 10
