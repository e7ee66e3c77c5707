"""What the fault tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.core_process import Nursery
from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import TcpProxy


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Has a worker whenever a test wants one."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    """Between the worker and the shared server."""
    with TcpProxy(redis_server.socket) as proxy:
        yield proxy
