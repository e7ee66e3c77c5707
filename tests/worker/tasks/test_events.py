"""Events of a task arrive in order and before its end, whatever the nodes know of our scripts."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from pytask_core import Task
from pytask_core.store import BATCH
from tests.support.core_apps import Echo
from tests.support.servers.forgotten_scripts import forget_scripts
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.waiting import wait_until
from tests.worker.conftest import Live, Make
from tests.worker.redis.test_failover import patiently


class Counting(Task):
    """Says 0, 1, 2 and returns at once."""

    NAME = "counting"

    def start(self) -> None:
        for number in range(3):
            self.emit("step", number)


def hears_all(live: Live, ids: list[str]) -> None:
    """Run these tasks and see that each is heard in full."""
    # Now the node knows the script of an end, and perhaps not that of an event.
    live.helpers.start_task("echo", "{x}")
    live.until("{x}", "SUCCESS")
    listener = live.listen(*ids)
    for each in ids:
        live.helpers.start_task("counting", each)
    heard: list[str] = []
    while heard.count("success") < len(ids):
        heard += [str(each["data"]) if each["event"] == "step" else each["event"] for each in listener.until("success")]
    assert heard.count("0") == heard.count("1") == heard.count("2") == len(ids), heard
    listener.close()


def test_no_event_is_lost_while_scripts_are_flushed_again_and_again(live: Live) -> None:
    live.worker(Echo, Counting)

    over = Event()

    def forget() -> None:
        while not over.wait(0.001):
            forget_scripts(live.server)

    forgetting = gevent.spawn(forget)
    try:
        # The tag keeps them on one node, so that the listener hears them in the order in which they were said.
        for turn in range(5):
            hears_all(live, [f"{{x}}{turn}-{number}" for number in range(30)])
    finally:
        over.set()
        forgetting.join()


def test_no_event_is_lost_after_a_restart(own_live: Live) -> None:
    own_live.worker(Echo, Counting)
    hears_all(own_live, ["{x}before"])

    own_live.server.restart()

    wait_until(patiently(own_live.helpers.queue_lengths), 20, "the server to be back")
    hears_all(own_live, [f"{{x}}{number}" for number in range(30)])


@pytest.fixture
def cluster() -> Iterator[ServerCluster]:
    with ServerCluster(replicas=1) as made:
        yield made


def test_no_event_is_lost_on_a_replica_that_has_just_been_promoted(cluster: ServerCluster, make_live: Make) -> None:
    live = make_live(cluster, {})
    live.worker(Echo, Counting, update_task_interval=0.5)
    hears_all(live, ["{x}before"])

    cluster.master_of(live.keys.task("{x}")).kill()

    wait_until(patiently(lambda: live.helpers.start_task("echo", "{x}first")), 30, "another master")
    live.until("{x}first", "SUCCESS", timeout=20)
    hears_all(live, [f"{{x}}{number}" for number in range(30)])


class Talking(Task):
    """Says more than goes into one round trip, at its end or as it is stopped."""

    NAME = "talking"

    def __init__(self, ends: bool) -> None:
        self.ends = ends

    def start(self) -> None:
        try:
            while not self.ends:
                gevent.sleep(0.05)
        finally:
            for number in range(3 * BATCH):
                self.emit("step", number)


class Chatting(Task):
    """Talks without a pause, faster than its events can be sent."""

    NAME = "chatting"

    def start(self) -> None:
        while True:
            for _ in range(100):
                self.emit("chat")
            gevent.sleep(0)


@pytest.mark.parametrize("way", ["end", "stop", "restart", "reload", "requeue"])
def test_a_task_that_says_more_than_one_round_trip_takes_is_heard_to_its_last_word(live: Live, way: str) -> None:
    worker = live.worker(Talking)
    listener = live.listen("a")
    live.helpers.start_task("talking", "a", ends=way == "end")
    if way != "end":
        live.until("a", "RUNNING")
    if way == "stop":
        live.helpers.stop_task("a")
    elif way == "restart":
        live.helpers.restart_task("a")
    elif way == "reload":
        live.helpers.reload_task("a")
    elif way == "requeue":
        live.end(worker)

    heard: list[int] = []

    def all_is_heard() -> bool:
        heard.extend(each["data"] for each in listener.heard() if each["event"] == "step")
        return len(heard) >= 3 * BATCH

    wait_until(all_is_heard, 10, "its last word")
    assert heard == list(range(3 * BATCH))


def test_a_task_that_talks_without_a_pause_keeps_no_other_from_its_end(live: Live) -> None:
    live.worker(Chatting, Echo)
    live.helpers.start_task("chatting", "a")
    live.until("a", "RUNNING")

    for number in range(10):
        live.helpers.start_task("echo", f"b{number}", text="x")

    for number in range(10):
        live.until(f"b{number}", "SUCCESS", timeout=5)
