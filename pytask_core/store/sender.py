"""``run``: sends scripts, and sees that a server which does not know one is sent its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError

from ..connection.deadlines import Deadlines
from ..connection.nodes import Command, Nodes, ask, is_cluster
from ..keys import beside
from .calls import Call
from .scripts import load, source_of

#: A command of Redis as it is, whose second word is a key.
Plain = tuple[Any, ...]


def run(
    client: Any,
    *batch: Call | Plain,
    apart: bool = False,
    replicas: int = 0,
    deadlines: Deadlines | None = None,
) -> list[Any]:
    """Run scripts and commands in one round trip; return their answers.

    Without ``apart`` all are for one slot and go out in one packet, in order: one that the server does not know yet
    would come behind the others, so all but the last carry their source. Of the last the server is sent the source
    where it asks for that, or at once where replicas must have what it writes.

    Args:
        client: what to send them with.
        batch: what to send. A command may block, so nothing has to be sent once it is through.
        apart: each is for a slot of its own. Those of one key go out one after the other, in round trips of their own.
        replicas: how many replicas must have what was written before this returns.
        deadlines: with them, each script is carried out before the caller hears of a failure, or never.

    Raises:
        redis.RedisError: one of them failed; the others may have run.
    """
    if not batch:
        return []
    if apart or (len(batch) == 1 and is_cluster(client)):
        return _run_apart(client, batch, replicas, deadlines)
    timed = deadlines is not None
    *before, last = batch
    try:
        if not before and not replicas:
            return [ask(client, command(client, last, timed=timed)[1], deadlines)]
    except NoScriptError:
        return [ask(client, command(client, last, by_sha=False, timed=timed)[1], deadlines)]
    commands = [command(client, each, by_sha=False, timed=timed) for each in before]
    nodes = Nodes(client, deadlines=deadlines)
    # The replicas may fail to confirm, and the caller is to hear that of a write which has been made.
    answers = nodes.run([*commands, command(client, last, by_sha=not replicas, timed=timed)], replicas)
    if isinstance(answers[-1], NoScriptError):
        _good(answers[:-1])
        answers[-1:] = nodes.run([command(client, last, by_sha=False, timed=timed)])
    return _good(answers)


def _run_apart(client: Any, batch: Sequence[Any], replicas: int, deadlines: Deadlines | None) -> list[Any]:
    """Run scripts, each for a slot of its own.

    A node may refuse one that it does not know yet, or whose slot is just moved, and do those behind it; the refused
    one is sent again. So no two with the same first key are under way at once: the later waits for the next round trip.
    """
    answers: list[Any] = [None] * len(batch)
    for places in _rounds([call.keys[0] for call in batch]):
        part = _run_each(client, [batch[place] for place in places], replicas, deadlines)
        for place, answer in zip(places, part, strict=True):
            answers[place] = answer
    return answers


def _rounds(keys: Sequence[str]) -> Sequence[Sequence[int]]:
    """Sort places into round trips: each key once in each, in order."""
    if len(set(keys)) == len(keys):
        return [range(len(keys))]
    rounds: list[list[int]] = []
    seen: Counter[str] = Counter()
    for place, key in enumerate(keys):
        if seen[key] == len(rounds):
            rounds.append([])
        rounds[seen[key]].append(place)
        seen[key] += 1
    return rounds


def _run_each(client: Any, batch: Sequence[Call], replicas: int, deadlines: Deadlines | None) -> list[Any]:
    nodes, timed = Nodes(client, source_of, deadlines), deadlines is not None
    # What a client orders carries no claim token: repeated, it would undo what others have ordered meanwhile.
    resend = not timed and all(load(each).header.resend for each in {call.script for call in batch})
    answers = nodes.run([command(client, each, timed=timed) for each in batch], replicas, resend=resend)
    unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        again = nodes.run([command(client, batch[at], by_sha=False, timed=timed) for at in unknown], replicas)
        for place, answer in zip(unknown, again, strict=True):
            answers[place] = answer
    return _good(answers)


def command(client: Any, call: Call | Plain, *, by_sha: bool = True, timed: bool = False) -> Command:
    if not isinstance(call, Call):
        return call[1], call
    script, keys = load(call.script, timed=timed), call.keys
    if (len(keys) > 1 or script.header.also) and is_cluster(client):
        # While its slot is moved key by key, a script would find some keys gone, those that it is not told in ``keys``
        # among them. One that is never there makes the nodes refuse it until all are in one place again.
        keys = [*keys, beside(keys[0], "nothing")]
    head = ("EVALSHA", script.sha) if by_sha else ("EVAL", script.source)
    return keys[0], (*head, len(keys), *keys, *call.args)


def _good(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
