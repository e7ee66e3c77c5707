"""Events of a task arrive in order and before its end, whatever the nodes know of our scripts."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from pytask_core import Task
from tests.support.core_apps import Echo
from tests.support.forgotten_scripts import forget_scripts
from tests.support.redis_cluster import ServerCluster
from tests.support.waiting import wait_until
from tests.worker.conftest import Live, Make
from tests.worker.test_failover import patiently


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
