"""``Pool``: connections for which callers queue, handed out at a tenth of what redis-py's own pool costs.

redis-py notes each taking and giving in its own metrics, under the pool's name, which it writes anew each time. That
costs more than the command between them. What it promises is kept: a connection that the server has closed meanwhile,
or over which an answer is still to come, is opened anew before it is handed out; and a forked child opens its own.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from queue import Empty, Full
from traceback import walk_tb
from typing import Any
from weakref import WeakKeyDictionary

from redis.connection import BlockingConnectionPool
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the library's name
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the library's name
)

from ..forks import forks

log = logging.getLogger("pytask.connection")

#: Seconds that a task waits for a connection until the log says that there is none. Below, the moment may be busy.
SAY_AFTER = 5.0

#: Seconds after which it is given up. Longer bears longer commands of others, shorter tells the task sooner.
GIVE_UP_AFTER = 20.0


class Pool(BlockingConnectionPool):
    """A pool as its parent, without metrics, health checks and maintenance notifications.

    Args:
        client_name: what ``CLIENT LIST`` is to show its connections as. A server that knows no such command, or does
            not permit it, serves them as well.
        purpose: what it is for, where users' code may take connections for long: then who waits in vain is told.
        how: as the parent's.
    """

    def __init__(self, *, client_name: str | None = None, purpose: str = "", **how: Any) -> None:
        self._name = client_name
        self._purpose = purpose
        self._said_full = False
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        super().__init__(**how)  # type: ignore[no-untyped-call] # theirs
        forks.hold(self)

    def make_connection(self) -> Any:
        """Return a new connection, which is given its name whenever it is opened."""
        connection = super().make_connection()  # type: ignore[no-untyped-call] # theirs
        if self._name is not None:
            connection.register_connect_callback(self._introduce)
        return connection

    def _introduce(self, connection: Any) -> None:
        connection.send_command("CLIENT", "SETNAME", self._name, check_health=False)
        with suppress(ResponseError):
            connection.read_response()
        connection.send_command("CLIENT", "ID", check_health=False)
        with suppress(ResponseError):
            self._numbers[connection] = connection.read_response()

    @property
    def numbers(self) -> list[int]:
        """By what the server knows the connections that have a name, those that are closed by now among them."""
        return list(self._numbers.values())

    def get_connection(self, command_name: Any = None, *_keys: Any, **_options: Any) -> Any:  # noqa: ARG002 - theirs
        """Return a connection that is ready for a command; waits for one where all are taken.

        Raises:
            redis.ConnectionError: the server cannot be reached, or all were taken for too long.
        """
        self._checkpid()
        connection = self._take()
        try:
            if connection is None:
                connection = self.make_connection()
            _open(connection)
            if not _is_silent(connection):
                connection.disconnect()
                _open(connection)
        except BaseException as error:
            # Its place is free again, with or without it.
            self.pool.put_nowait(connection)
            _close_half_open(error)
            raise
        return connection

    def _take(self) -> Any:
        try:
            return self.pool.get(timeout=SAY_AFTER if self._purpose else self.timeout)
        except Empty:
            if not self._purpose:
                raise ConnectionError("No connection available.") from None
        words = (
            f"all {self.max_connections} connections of {self._purpose} are taken, by subscriptions or by commands "
            "that block; give these a client of their own, or raise max_connections of PyTask"
        )
        if not self._said_full:
            self._said_full = True
            log.warning("%s. What waits for one gets an error after %g s. (Said once.)", words, GIVE_UP_AFTER)
        try:
            return self.pool.get(timeout=GIVE_UP_AFTER - SAY_AFTER)
        except Empty:
            raise ConnectionError(f"{words}. None was free for {GIVE_UP_AFTER:g} s") from None

    def release(self, connection: Any) -> None:
        """Take a connection back; one of a parent process, or to a master of yesterday, is closed."""
        self._checkpid()
        if not self.owns_connection(connection):
            connection.disconnect()
            connection = None
        try:
            self.pool.put_nowait(connection)
        except Full:
            # It was taken before a fork or a reset, and its place is filled already.
            return


def _open(connection: Any) -> None:
    """Connect, unless it is. At the other end of a new connection may be another server: we know nothing of it yet."""
    before = connection._sock
    connection.connect()
    if connection._sock is not before:
        connection.scripts_sent = set()
        connection.server_clock = None


def _close_half_open(error: BaseException) -> None:
    """Close the socket of a connection whose greenlet was killed by ``error`` while it connected.

    redis-py closes it where connecting fails. Here it would stay open for as long as somebody keeps ``error``.
    """
    if isinstance(error, RedisError):
        return
    for frame, _line in walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, socket.socket):
                value.close()


def _is_silent(connection: Any) -> bool:
    """Whether nothing is to be read: neither an answer to somebody else nor the end of the connection."""
    try:
        return not connection.can_read()
    except (ConnectionError, TimeoutError, OSError):
        return False
