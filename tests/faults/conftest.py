"""What the fault tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.faults.cluster_trial import ProcessTrial
from tests.faults.trial import Trial
from tests.support.processes.core_process import Nursery
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer
from tests.support.servers.setups import Setup, chosen_name
from tests.support.servers.tcp_proxy import TcpProxy


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Has a worker whenever a test wants one."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def stage(setup: Setup, request: pytest.FixtureRequest) -> Callable[[], Trial]:
    """Makes a trial, on a server of its own or on the shared cluster."""
    if not setup.is_cluster:
        return Trial
    cluster = request.getfixturevalue("redis_server")
    return lambda: ProcessTrial(cluster, chosen_name())


@pytest.fixture
def proxy(redis_server: RedisServer | ServerCluster) -> Iterator[TcpProxy]:
    """Between the worker and the shared server, or all nodes of the cluster."""
    with TcpProxy(*[each.socket for each in _servers(redis_server)]) as proxy:
        yield proxy


@pytest.fixture
def detour(redis_server: RedisServer | ServerCluster, proxy: TcpProxy) -> dict[int, int] | None:
    """How a worker comes to the nodes of a cluster by the proxy; None where it needs but its URL."""
    if not isinstance(redis_server, ServerCluster):
        return None
    return dict(zip([node.port for node in redis_server.nodes], proxy.ports, strict=True))


def _servers(server: RedisServer | ServerCluster) -> Sequence[RedisServer]:
    return server.nodes if isinstance(server, ServerCluster) else [server]
