"""F27, F28 on a cluster: a host behind a wire of its own hears nothing, is not heard, or sees but some of the nodes.

Unlike the proxies of the other tests the wire is real: a network namespace, so that the nodes can tell all their
clients the same addresses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cluster_trial import ClusterTrial
from tests.faults.numbers import GRACE, LEASE, SCALE, SWEEP
from tests.faults.test_cluster import EITHER
from tests.faults.trial import seconds_until
from tests.support.machine.private_network import PrivateNetwork, why_not
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.waiting import wait_until

#: FIN_WAIT1, LAST_ACK and CLOSING, as the kernel numbers the states of a connection.
_CLOSING = {"04", "09", "0B"}


@pytest.fixture(scope="module")
def network() -> Iterator[PrivateNetwork]:
    """Three addresses of ours, and a host that sees them."""
    missing = why_not()
    if missing:
        assert "not installed" not in missing or os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    with PrivateNetwork(3) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(network: PrivateNetwork) -> Iterator[ServerCluster]:
    """Three masters, each at an address of its own."""
    with ServerCluster(hosts=network.addresses, appendonly=True) as made:
        yield made


@pytest.fixture(autouse=True)
def healed(network: PrivateNetwork) -> Iterator[None]:
    """However a test ends."""
    yield
    network.heal()


class Cut:
    """Two hosts of two workers each, with tasks for ever, of which one is about to be cut off."""

    def __init__(self, trial: ClusterTrial, network: PrivateNetwork) -> None:
        self.trial, self.network = trial, network
        self.host = trial.host(2, launcher=network.launcher)
        trial.host(2)
        self.pids = self.host.pids()
        self.theirs = [each for each in trial.forever(16) if self._is_there(each)]
        assert self.theirs
        self.ending = trial.start(*(("soak/short", {"seconds": 0.8}, f"short-{number}") for number in range(16)))
        trial.wait_running(self.ending)

    def _is_there(self, task_id: str) -> bool:
        runs = self.trial.runs(task_id)
        return bool(runs) and runs[-1].pid in self.pids

    def until_others_have_all(self) -> float:
        """How long that took; no copy of ours may have been there any more when another began."""
        took = seconds_until(lambda: not any(map(self._is_there, self.theirs)), LEASE + 10)
        for task_id in self.theirs:
            *_, before, now = self.trial.runs(task_id)
            assert before.ended < now.began, f"{task_id} ran twice at a time"
        return took

    def heal(self) -> float:
        """How long until its workers, the same as before, have ended new tasks."""
        self.network.heal()
        took = seconds_until(self._takes_part, 15)
        assert self.host.pids() == self.pids
        self.trial.wait_state(self.ending, "SUCCESS")
        # What it gave up is still on its way: TCP tries again at pauses that grow. A worker that left before that came
        # would seem to be there once more, until a Monitor finds its lease overdue.
        wait_until(lambda: not unsaid(self.pids[0]), 60, "closed connections to say their last words")
        return took

    def _takes_part(self) -> bool:
        number = len(self.trial.book.tried)
        more = self.trial.start(*(("soak/short", {"seconds": 0.2}, f"more-{number}-{each}") for each in range(20)))
        self.trial.wait_state(more, "SUCCESS")
        return any(self.trial.runs(each)[0].pid in self.pids for each in more)


def unsaid(pid: int) -> int:
    """How many TCP connections are closed in that process' network while their last bytes are not acknowledged."""
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] in _CLOSING for row in rows)


@pytest.mark.parametrize("setup", EITHER)
@pytest.mark.parametrize("lost", ["both ways", "our answers", "its words"][: 1 + SCALE])
def test_a_host_that_falls_silent_stops_its_tasks_before_others_start_them_and_comes_back_by_itself(
    cluster: ServerCluster, network: PrivateNetwork, setup: str, lost: str
) -> None:
    """F27, and F28: in one direction only."""
    with ClusterTrial(cluster, setup, task_timeout=LEASE, partition_grace=GRACE) as trial:
        cut = Cut(trial, network)
        if lost != "our answers":
            network.silence()
        if lost != "its words":
            network.silence_answers()
        took = cut.until_others_have_all()
        assert GRACE < took < LEASE + SWEEP + 2
        back = cut.heal()
        print(f"{setup}, {lost}: its {len(cut.theirs)} tasks ran elsewhere after {took:.1f} s; back in {back:.1f} s")


@pytest.mark.parametrize("setup", EITHER)
@pytest.mark.parametrize("seen", [0, 1, 2][: 2 * SCALE - 1])
def test_a_host_that_sees_one_node_of_three_does_no_harm_and_comes_back_by_itself(
    cluster: ServerCluster, network: PrivateNetwork, setup: str, seen: int
) -> None:
    """F28: whatever lies on the node that it sees: its lease, the queue, or some of its tasks."""
    with ClusterTrial(cluster, setup, task_timeout=LEASE, partition_grace=GRACE) as trial:
        cut = Cut(trial, network)
        network.silence(*(address for number, address in enumerate(network.addresses) if number != seen))
        took = cut.until_others_have_all()
        assert took < LEASE + SWEEP + 2
        back = cut.heal()
        print(
            f"{setup}, node {seen}: its {len(cut.theirs)} tasks ran elsewhere after {took:.1f} s; back in {back:.1f} s"
        )
