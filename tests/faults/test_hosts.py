"""F27, F28: three hosts in networks of their own, each with two workers, a master and the replica of another's.

One is cut off, both ways or in one direction, or reaches all but one node; and a client's order is delivered late.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import redis

from pytask_core import PyTaskHelpers
from tests.faults.cluster_trial import ClusterTrial
from tests.faults.test_cluster import EITHER
from tests.faults.test_partition import unsaid
from tests.faults.trial import seconds_until
from tests.soak.hosts import Host
from tests.support.machine.host_network import HostNetwork, why_not
from tests.support.servers.redis_cluster import Node, ServerCluster
from tests.support.waiting import wait_until

#: Seconds: a lost host stops its tasks after the second; after the first and a Monitor's round they run elsewhere.
LEASE, GRACE = 5.0, 2.5

#: The host that is cut off.
CUT = 2


class HostNode(Node):
    """A node on a host: reached from here by its socket file, whatever is lost on the way to the host."""

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"


@pytest.fixture(scope="module")
def network() -> Iterator[HostNetwork]:
    missing = why_not()
    if missing:
        assert "not installed" not in missing or os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    with HostNetwork(3) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(network: HostNetwork) -> Iterator[ServerCluster]:
    """A master on each host, and its replica on the next."""
    launchers = {address: network.launcher(host) for host, address in enumerate(network.addresses)}

    def node(timeout: int, host: str, **options: Any) -> Node:
        return HostNode(timeout, host=host, launcher=launchers[host], **options)

    places = [*network.addresses, *network.addresses[1:], network.addresses[0]]
    with ServerCluster(hosts=places, replicas=1, timeout=1500, node=node, appendonly=True) as made:
        yield made


@pytest.fixture
def trial_on(cluster: ServerCluster, network: HostNetwork) -> Iterator[Callable[[str], Trio]]:
    """Makes the trial; heals the network however a test ends."""
    with ExitStack() as stack:

        def begin(setup: str) -> Trio:
            cluster.until_well()
            trial = stack.enter_context(ClusterTrial(cluster, setup, task_timeout=LEASE, partition_grace=GRACE))
            stack.callback(network.heal)
            return Trio(trial, network)

        yield begin


class Trio:
    """Three hosts with tasks for ever, one of which is about to be cut off."""

    def __init__(self, trial: ClusterTrial, network: HostNetwork) -> None:
        self.trial, self.network, self.cluster = trial, network, trial.cluster
        self.hosts = [trial.host(2, launcher=network.launcher(number)) for number in range(3)]
        self.cut = self.hosts[CUT]
        self.pids = self.cut.pids()
        self.forever = trial.forever(18)
        self.theirs = [each for each in self.forever if self.is_there(each)]
        assert self.theirs

    def is_there(self, task_id: str) -> bool:
        runs = self.trial.runs(task_id)
        return bool(runs) and runs[-1].pid in self.pids

    def until_others_have_all(self, timeout: float = 25) -> float:
        took = seconds_until(lambda: not any(map(self.is_there, self.theirs)), timeout)
        for task_id in self.theirs:
            *_, before, now = self.trial.runs(task_id)
            assert before.ended < now.began, f"{task_id} ran twice at a time"
        return took

    def serves(self, name: str) -> None:
        """See that new tasks end while something is cut off, wherever their hashes lie."""
        ids = [f"{name}-{number}" for number in range(12)]
        for each in ids:
            wait_until(lambda each=each: self.trial.try_start(each), 30, f"{each} to be accepted")
        self.trial.wait_state(ids, "SUCCESS", timeout=30)

    def heal(self) -> None:
        self.network.heal()
        self.cluster.until_well()
        numbers = itertools.count()

        def takes_part() -> bool:
            turn = next(numbers)
            more = [f"more-{turn}-{number}" for number in range(20)]
            for each in more:
                wait_until(lambda each=each: self.trial.try_start(each), 30, f"{each} to be accepted")
            self.trial.wait_state(more, "SUCCESS")
            return any(self.trial.runs(each)[0].pid in self.pids for each in more)

        wait_until(takes_part, 20, "the host to take part again")
        assert self.cut.pids() == self.pids, "its workers are the same as before"
        wait_until(lambda: not any(unsaid(host.pids()[0]) for host in self.hosts), 60, "last words")

    def all_say_that_they_are_back(self) -> bool:
        last = [lines[-1] for host in self.hosts for lines in link_lines(host).values() if lines]
        return all(" is back after " in line or " is well again" in line for line in last)

    def check_logs(self) -> None:
        """Each worker names each loss once, with its reason, and its return."""
        wait_until(self.all_say_that_they_are_back, 20, "every worker to say that it is back")
        for host in self.hosts:
            for worker, lines in sorted(link_lines(host).items()):
                print(host.name, worker, *lines, sep="\n  ")
                losses = Counter(reason(line) for line in lines if " is away: " in line)
                assert len(lines) <= 8, lines
                assert max(losses.values(), default=0) <= 1, lines
                assert sum(" is away again" in line for line in lines) <= 1, lines


def link_lines(host: Host) -> dict[str, list[str]]:
    """What each worker of a host says of its link."""
    found: dict[str, list[str]] = {}
    for line in host.log.read_text(errors="replace").splitlines():
        if said := re.search(r"\[(worker \d+)\] (Redis at .*)", line):
            found.setdefault(said[1], []).append(said[2])
    return found


def reason(line: str) -> str:
    return line.partition(": ")[2].partition(" Tasks run on")[0]


@pytest.mark.parametrize("setup", EITHER)
def test_a_host_that_is_cut_off_both_ways_with_its_master_is_made_up_for(
    trial_on: Callable[[str], Trio], setup: str
) -> None:
    trio = trial_on(setup)
    trio.network.lose(CUT, arriving="all", leaving="all")

    took = trio.until_others_have_all()
    trio.serves("meanwhile")

    trio.heal()
    trio.check_logs()
    print(f"{setup}: its {len(trio.theirs)} tasks ran elsewhere after {took:.1f} s")


@pytest.mark.parametrize("lost", ["arriving", "leaving"])
def test_a_host_that_is_cut_off_in_one_direction_is_made_up_for(trial_on: Callable[[str], Trio], lost: str) -> None:
    trio = trial_on("cluster")
    trio.network.lose(CUT, **{lost: "all"})

    took = trio.until_others_have_all()

    trio.heal()
    trio.check_logs()
    print(f"{lost}: its {len(trio.theirs)} tasks ran elsewhere after {took:.1f} s")


@pytest.mark.parametrize("which", ["the queue", "the task set", "hashes alone"])
def test_a_host_that_reaches_all_nodes_but_one_keeps_nothing_back(trial_on: Callable[[str], Trio], which: str) -> None:
    trio = trial_on("cluster")
    keys, cluster = trio.trial.keys, trio.cluster
    queue, tasks = cluster.master_of(keys.new_queue), cluster.master_of(keys.task_set)
    others = [node for node in cluster.masters if node not in {queue, tasks}]
    gone = {"the queue": queue, "the task set": tasks, "hashes alone": others[0]}[which]
    # The nodes go on talking to each other at other ports.
    trio.network.lose(CUT, leaving=f"ip daddr {gone.host} tcp dport {gone.port}")

    began = time.monotonic()
    for turn in range(3):
        trio.serves(f"meanwhile-{turn}")
    print(f"36 tasks were served in {time.monotonic() - began:.1f} s")
    took = trio.until_others_have_all()
    assert [each for each in trio.trial.redis.smembers(keys.inboxes) if trio.trial.redis.llen(keys.inbox(each))] == []

    trio.heal()
    trio.check_logs()
    for lines in link_lines(trio.cut).values():
        assert f"node {gone.host}:{gone.port}: " in lines[0]
    print(f"its {len(trio.theirs)} tasks ran elsewhere after {took:.1f} s")


def test_an_order_whose_first_copy_the_network_delivers_late_changes_nothing(trial_on: Callable[[str], Trio]) -> None:
    trio = trial_on("cluster")
    node = trio.cluster.masters[0]
    host = trio.network.addresses.index(node.host)
    ended = next(f"ended-{number}" for number in range(100) if trio.cluster.master_of(f"task-ended-{number}") is node)
    trio.trial.start(("soak/short", {}, ended))
    trio.trial.wait_state([ended], "SUCCESS")
    with closing(PyTaskHelpers(trio.cluster.url)) as helpers:
        assert helpers.restart_if_state(ended, "ERROR") is False, "now the connection is there"
        before = helpers.get_task(ended), calls(node)
        trio.network.lose(host, arriving=f"ip saddr {trio.network.ours} tcp dport {node.port}")
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            helpers.restart_task(ended)
        trio.network.heal()

        # TCP tries again at pauses that grow.
        wait_until(lambda: calls(node) > before[1], 30, "the late order to arrive")
        assert helpers.get_task(ended) == before[0]


def calls(node: Node) -> int:
    """How many of our late scripts a node has refused."""
    return int(node.ask("INFO", "errorstats").get("errorstat_LATE", {"count": 0})["count"])
