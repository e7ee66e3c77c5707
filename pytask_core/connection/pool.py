"""``Pool``: connections for which callers queue, at a tenth of the cost of redis-py's own pool.

redis-py notes each use of a connection in its own metrics, under the pool's name, which it builds again each time. That
costs more than the command itself. Its promises are kept: a connection that the server has closed meanwhile, or over
which an answer is still to come, is opened again before it is handed out; and a forked child opens its own.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full
from traceback import walk_tb
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from gevent.monkey import get_original
from redis.connection import BlockingConnectionPool, DefaultParser
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the library's name
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the library's name
)

from ..process.forks import forks

try:
    # The cluster client of redis-py takes any other error of a connection for the failure of a node, and tries again.
    from redis.exceptions import MaxConnectionsError as _TooMany
except ImportError:
    _TooMany = ConnectionError  # type: ignore[misc, assignment] # it is what the newer one comes from

log = logging.getLogger("pytask.connection")

#: Seconds that a task waits for a connection before the log reports it. A shorter wait may be just a busy moment.
SAY_AFTER = 5.0

#: Seconds after which the task gets an error. Longer tolerates longer commands of others, shorter tells the task
#: sooner.
GIVE_UP_AFTER = 20.0

#: Seconds after which a greenlet that sends one command after another lets others run, even if all answers come at
#: once. Longer keeps them waiting, shorter costs each command more.
GIVE_WAY_AFTER = 0.005

#: gevent's makes watchers and goes through its loop even where it is not to wait.
_poller = get_original("select", "poll")


_T = TypeVar("_T")


class AllTaken(_TooMany):
    """For too long all connections that users' code shares were in use."""


class Turns:
    """Waits for one of the connections that users' code may keep. It reports a long wait once, then gives up.

    Args:
        purpose: what they are for.
        most: how many there are; on a cluster, to each node.
    """

    def __init__(self, purpose: str, most: int) -> None:
        self._purpose = purpose
        self._most = most
        self._said = False

    def wait(self, take: Callable[[float], _T], where: str = "") -> _T:
        """Wait for one.

        Args:
            take: called with the seconds that it may wait; raises ``queue.Empty`` if they were in vain.
            where: names the node of a cluster.

        Raises:
            AllTaken: none was free for :data:`GIVE_UP_AFTER`.
        """
        with suppress(Empty):
            return take(SAY_AFTER)
        whither = f" to {where}" if where else ""
        words = (
            f"all {self._most} connections{whither} of {self._purpose} are taken, by subscriptions or by "
            "commands that block; give these a client of their own, or raise max_connections of PyTask"
        )
        if not self._said:
            self._said = True
            log.warning("%s. A task that waits for one gets an error after %g s. (Said once.)", words, GIVE_UP_AFTER)
        try:
            return take(GIVE_UP_AFTER - SAY_AFTER)
        except Empty:
            raise AllTaken(f"{words}. None was free for {GIVE_UP_AFTER:g} s") from None


class Pool(BlockingConnectionPool):
    """A pool as its parent, without metrics, health checks and maintenance notifications.

    Args:
        client_name: what ``CLIENT LIST`` is to show its connections as. A server that does not know
            this command, or does not permit it, serves them too.
        turns: if users' code may keep connections for long: it reports a wait that is too long.
        where: names the node of a cluster to them.
        how: as the parent's.
    """

    def __init__(
        self, *, client_name: str | None = None, turns: Turns | None = None, where: str = "", **how: Any
    ) -> None:
        self._name = client_name
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._turns = turns
        self._where = where
        self._gave_way = 0.0
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
            if (now := time.monotonic()) - self._gave_way > GIVE_WAY_AFTER:
                self._gave_way = now
                time.sleep(0)
            if connection is None:
                connection = self.make_connection()
            _open(connection)
            if not _is_silent(connection):
                connection.disconnect()
                _open(connection)
        except BaseException as error:
            _close_half_open(error)
            # Its socket may be one of those: to whom it is given next, it is to be a closed connection, and no open one
            # with a closed socket. Its place is free again, with or without it.
            if connection is not None:
                with suppress(Exception):
                    connection.disconnect()
            self.pool.put_nowait(connection)
            raise
        return connection

    def _take(self) -> Any:
        if self._turns is not None:
            return self._turns.wait(lambda seconds: self.pool.get(timeout=seconds), self._where)
        try:
            return self.pool.get(timeout=self.timeout)
        except Empty:
            raise ConnectionError("No connection available.") from None

    @property
    def is_taken(self) -> bool:
        """Whether all connections are in use now."""
        return bool(self.pool.empty())

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
    sock, parser = connection._sock, connection._parser
    try:
        if not isinstance(parser, DefaultParser) or hasattr(sock, "pending"):
            # Of another kind, or TLS, which may hold bytes back.
            return not connection.can_read()
        poller = _poller()
        poller.register(sock.fileno(), select.POLLIN)
        return not (poller.poll(0) or parser._reader.has_data())  # type: ignore[union-attr] # hiredis is there
    except (ConnectionError, TimeoutError, OSError):
        return False
