"""Redis moves to another address, as a service of Kubernetes does: workers that know it by name follow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.machine.private_names import PrivateNames, why_not
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

NAME = "redis.moves"
#: Seconds for which the name is not known: by then the pauses between tries have grown to their longest.
UNKNOWN = 6.0


@pytest.fixture
def names(folder: Path) -> PrivateNames:
    missing = why_not(folder)
    if missing:
        assert "not installed" not in missing or os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    return PrivateNames(folder)


@pytest.fixture
def mover() -> Iterator[RedisServer]:
    """It listens at 127.0.0.1 to begin with."""
    with RedisServer(tcp=True) as server:
        yield server


def test_workers_follow_a_name_that_was_not_known_for_a_while_and_has_another_address_then(
    start: Start, names: PrivateNames, mover: RedisServer
) -> None:
    """F39: within five seconds of the moment in which the name is known again."""
    ours = redis.Redis(unix_socket_path=mover.socket, decode_responses=True)
    names.set(NAME, "127.0.0.1")
    words = ["--workers", "2"]
    with (
        closing(ours),
        closing(PyTaskHelpers(ours)) as helpers,
        start(*words, redis=f"redis://{NAME}:{mover.port}", launcher=names.launcher) as supervisor,
    ):
        supervisor.wait_ready(2)
        lasting = helpers.start_task("forever")
        wait_until(lambda: helpers.get_task(lasting).get("state") == "RUNNING")
        names.forget()
        ours.config_set("bind", "127.0.0.2")
        ours.client_kill_filter(_type="normal", skipme=True)
        ours.client_kill_filter(_type="pubsub")
        supervisor.wait_for(f"Redis at redis://{NAME}:{mover.port}/0 is away", count=2)
        hello = helpers.start_task("hello")
        time.sleep(UNKNOWN)
        assert helpers.get_task(hello).get("state") in (None, "WAIT")
        names.set(NAME, "127.0.0.2")
        wait_until(lambda: helpers.get_task(hello).get("state") == "SUCCESS", 5)
        assert helpers.get_task(lasting)["state"] == "RUNNING"
        assert supervisor.stop() == 0
