"""Fixtures that every test may ask for: real servers, no logic of their own.

They work in a plain pytest and in one that gevent has patched
(``python -m gevent.monkey --module pytest tests/worker``).
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.servers.redis_server import RedisServer
from tests.support.servers.setups import Setup, chosen
from tests.support.waiting import wait_until


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and programs pass that on to theirs."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_run_time() -> Iterator[None]:
    """A folder for sockets that other runs on this machine do not share: supervisors wait for each other there."""
    with tempfile.TemporaryDirectory(prefix="pyt-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        yield


@pytest.fixture(scope="session")
def setup() -> Setup:
    """What the tests run against. Only those of the store and the workers take another one than a single server."""
    return chosen()


@pytest.fixture
def names(setup: Setup) -> dict[str, str]:
    """The names of the system, as options of ``PyTask`` and ``RedisKeys``."""
    return setup.names


@pytest.fixture(scope="session")
def _shared_server(setup: Setup) -> Iterator[RedisServer]:
    """One server for the whole run, since most tests only need an empty one."""
    with setup.server() as server:
        yield server


@pytest.fixture
def redis_server(_shared_server: RedisServer) -> Iterator[RedisServer]:
    """The shared server, emptied; afterwards no client but the test's own may be left on it.

    A test that stops, kills or pauses its server takes ``own_server`` instead.
    """
    _shared_server.flush()
    yield _shared_server
    _shared_server.close_clients()
    # A test that left processes behind would disturb the next one.
    left: list[dict[str, str]] = []

    def nobody_left() -> bool:
        left[:] = _shared_server.other_clients()
        return not left

    with suppress(AssertionError):
        wait_until(nobody_left, timeout=3)
    assert not left, f"the test left clients: {[(c['id'], c['name'], c['cmd']) for c in left]}"


@pytest.fixture
def own_server(setup: Setup) -> Iterator[RedisServer]:
    """A server of this test's own, that keeps its data over a restart: stop, kill, pause it."""
    with setup.server(appendonly=True) as server:
        yield server
