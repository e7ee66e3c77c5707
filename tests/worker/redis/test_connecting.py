"""What is left of a connection that is not made."""

from __future__ import annotations

import socket

import gevent
import pytest

from pytask_core import StopTask
from pytask_core.connection import RedisSource, disconnect
from tests.support.machine.descriptors import SYN_SENT, open_files, tcp_states
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("server", gevent.GreenletExit),
        ("server", StopTask),
        ("node", gevent.GreenletExit),
        ("door", gevent.GreenletExit),
    ],
)
def test_a_greenlet_that_is_killed_while_it_connects_leaves_no_socket_open(
    how: str, error: type[BaseException]
) -> None:
    with socket.socket() as deaf, socket.socket() as first:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        # The only one there is room for; who comes next gets no answer.
        first.connect(("127.0.0.1", port))
        scheme = "redis" if how == "server" else "redis+cluster"
        client = RedisSource(f"{scheme}://127.0.0.1:{port}").store_client(1)
        call = client.knock if how == "door" else client.ping
        before = open_files()
        greenlet = gevent.spawn(call)
        wait_until(lambda: SYN_SENT in tcp_states(port), 5)

        greenlet.kill(error)

        # What it was killed with is still kept, and what hangs on that.
        assert isinstance(greenlet.value or greenlet.exception, error)
        assert open_files() == before
        disconnect(client)
