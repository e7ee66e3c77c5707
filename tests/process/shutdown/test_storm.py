"""Two hundred signals in a row, in any order: nothing hangs, nothing is left, and the last word counts."""

from __future__ import annotations

import random
import re
import signal
import time

import psutil
import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.supervisor_process import SupervisorProcess, is_zombie
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

SIGNALS = 200
#: Seconds that they take together.
SPAN = 8.0
STEERING = [
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGTTOU,  # Twice, so that the machine keeps its processes countable.
    signal.SIGCHLD,
]


def rage(supervisor: SupervisorProcess, dice: random.Random) -> None:
    """Send them all."""
    for _ in range(SIGNALS):
        supervisor.send(dice.choice(STEERING))
        # The moments are the point.
        time.sleep(dice.uniform(0, 2 * SPAN / SIGNALS))


def test_after_a_storm_the_state_is_that_of_the_last_commands(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    """F12: two hundred signals in random order."""
    with start("--workers", "2", "--graceful-timeout", "5") as supervisor:
        supervisor.wait_ready(2)
        ids = helpers.start_tasks([("forever", {})] * 20)
        rage(supervisor, random.Random(1))

        # Down to one worker.
        said = supervisor.text.count("SIGTTOU: it stays at 1 worker")

        def is_at_one() -> bool:
            supervisor.send(signal.SIGTTOU)
            return supervisor.text.count("SIGTTOU: it stays at 1 worker") > said

        wait_until(is_at_one, 20, interval=0.2)
        # Claiming.
        if re.findall(r"SIGUSR2: workers (are quiet|claim again)", supervisor.text)[-1] == "are quiet":
            supervisor.send(signal.SIGUSR2)
        # New.
        # In one look: the last reload of the storm may still replace it.
        alone = lambda: found if len(found := supervisor.children()) == 1 else []  # noqa: E731
        (before,) = wait_until(alone, 30, "all but one are gone")
        supervisor.send(signal.SIGHUP)
        wait_until(lambda: len(supervisor.children()) == 1 and supervisor.children() != [before], 20)

        wait_until(lambda: {state for [state] in helpers.get_tasks(ids, ["state"])} == {"RUNNING"}, 15)  # type: ignore[misc]
        assert not any(map(is_zombie, supervisor.children()))
        assert supervisor.stop() == 0
        assert redis_server.client().llen("new-task") == 20


@pytest.mark.parametrize(("last", "seed"), [(signal.SIGTERM, 2), (signal.SIGQUIT, 3)])
def test_a_stop_in_the_midst_of_a_storm_is_a_clean_one(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers, last: int, seed: int
) -> None:
    with start("--workers", "2", "--graceful-timeout", "5") as supervisor:
        supervisor.wait_ready(2)
        helpers.start_tasks([("forever", {})] * 20)
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        dice = random.Random(seed)
        for _ in range(40):
            supervisor.send(dice.choice(STEERING))
            time.sleep(dice.uniform(0, 0.05))
        supervisor.send(last)
        began = time.monotonic()
        for _ in range(40):
            if supervisor.process.poll() is None:
                supervisor.send(dice.choice(STEERING))
                time.sleep(0.005)
        assert supervisor.wait(15) == 0
        assert time.monotonic() - began < 6
        assert redis_server.client().llen("new-task") == 20
        assert not [pid for pid in supervisor.left() if psutil.pid_exists(pid)]
