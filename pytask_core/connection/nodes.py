"""``ask`` sends one command; ``Nodes`` sends a batch to every node it concerns in one round trip.

redis-py's own cluster pipeline looks up each command anew and costs more than the commands; here the caller names the
key. On a single server all commands go over one connection. With redis-py-cluster, which offers no more, one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the library's name
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the library's name
)

from ..keys import beside
from . import AskError, MovedError, TryAgainError
from .deadlines import Deadlines, is_late

#: A key of the slot that the command is for, and the command.
Command = tuple[str, tuple[Any, ...]]

#: Gives the source of a script by its hash.
SourceOf = Callable[[str], str]

#: Answers after which a command is sent again. It has not been carried out, unless the connection failed.
_AGAIN = (MovedError, AskError, TryAgainError, ConnectionError, TimeoutError)

#: Seconds that a batch bears being referred to and fro while slots are moved. Longer bears larger slots, shorter tells
#: callers sooner.
PATIENCE = 5.0

#: What a caller is told then.
_HALF_WAY = f"its slot was not in one place for {PATIENCE:g} s"

#: Seconds between two rounds, from the second on: some keys are here and some there, or two nodes name each other.
PAUSE = 0.02

#: Milliseconds that replicas have to confirm a write. Longer bears slow ones, shorter notices sooner that one is gone.
CONFIRM_TIMEOUT = 1000


class Unconfirmed(ConnectionError):  # noqa: N818 - it is an outage like the others
    """A write has been made, and too few replicas have confirmed it in time."""


def ask(client: Any, command: tuple[Any, ...], deadlines: Deadlines | None = None) -> Any:
    """Send one command and return its answer.

    On a single server straight over a connection: what a client of redis-py does around a command costs more than the
    command. Nothing is sent twice, but what the server has refused since its time was over.

    Args:
        client: a client of a single server; without ``deadlines`` also of a cluster.
        command: the command; with ``deadlines`` a script that waits for its own.
        deadlines: see :class:`Deadlines`.

    Raises:
        redis.RedisError: the server cannot be reached, or answers with an error.
    """
    if deadlines is None:
        return client.execute_command(*command) if is_cluster(client) else _ask(client, command, None)
    began = deadlines.now()
    while True:
        try:
            return _ask(client, command, deadlines)
        except ResponseError as error:
            if not is_late(error):
                raise
            if deadlines.now() - began > PATIENCE:
                raise _slow() from error
            deadlines.forget()


def _slow() -> TimeoutError:
    return TimeoutError(
        f"the server is too slow: for {PATIENCE:g} s it has got to nothing in time, and has done nothing"
    )


def _ask(client: Any, command: tuple[Any, ...], deadlines: Deadlines | None) -> Any:
    pool, sent = client.connection_pool, 0.0
    connection = pool.get_connection()
    try:
        if deadlines is not None:
            command = (*command, deadlines.next(connection))
            sent = deadlines.now()
        connection.send_packed_command(connection.pack_command(*command))
        return connection.read_response()
    except ResponseError:
        raise  # an answer like any other
    except BaseException as error:
        # The answer may still come, and is not for whoever has this connection next.
        connection.disconnect()
        if deadlines is not None and sent and isinstance(error, (ConnectionError, TimeoutError)):
            deadlines.sit_out(sent)
        raise
    finally:
        pool.release(connection)


class _Batch:
    """The commands for one node, over one connection."""

    def __init__(
        self,
        name: str,
        pool: Any,
        source_of: SourceOf | None,
        deadlines: Deadlines | None,
        key: str = "",
        *,
        asking: bool = False,
    ) -> None:
        self.name = name
        self._pool = pool
        self._source_of = source_of
        self._deadlines = deadlines
        self._key = key
        self._asking = asking
        self._connection: Any = None
        #: Seconds for which the node may wait before it answers.
        self._blocks = 0.0
        self._failed: RedisError | None = None
        #: Whether the node may have got something of it.
        self.sent = False
        self.places: list[int] = []
        self.commands: list[tuple[Any, ...]] = []

    def confirm(self, replicas: int) -> None:
        """Have the node wait for its replicas after the commands.

        WAIT knows only of writes that came over its own connection, and a repeated start may find nothing to write.
        """
        self.commands.append(("SET", beside(self._key, "confirm"), 1, "PX", CONFIRM_TIMEOUT))
        self.commands.append(("WAIT", replicas, CONFIRM_TIMEOUT))
        self._blocks = CONFIRM_TIMEOUT / 1000

    def write(self) -> None:
        try:
            self._connection = self._pool.get_connection()
            commands = self._timed() if self._deadlines is not None else self.commands
            commands = self._with_sources(commands, self._source_of) if self._source_of is not None else commands
            if self._asking:
                commands = [each for command in commands for each in (("ASKING",), command)]
            packed = self._connection.pack_commands(commands)
            self.sent = True
            self._connection.send_packed_command(packed)
        except (ConnectionError, TimeoutError) as error:
            self._failed = error

    def _timed(self) -> list[tuple[Any, ...]]:
        """Return the commands, each script with its deadline."""
        assert self._deadlines is not None
        until = self._deadlines.next(self._connection)
        return [(*each, until) if each[0] in {"EVALSHA", "EVAL"} else each for each in self.commands]

    def _with_sources(self, given: list[tuple[Any, ...]], source_of: SourceOf) -> list[tuple[Any, ...]]:
        """Return the commands; where this connection first uses a script, with its source."""
        sent, commands = self._connection.scripts_sent, []
        for command in given:
            if command[0] == "EVALSHA" and command[1] not in sent:
                sent.add(command[1])
                commands.append(("EVAL", source_of(command[1]), *command[2:]))
            else:
                commands.append(command)
        return commands

    def read(self) -> list[Any]:
        """Return an answer for each command; where the connection failed, that error."""
        answers: list[Any] = []
        self._give_time(self._blocks)
        try:
            while self._failed is None and len(answers) < len(self.commands):
                answers.append(self._answer())
        except (ConnectionError, TimeoutError) as error:
            self._failed = error
        if self._failed is not None:
            return [self._failed] * len(self.commands)
        self._give_time(0.0)
        connection, self._connection = self._connection, None
        self._pool.release(connection)
        return answers

    def _give_time(self, more: float) -> None:
        """Have the socket's timeout begin where the node may no longer be waiting for its replicas."""
        if self._blocks and self._failed is None:
            self._connection._sock.settimeout(self._connection.socket_timeout + more)

    def _answer(self) -> Any:
        try:
            if self._asking:
                self._connection.read_response()
            return self._connection.read_response()
        except ResponseError as error:
            return error

    def drop(self) -> None:
        """Close the connection if an answer may still come over it."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.disconnect()
            self._pool.release(connection)


class _Tries:
    """How often a batch goes out again: for a while where nodes refer it elsewhere, once where a connection failed."""

    def __init__(self, *, resend: bool) -> None:
        self._resend = resend
        self._failed = False
        self._pause = 0.0
        self._deadline = time.monotonic() + PATIENCE

    def may_go_on(self, broken: Sequence[_Batch]) -> bool:
        """Whether to go on though connections failed: what no node can have got does no harm."""
        goes_on = not self._failed and (self._resend or not any(batch.sent for batch in broken))
        self._failed = True
        return goes_on

    def are_over(self) -> bool:
        return time.monotonic() > self._deadline

    def pause(self) -> float:
        """Seconds until the next."""
        pause, self._pause = self._pause, PAUSE
        return pause


class Nodes:
    """Sends batches.

    Args:
        client: a client of a cluster or of a single server.
        source_of: with it, the first use of a script on each connection carries its source.
        deadlines: with it, all commands are scripts that wait for their deadlines. A failure is raised only when what
            was sent is carried out no more.
    """

    def __init__(self, client: Any, source_of: SourceOf | None = None, deadlines: Deadlines | None = None) -> None:
        self._client = client
        self._source_of = source_of
        self._deadlines = deadlines
        #: When the last batch was sent.
        self._sent = 0.0
        self._is_cluster = is_cluster(client)
        self._one_by_one = self._is_cluster and not _shows_nodes(client)

    def run(self, commands: Sequence[Command], replicas: int = 0, *, resend: bool = False) -> list[Any]:
        """Send commands, those for one node in order, and return their answers; an error of one is its answer.

        What a node refers elsewhere is sent there in a batch as well, and what it could not do yet is sent again for
        :data:`PATIENCE`. Where a connection fails, the nodes are looked up anew.

        Args:
            commands: what to send.
            replicas: how many replicas of each node must have the writes before this returns.
            resend: send what went over a connection that failed once more. Only for commands that give the same answer
                when they are run again as they are: a claim of the one-slot regime gives nothing.

        Raises:
            redis.RedisError: a node cannot be reached, or too few replicas have confirmed. What was done is unknown.
        """
        if self._one_by_one:
            return self._run_one_by_one(commands, replicas)
        answers: list[Any] = [None] * len(commands)
        tries = _Tries(resend=resend and self._is_cluster)
        pending: Sequence[int] = range(len(commands))
        confirmed = True
        while pending:
            batches = self._sort(commands, pending, answers)
            confirmed = self._send(batches, answers, replicas) and confirmed
            pending = [place for place, answer in enumerate(answers) if isinstance(answer, _AGAIN) or is_late(answer)]
            broken = [each for each in batches if isinstance(answers[each.places[0]], (ConnectionError, TimeoutError))]
            told = [answers[place] for place in pending]
            if broken and not (self._is_cluster and tries.may_go_on(broken)):
                self._give_up(broken[0], answers[broken[0].places[0]])
            if pending and tries.are_over():
                for place in pending:
                    answers[place] = _slow() if is_late(answers[place]) else TryAgainError(_HALF_WAY)
                break
            if pending:
                self._learn(told, broken[0].name if broken else "")
                if self._deadlines is not None and any(map(is_late, told)):
                    self._deadlines.forget()
                time.sleep(tries.pause())
        if not confirmed:
            raise Unconfirmed(
                f"fewer than {replicas} replicas have confirmed a write within {CONFIRM_TIMEOUT} ms, as durability asks"
            )
        return answers

    def reach(self) -> None:
        """See that every master of a cluster answers, and says that the cluster is well.

        Raises:
            redis.RedisError: one does not, by name.
        """
        if self._one_by_one:
            return
        batches = []
        for node in self._client.get_primaries():
            pool = self._client.get_redis_connection(node).connection_pool
            batches.append(_Batch(node.name, pool, None, None))
            batches[-1].places, batches[-1].commands = [len(batches) - 1], [("CLUSTER", "INFO")]
        answers: list[Any] = [None] * len(batches)
        self._send(batches, answers, 0)
        for batch, answer in zip(batches, answers, strict=True):
            if isinstance(answer, Exception):
                self._give_up(batch, answer)
            if "cluster_state:ok" not in str(answer):
                raise ConnectionError(f"node {batch.name} says that the cluster is down")

    def _run_one_by_one(self, commands: Sequence[Command], replicas: int) -> list[Any]:
        if replicas:
            raise Unconfirmed(
                "durability='wait' needs redis-py's own cluster client, and redis-py-cluster is installed"
            )
        answers: list[Any] = []
        for _, command in commands:
            try:
                # That library may send a command twice by itself, so a deadline would not tell when it is over.
                answers.append(self._client.execute_command(*command, *([""] if self._deadlines is not None else [])))
            except ResponseError as error:
                answers.append(error)
        return answers

    def _give_up(self, broken: _Batch, error: Exception) -> NoReturn:
        """Tell the caller of a node that failed; of what has a deadline, only when it is carried out no more."""
        if self._is_cluster:
            self._learn([], broken.name)
        if self._deadlines is not None and self._sent:
            self._deadlines.sit_out(self._sent)
        if broken.name and broken.name not in str(error):
            raise type(error)(f"node {broken.name}: {error}") from error
        raise error

    def _send(self, batches: Sequence[_Batch], answers: list[Any], replicas: int) -> bool:
        """Send batches, and note the answers; whether replicas have what was written."""
        confirmed = True
        try:
            # To all nodes before the first answer is awaited.
            for batch in batches:
                if replicas:
                    batch.confirm(replicas)
                batch.write()
                if batch.sent and self._deadlines is not None:
                    self._sent = self._deadlines.now()
            for batch in batches:
                got = batch.read()
                confirmed = confirmed and _confirmed(got, replicas)
                for place, answer in zip(batch.places, got, strict=False):
                    answers[place] = answer
        finally:
            for batch in batches:
                batch.drop()
        return confirmed

    def _sort(self, commands: Sequence[Command], places: Iterable[int], answers: list[Any]) -> list[_Batch]:
        batches: dict[tuple[str, bool], _Batch] = {}
        for place in places:
            key, command = commands[place]
            asked = isinstance(answers[place], AskError)
            name, pool = self._lane(key, answers[place] if asked else None)
            batch = batches.get((name, asked))
            if batch is None:
                batch = batches[name, asked] = _Batch(name, pool, self._source_of, self._deadlines, key, asking=asked)
            batch.places.append(place)
            batch.commands.append(command)
        return list(batches.values())

    def _lane(self, key: str, asked: Any = None) -> tuple[str, Any]:
        """Return a name and the connections of the node that has a key's slot, or that we were told to ask."""
        if not self._is_cluster:
            return "", self._client.connection_pool
        node = self._client.get_node(asked.host, asked.port) if asked else None
        node = node or self._client.get_node_from_key(key.encode("utf-8", "surrogateescape"))
        return node.name, self._client.get_redis_connection(node).connection_pool

    def _learn(self, answers: Sequence[Any], gone: str) -> None:
        """Take note of where slots are now; where a node did not answer, ask the others first."""
        manager = self._client.nodes_manager
        if gone:
            manager.initialize(last_failed_node_name=gone)
        self._client.learn([answer for answer in answers if isinstance(answer, MovedError)])


def is_cluster(client: Any) -> bool:
    """Whether it is the client of a cluster."""
    return _shows_nodes(client) or hasattr(client.connection_pool, "nodes")


def _shows_nodes(client: Any) -> bool:
    return hasattr(client, "get_node_from_key")


def _confirmed(answers: list[Any], replicas: int) -> bool:
    """Whether as many replicas as wanted have what was written before."""
    return not replicas or (isinstance(answers[-1], int) and answers[-1] >= replicas)
