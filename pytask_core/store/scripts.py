"""What runs the Lua scripts, one file a transition. Those in ``many_slots/`` each keep to the keys of one slot.

The store calls :meth:`Scripts.call`; nobody else sends a script. Each file begins with its keys, arguments and answer.
All are safe to run twice, since a reply can be lost after the server has done its part.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from ..connection.deadlines import Deadlines
from ..connection.nodes import Command, Nodes, ask, is_cluster
from ..keys import beside

_FILES = resources.files(__package__).joinpath("lua")

#: Name of a script, its keys and its arguments.
Call = tuple[str, list[str], list[Any]]

#: The files of shared functions. Each needs only what stands before it.
_SHARED = ("prelude", "queue", "parking", "knowing", "poison", "lease", "leaving")

#: What every script begins with. To Redis and Valkey it is a comment. Dragonfly refuses scripts without it that touch
#: other keys than they have declared, and ours find the keys of a batch of tasks by their ids.
_FLAGS = "--!df flags=allow-undeclared-keys"

#: Scripts of both regimes that touch the hash which is their key and nothing else.
_OF_ONE_HASH = frozenset({"ask_reload", "reload", "set"})


#: Lines of a script that say something to people alone, or nothing.
_COMMENT = re.compile(r"^[ ]*(--.*)?\n", re.MULTILINE)

#: A definition in a file of shared functions: all from one ``local`` at the beginning of a line to the next.
_DEFINITION = re.compile(r"^local (?:function )?(\w+(?:, \w+)*).*\n(?:(?!local ).*\n)*", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A script as the server knows it."""

    name: str
    source: str
    sha: str


@cache
def load(name: str, *, timed: bool = False) -> Script:
    """Return the script in ``<name>.lua`` with what it needs before it; ``timed``: see :mod:`.deadlines`."""
    text = (_text("deadline") if timed else "") + _text(name)
    # The server makes each function again with each call, and reads the source with each call that carries it. So what
    # a script does not name is left out, and comments are.
    for definition in reversed(_definitions()):
        if any(re.search(rf"\b{each}\b", text) for each in definition[1].split(", ")):
            text = definition[0] + text
    source = f"{_FLAGS}\n{text}"
    script = Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
    _sources[script.sha] = source
    return script


def _text(file: str) -> str:
    return _COMMENT.sub("", _FILES.joinpath(f"{file}.lua").read_text("utf-8"))


@cache
def _definitions() -> list[re.Match[str]]:
    return [each for file in _SHARED for each in _DEFINITION.finditer(_text(file))]


#: Of the scripts that were loaded, by their hashes.
_sources: dict[str, str] = {}


def source_of(sha: str) -> str:
    """Return the source of a script that :func:`command` has named by its hash."""
    return _sources[sha]


def load_all() -> None:
    """Read all files now: later there may be no file descriptor for one."""
    for directory, before in (
        (_FILES, ""),
        (_FILES.joinpath("many_slots"), "many_slots/"),
    ):
        for file in directory.iterdir():
            if file.name.endswith(".lua"):
                load(before + file.name.removesuffix(".lua"))


def command(
    name: str, keys: list[str], args: list[Any], *, by_sha: bool = True, timed: bool = False
) -> tuple[Any, ...]:
    """Return the command that runs a script: by its hash, or with its source; ``timed``: lacks its deadline yet."""
    script = load(name, timed=timed)
    head = ("EVALSHA", script.sha) if by_sha else ("EVAL", script.source)
    return (*head, len(keys), *keys, *args)


def call(client: Any, name: str, keys: list[str], args: list[Any], deadlines: Deadlines | None = None) -> Any:
    """Run a script; a server that does not know it yet (new, restarted, flushed) is sent its source.

    With ``deadlines`` it is carried out before the caller hears of a failure, or never.
    """
    if is_cluster(client):
        return call_each(client, [(name, keys, args)], deadlines=deadlines)[0]
    timed = deadlines is not None
    try:
        return ask(client, command(name, keys, args, timed=timed), deadlines)
    except NoScriptError:
        return ask(client, command(name, keys, args, by_sha=False, timed=timed), deadlines)


def call_all(client: Any, batch: Sequence[Call], replicas: int = 0, deadlines: Deadlines | None = None) -> list[Any]:
    """Run scripts of one slot in one round trip, in order.

    Args:
        client: what to send them with.
        batch: name, keys and arguments of each.
        replicas: how many replicas must have what they wrote before this returns.
        deadlines: as in :func:`call`.
    """
    if len(batch) == 1 and not replicas:
        return [call(client, *batch[0], deadlines)]
    # With their source: one that the server did not know would have to be sent again, after those behind it.
    nodes, timed = Nodes(client, deadlines=deadlines), deadlines is not None
    return _good(nodes.run([_addressed(client, each, by_sha=False, timed=timed) for each in batch], replicas))


def call_each(client: Any, batch: Sequence[Call], replicas: int = 0, deadlines: Deadlines | None = None) -> list[Any]:
    """Run scripts, each for a slot of its own, in one round trip to all nodes. Arguments as in :func:`call_all`.

    A node may refuse one that it does not know yet, or whose slot is just moved, and do those behind it; the refused
    one is sent again. So no two with the same first key are under way at once: the later waits for the next round trip.
    """
    answers: list[Any] = [None] * len(batch)
    for places in _rounds([keys[0] for _, keys, _ in batch]):
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
    # Those of many slots are each safe to repeat as they are, since they carry a claim token; only an event would be
    # heard twice. What a client orders carries none: repeated, it would undo what others have ordered meanwhile.
    resend = not timed and all(name.startswith("many_slots/") and name != "many_slots/emit" for name, *_ in batch)
    answers = nodes.run([_addressed(client, each, timed=timed) for each in batch], replicas, resend=resend)
    unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        again = nodes.run([_addressed(client, batch[at], by_sha=False, timed=timed) for at in unknown], replicas)
        for place, answer in zip(unknown, again, strict=True):
            answers[place] = answer
    return _good(answers)


def call_then(client: Any, first: Sequence[Call], *then: tuple[Any, ...]) -> list[Any]:
    """Run scripts and after them, in the same packet, commands whose second word is a key; return all answers.

    All are for one slot.
    """
    scripts = (_addressed(client, each, by_sha=False) for each in first)
    return _good(Nodes(client).run([*scripts, *((each[1], each) for each in then)]))


def call_around(client: Any, before: Call, command_: tuple[Any, ...], after: Call) -> list[Any]:
    """Run a script, a command that may block and whose first word but one is a key, and another script when it is done.

    All go out in one packet and are for one slot, so nothing has to be sent once the command is through.
    """
    batch = [_addressed(client, before, by_sha=False), (command_[1], command_), _addressed(client, after)]
    answers = Nodes(client).run(batch)
    if isinstance(answers[2], NoScriptError) and not any(isinstance(each, Exception) for each in answers[:2]):
        answers[2] = call(client, *after)
    return _good(answers)


def _addressed(client: Any, call: Call, *, by_sha: bool = True, timed: bool = False) -> Command:
    name, keys, args = call
    if is_cluster(client) and (len(keys) > 1 or not (name.startswith("many_slots/") or name in _OF_ONE_HASH)):
        # While its slot is moved key by key, a script would find some keys gone, those that it is not told in ``keys``
        # among them. One that is never there makes the nodes refuse it until all are in one place again.
        keys = [*keys, beside(keys[0], "nothing")]
    return keys[0], command(name, keys, args, by_sha=by_sha, timed=timed)


def _good(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
