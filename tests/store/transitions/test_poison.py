"""Tasks that kill their workers, and those that were only near: ``poison.lua`` in claims, renewals and hand-backs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pytask_core.connection import RedisSource, disconnect
from pytask_core.connection.nodes import is_cluster
from pytask_core.keys import RedisKeys
from pytask_core.policy.poison import Hang, PoisonRule
from pytask_core.store import Ending, WorkerStore, regime
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

RULE = PoisonRule(max_deliveries=3, window=0.3)


class Farm:
    """Stores of workers that live and die at a word."""

    def __init__(self, server: RedisServer, names: dict[str, str]) -> None:
        self.redis: Any = RedisSource(server.url).store_client(4)
        self.keys = RedisKeys(**names)
        self.stores = regime(one_slot=self.keys.one_slot or not is_cluster(self.redis))
        self.client = self.stores.client(self.redis, self.keys)
        self.keeper = self.stores.keeper(self.redis, self.keys, RULE)
        self.workers: dict[str, WorkerStore] = {}
        self.number = 0

    def start(self, *ids: str) -> None:
        assert all(good for _, good in self.client.enqueue((task_id, "t", "{}", True) for task_id in ids))

    def claim(self, worker: str) -> list[str]:
        if worker not in self.workers:
            self.workers[worker] = self.stores.worker(self.redis, self.redis, self.keys, worker, RULE)
        self.number += 1
        claims = self.workers[worker].claim(f"{worker}:{self.number}", 100, insist=True)
        return sorted(task.id for task in claims.tasks)

    def renew(self, worker: str, *ids: str) -> None:
        self.workers[worker].renew([(task_id, self.owner(task_id)) for task_id in ids])

    def owner(self, task_id: str) -> str:
        return self.client.get(task_id)["owner"]

    def die(self, worker: str) -> list[str]:
        return self.keeper.hand_back(worker).convicted


@pytest.fixture
def farm(redis_server: RedisServer, names: dict[str, str]) -> Iterator[Farm]:
    farm = Farm(redis_server, names)
    yield farm
    disconnect(farm.redis)


def test_a_task_under_which_three_workers_die_ends_as_exception_with_the_reason(farm: Farm) -> None:
    farm.start("bad")
    for worker in ("w1", "w2"):
        assert farm.claim(worker) == ["bad"]
        assert farm.die(worker) == []
    assert farm.claim("w3") == ["bad"]
    assert farm.die("w3") == ["bad"]
    task = farm.client.get("bad")
    assert task["state"] == "EXCEPTION"
    assert "died under this task 3 times" in json.loads(task["output"])
    assert farm.client.end_ids() == ["bad"]
    assert farm.client.active_ids() == []


def test_all_tasks_run_again_at_once_after_the_first_death(farm: Farm) -> None:
    farm.start("a", "b", "c")
    assert farm.claim("w1") == ["a", "b", "c"]
    farm.die("w1")
    assert farm.claim("w2") == ["a", "b", "c"]


def test_tasks_with_two_charges_are_claimed_one_at_a_time_so_that_the_third_death_convicts_one_only(farm: Farm) -> None:
    farm.start("a", "b", "c")
    for worker in ("w1", "w2"):
        assert farm.claim(worker) == ["a", "b", "c"]
        farm.die(worker)
    (suspect,) = farm.claim("w3")
    assert farm.claim("w3") == []
    assert farm.die("w3") == [suspect]


def test_the_next_suspect_is_claimed_once_the_first_has_run_the_window(farm: Farm) -> None:
    farm.start("a", "b")
    for worker in ("w1", "w2"):
        farm.claim(worker)
        farm.die(worker)
    (first,) = farm.claim("w3")
    (second,) = wait_until(lambda: farm.claim("w3"), timeout=3)
    assert {first, second} == {"a", "b"}


def test_charges_are_forgotten_by_a_renewal_after_the_window(farm: Farm) -> None:
    farm.start("a")
    farm.claim("w1")
    farm.die("w1")
    farm.claim("w2")
    farm.renew("w2", "a")
    assert farm.client.get("a")["charges"] == "1"

    def forgotten() -> bool:
        farm.renew("w2", "a")
        return "charges" not in farm.client.get("a")

    wait_until(forgotten, timeout=3)


def test_a_death_long_after_the_last_begins_the_count_anew(farm: Farm) -> None:
    farm.start("a")
    for worker in ("w1", "w2"):
        farm.claim(worker)
        farm.die(worker)
    farm.claim("w3")
    claimed = float(farm.client.get("a")["since"])

    def server_ms() -> float:
        seconds, micros = farm.redis.time()
        return float(seconds) * 1000 + float(micros) / 1000

    wait_until(lambda: server_ms() - claimed > RULE.window_ms, timeout=3)
    farm.renew("w3")  # its beat: it still lives, and the task with it
    assert farm.die("w3") == []
    assert farm.client.get("a")["charges"] == "1"


def test_a_death_that_is_found_long_after_it_counts_all_the_same(farm: Farm) -> None:
    """As by a Monitor once the lease is over, or by a successor that takes long to load."""
    farm.start("bad")
    for worker in ("w1", "w2", "w3"):
        assert farm.claim(worker) == ["bad"]
        farm.redis.zincrby(farm.keys.workers, -10 * RULE.window_ms, worker)
        if farm.client.get("bad").get("since"):
            since = float(farm.client.get("bad")["since"]) - 10 * RULE.window_ms
            farm.redis.hset(farm.keys.task("bad"), "since", f"{since:.0f}")
        convicted = farm.die(worker)
    assert convicted == ["bad"]


def test_a_worker_that_leaves_in_good_order_charges_nothing(farm: Farm) -> None:
    farm.start("a")
    farm.claim("w1")
    farm.keeper.hand_back("w1", died=False)
    assert "charges" not in farm.client.get("a")


def test_a_task_that_was_present_at_five_deaths_is_named(farm: Farm) -> None:
    farm.start("slow")
    often: list[str] = []
    for number in range(5):
        farm.claim(f"w{number}")
        farm.redis.hdel(farm.keys.task("slow"), "charges")  # it had always run for longer than the window
        often = farm.keeper.hand_back(f"w{number}").often
    assert often == ["slow"]


def test_a_recorded_stop_wins_over_the_verdict(farm: Farm) -> None:
    farm.start("bad")
    for worker in ("w1", "w2"):
        farm.claim(worker)
        farm.die(worker)
    farm.claim("w3")
    farm.client.stop("bad")
    assert farm.die("w3") == []
    assert farm.client.get("bad")["state"] == "STOPPED"


def test_a_restart_clears_what_stood_against_a_task(farm: Farm) -> None:
    farm.start("bad")
    for worker in ("w1", "w2", "w3"):
        farm.claim(worker)
        farm.die(worker)
    farm.client.restart("bad")
    assert not {"charges", "deaths", "since", "output"} & set(farm.client.get("bad"))
    assert farm.claim("w4") == ["bad"]


def test_without_a_limit_nothing_is_charged(farm: Farm) -> None:
    farm.keeper = farm.stores.keeper(farm.redis, farm.keys, PoisonRule(max_deliveries=0))
    farm.start("bad")
    for number in range(5):
        assert farm.claim(f"w{number}") == ["bad"]
        assert farm.die(f"w{number}") == []


def test_a_restart_clears_what_counted_against_a_task_also_while_it_runs(farm: Farm) -> None:
    """Also where its worker dies before it has heard of the restart, for the third time."""
    farm.start("a", "b")
    for worker in ("w1", "w2"):
        assert len(farm.claim(worker)) >= 1
        farm.claim(worker)
        farm.die(worker)
    [task_id] = farm.claim("w3")
    assert farm.client.get(task_id)["charges"] == "2"

    farm.client.restart(task_id)

    assert farm.die("w3") == []
    assert farm.client.get(task_id)["state"] == "WAIT"
    assert "charges" not in farm.client.get(task_id)


# Who hung a worker

HANG = Hang("bad", "task 'bad' (t) blocks the loop at shop.py:7 in spin")


def hang(farm: Farm, worker: str, *ids: str) -> list[str]:
    """A worker claims, all run for longer than the window, and it hangs by one of them; who is convicted."""
    assert farm.claim(worker) == sorted(ids)
    for task_id in ids:
        if farm.client.get(task_id).get("since"):
            farm.redis.hset(farm.keys.task(task_id), "since", "1")
    farm.renew(worker, *ids)
    return farm.keeper.hand_back(worker, hang=HANG).convicted


def test_who_hangs_its_worker_is_charged_whatever_the_window_and_its_neighbours_are_not(farm: Farm) -> None:
    farm.start("bad", "near")
    assert hang(farm, "w1", "bad", "near") == []
    assert hang(farm, "w2", "bad", "near") == []
    assert hang(farm, "w3", "bad", "near") == ["bad"]

    task = farm.client.get("bad")
    assert (task["state"], farm.client.end_ids()) == ("EXCEPTION", ["bad"])
    output = json.loads(task["output"])
    for words in (
        "killed 3 times because it hung by this task",
        "shop.py:7 in spin",
        "gevent.sleep(0)",
        "another process",
    ):
        assert words in output
    assert "--hang-timeout" in output
    assert "native code" not in output
    near = farm.client.get("near")
    assert near["state"] == "WAIT"
    assert not {"charges", "deaths", "hangs"} & set(near)


def test_a_worker_can_name_none_but_its_own_tasks(farm: Farm) -> None:
    farm.start("bad")
    assert farm.claim("w1") == ["bad"]
    farm.start("near")
    for worker in ("w2", "w3", "w4"):
        assert farm.claim(worker) == ["near"]
        assert farm.keeper.hand_back(worker, hang=HANG).convicted == []

    assert "hangs" not in farm.client.get("bad")
    assert farm.client.get("bad")["state"] == "RUNNING"


@pytest.mark.parametrize("how", ["restart", "an end", "a push"])
def test_hangs_are_forgotten_with_the_run(farm: Farm, how: str) -> None:
    farm.start("bad")
    hang(farm, "w1", "bad")
    hang(farm, "w2", "bad")
    assert farm.client.get("bad")["hangs"] == "2"
    farm.claim("w3")

    if how == "restart":
        assert farm.client.restart("bad")
        farm.keeper.hand_back("w3")
    else:
        farm.workers["w3"].report([], [Ending("bad", farm.owner("bad"), "SUCCESS", "1")], [], [])
        if how == "a push":
            farm.redis.lpush(farm.keys.new_queue, "bad")
        else:
            farm.start("bad")
    farm.claim("w4")

    assert "hangs" not in farm.client.get("bad")


def test_where_convictions_are_off_nobody_is_charged_for_a_hang(farm: Farm) -> None:
    keeper = farm.stores.keeper(farm.redis, farm.keys, PoisonRule(max_deliveries=0))
    farm.start("bad")
    for worker in ("w1", "w2", "w3", "w4"):
        assert farm.claim(worker) == ["bad"]
        assert keeper.hand_back(worker, hang=HANG).convicted == []
    assert "hangs" not in farm.client.get("bad")
