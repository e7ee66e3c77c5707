"""``ask``: one command. ``Nodes``: one round trip to all the nodes that a batch of commands concerns.

redis-py's own cluster pipeline looks up each command anew and costs more than the commands; here the caller names the
key. On a single server all commands go over one connection. With redis-py-cluster, which offers no more, one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the library's name
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the library's name
)

from .connection import AskError, MovedError, TryAgainError
from .keys import beside

#: A key of the slot that the command is for, and the command.
Command = tuple[str, tuple[Any, ...]]

#: Gives the source of a script by its hash.
SourceOf = Callable[[str], str]

#: Answers after which a command is sent again. It has not been carried out, unless the connection failed.
_AGAIN = (MovedError, AskError, TryAgainError, ConnectionError, TimeoutError)

#: Seconds that a batch bears being referred to and fro while slots are moved. Longer bears larger slots, shorter tells
#: callers sooner.
PATIENCE = 5.0

#: Seconds between two rounds, from the second on: some keys are here and some there, or two nodes name each other.
PAUSE = 0.02

#: Milliseconds that replicas have to confirm a write. Longer bears slow ones, shorter notices sooner that one is gone.
CONFIRM_TIMEOUT = 1000


class Unconfirmed(ConnectionError):  # noqa: N818 - it is an outage like the others
    """A write has been made, and too few replicas have confirmed it in time."""


def ask(client: Any, command: tuple[Any, ...]) -> Any:
    """Send one command and return its answer.

    On a single server straight over a connection: what a client of redis-py does around a command costs more than the
    command. Nothing is sent twice.

    Raises:
        redis.RedisError: the server cannot be reached, or answers with an error.
    """
    if is_cluster(client):
        return client.execute_command(*command)
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_command(*command))
        return connection.read_response()
    except ResponseError:
        raise  # an answer like any other
    except BaseException:
        # The answer may still come, and is not for whoever has this connection next.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


class _Batch:
    """The commands for one node, over one connection."""

    def __init__(self, pool: Any, source_of: SourceOf | None, key: str = "", *, asking: bool = False) -> None:
        self._pool = pool
        self._source_of = source_of
        self._key = key
        self._asking = asking
        self._connection: Any = None
        self._failed: RedisError | None = None
        self.places: list[int] = []
        self.commands: list[tuple[Any, ...]] = []

    def confirm(self, replicas: int) -> None:
        """Have the node wait for its replicas after the commands.

        WAIT knows only of writes that came over its own connection, and a repeated start may find nothing to write.
        """
        self.commands.append(("SET", beside(self._key, "confirm"), 1, "PX", CONFIRM_TIMEOUT))
        self.commands.append(("WAIT", replicas, CONFIRM_TIMEOUT))

    def write(self) -> None:
        try:
            self._connection = self._pool.get_connection()
            commands = self.commands if self._source_of is None else self._with_sources(self._source_of)
            if self._asking:
                commands = [each for command in commands for each in (("ASKING",), command)]
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        except (ConnectionError, TimeoutError) as error:
            self._failed = error

    def _with_sources(self, source_of: SourceOf) -> list[tuple[Any, ...]]:
        """Return the commands; where this connection first uses a script, with its source."""
        sent, commands = self._connection.scripts_sent, []
        for command in self.commands:
            if command[0] == "EVALSHA" and command[1] not in sent:
                sent.add(command[1])
                commands.append(("EVAL", source_of(command[1]), *command[2:]))
            else:
                commands.append(command)
        return commands

    def read(self) -> list[Any]:
        """Return an answer for each command; where the connection failed, that error."""
        answers: list[Any] = []
        try:
            while self._failed is None and len(answers) < len(self.commands):
                answers.append(self._answer())
        except (ConnectionError, TimeoutError) as error:
            self._failed = error
        if self._failed is not None:
            return [self._failed] * len(self.commands)
        connection, self._connection = self._connection, None
        self._pool.release(connection)
        return answers

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


class Nodes:
    """Sends batches.

    Args:
        client: a client of a cluster or of a single server.
        source_of: with it, the first use of a script on each connection carries its source.
    """

    def __init__(self, client: Any, source_of: SourceOf | None = None) -> None:
        self._client = client
        self._source_of = source_of
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
        confirmed = self._send(commands, range(len(commands)), answers, replicas)
        deadline, failed, pause = time.monotonic() + PATIENCE, False, 0.0
        while pending := [place for place, answer in enumerate(answers) if isinstance(answer, _AGAIN)]:
            told = [answers[place] for place in pending]
            broken = [place for place in pending if isinstance(answers[place], (ConnectionError, TimeoutError))]
            gone = self._lane(commands[broken[0]][0])[0] if broken and self._is_cluster else ""
            if broken and (failed or not resend or not self._is_cluster):
                if self._is_cluster:
                    self._learn([], gone)
                raise answers[broken[0]]
            if time.monotonic() > deadline:
                for place in pending:
                    answers[place] = TryAgainError(f"its slot was not in one place for {PATIENCE:g} s")
                break
            failed = failed or bool(broken)
            self._learn(told, gone)
            time.sleep(pause)
            pause = PAUSE
            confirmed = self._send(commands, pending, answers, replicas) and confirmed
        if not confirmed:
            raise Unconfirmed(
                f"fewer than {replicas} replicas have confirmed a write within {CONFIRM_TIMEOUT} ms, as durability asks"
            )
        return answers

    def _run_one_by_one(self, commands: Sequence[Command], replicas: int) -> list[Any]:
        if replicas:
            raise Unconfirmed(
                "durability='wait' needs redis-py's own cluster client, and redis-py-cluster is installed"
            )
        answers: list[Any] = []
        for _, command in commands:
            try:
                answers.append(self._client.execute_command(*command))
            except ResponseError as error:
                answers.append(error)
        return answers

    def _send(self, commands: Sequence[Command], places: Iterable[int], answers: list[Any], replicas: int) -> bool:
        """Send those at some places to where they belong by now, and note the answers; whether replicas have them."""
        batches = self._sort(commands, places, answers)
        confirmed = True
        try:
            # To all nodes before the first answer is awaited.
            for batch in batches:
                if replicas:
                    batch.confirm(replicas)
                batch.write()
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
                batch = batches[name, asked] = _Batch(pool, self._source_of, key, asking=asked)
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
        for answer in answers:
            if isinstance(answer, MovedError):
                manager.move_slot(answer)


def is_cluster(client: Any) -> bool:
    """Whether it is the client of a cluster."""
    return _shows_nodes(client) or hasattr(client.connection_pool, "nodes")


def _shows_nodes(client: Any) -> bool:
    return hasattr(client, "get_node_from_key")


def _confirmed(answers: list[Any], replicas: int) -> bool:
    """Whether as many replicas as wanted have what was written before."""
    return not replicas or (isinstance(answers[-1], int) and answers[-1] >= replicas)
