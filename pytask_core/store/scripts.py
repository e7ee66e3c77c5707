"""Reads the Lua scripts with what each declares of itself, and makes what a server is sent.

A file begins with a comment that declares, by name:

- ``KEYS:`` its keys, as :class:`~pytask_core.keys.RedisKeys` has them, and ``ALSO:`` those that it finds by itself;
- ``ARGV:`` its arguments, and ``EACH:`` those that follow once or more, for each task;
- ``RESEND: yes`` where it may be sent again as it is, since a second time gives the same answer and changes nothing.

In the code ``KEYS.task`` and ``ARGV.token`` stand for the places of those names, ``EACH.first`` and ``EACH.step`` for
where the arguments of each task begin and how many they are, and ``i + EACH.id`` for one of them. Words such as
``State.WAIT`` are those of :mod:`pytask_core.states` and :mod:`pytask_core.outcomes`. All of them are replaced here, so
the server pays nothing for them, and one that is not declared fails before anything is sent.

What is shared stands in files without such a comment, and is found by name: so do the decisions, in ``decide/``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import NamedTuple

from ..outcomes import PLACES, Dealt, Entry, Mark, Outcome, Parking, Passed, Place, Push
from ..states import Command, OldState, Reason, TaskState

_FILES = resources.files(__package__).joinpath("lua")

#: The words that scripts may use.
WORDS: dict[str, type[StrEnum]] = {
    "State": TaskState,
    **{each.__name__: each for each in (OldState, Command, Reason, Outcome, Passed, Entry, Dealt, Push, Parking, Mark)},
}

#: The files of shared functions. Each needs only what stands before it.
_SHARED = ("prelude", "queue", "parking", "knowing", "poison", "lease", "placing", "leaving")

#: What every script begins with. To Redis and Valkey it is a comment. Dragonfly refuses scripts without it that touch
#: other keys than they have declared, and ours find the keys of a batch of tasks by their ids.
_FLAGS = "--!df flags=allow-undeclared-keys"

#: Lines of a script that say something to people alone, or nothing.
_COMMENT = re.compile(r"^[ ]*(--.*)?\n", re.MULTILINE)

#: A line that declares something.
_DECLARED = re.compile(r"^-- (KEYS|ALSO|ARGV|EACH|RESEND): (.*)$", re.MULTILINE)

#: What is replaced.
_NAMED = re.compile(rf"(?:(\w+) \+ )?\b({'|'.join(['KEYS', 'ARGV', 'EACH', *WORDS])})\.(\w+)\b")

#: What is asked of the table of places, such as ``PLACE.active(outcome)``.
_PLACE = re.compile(r"\bPLACE\.(\w+)\((\w+)\)")

#: The questions that a script may ask of it.
_QUESTIONS: dict[str, Callable[[Place], bool]] = {
    "queue": lambda place: place.queue is not None,
    "look": lambda place: place.queue in {Push.LOOK, Push.ENSURE},
    "ends": lambda place: place.ends,
    "active": lambda place: place.active is True,
    "inactive": lambda place: place.active is False,
    "freed": lambda place: place.freed,
    "before": lambda place: place.before,
    "others": lambda place: place.others,
}

#: A word of the code, in which functions are found by their names.
_WORD = re.compile(r"\w+")

#: A definition in a file of shared functions: all from one ``local`` at the beginning of a line to the next.
_DEFINITION = re.compile(r"^local (?:function )?(\w+(?:, \w+)*).*\n(?:(?!local ).*\n)*", re.MULTILINE)


@dataclass(frozen=True)
class Header:
    """What a script declares of itself."""

    keys: Sequence[str] = ()
    args: Sequence[str] = ()
    each: Sequence[str] = ()
    resend: bool = False  #: it may be sent again as it is
    also: bool = False  #: it touches other keys than its own


@dataclass(frozen=True)
class Script:
    """A script as the server knows it."""

    name: str
    header: Header
    source: str
    sha: str


class _Definition(NamedTuple):
    """A shared function, or what several share beside them."""

    code: str
    names: Sequence[str]
    words: frozenset[str]


@cache
def load(name: str, *, timed: bool = False) -> Script:
    """Return the script in ``<name>.lua`` with what it needs before it; ``timed``: see :mod:`.deadlines`."""
    raw = _read(name)
    header = _header(raw)
    text = (named(_read("deadline"), Header()) if timed else "") + named(raw, header, name)
    # The server makes each function again with each call, and reads the source with each call that carries it. So what
    # a script does not name is left out, and comments are.
    words, parts = set(_WORD.findall(text)), [text]
    for definition in reversed(_definitions()):
        if not words.isdisjoint(definition.names):
            words |= definition.words
            parts.append(definition.code)
    text = "".join(reversed(parts))
    source = f"{_FLAGS}\n{text}"
    script = Script(name, header, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
    _sources[script.sha] = source
    return script


def _read(file: str) -> str:
    return _FILES.joinpath(f"{file}.lua").read_text("utf-8")


def _header(text: str) -> Header:
    found: dict[str, list[str]] = {}
    for word, names in _DECLARED.findall(text.partition("\n\n")[0]):
        found.setdefault(word, []).extend(names.split())
    return Header(
        keys=found.get("KEYS", ()),
        args=found.get("ARGV", ()),
        each=found.get("EACH", ()),
        resend=found.get("RESEND") == ["yes"],
        also="ALSO" in found,
    )


def named(text: str, header: Header, name: str = "") -> str:
    """Return the code without comments, in which each name is replaced by what it stands for."""

    def replace(match: re.Match[str]) -> str:
        before, kind, word = match.groups()
        try:
            return _sum(before, _meaning(kind, word, header))
        except (KeyError, ValueError):
            raise ValueError(f"{name}.lua uses {kind}.{word}, which is not declared") from None

    return _NAMED.sub(replace, _PLACE.sub(_placed, _COMMENT.sub("", text)))


def _placed(match: re.Match[str]) -> str:
    """Return a condition that holds for the outcomes of which the table answers so."""
    question, outcome = match.groups()
    is_so = _QUESTIONS[question]
    return "(" + " or ".join(f"{outcome} == '{each}'" for each, place in PLACES.items() if is_so(place)) + ")"


def _sum(before: str | None, meaning: str) -> str:
    if before is None:
        return meaning
    return before if meaning == "0" else f"{before} + {meaning}"


def _meaning(kind: str, word: str, header: Header) -> str:
    if kind == "KEYS":
        return f"KEYS[{header.keys.index(word) + 1}]"
    if kind == "ARGV":
        return f"ARGV[{header.args.index(word) + 1}]"
    if kind == "EACH":
        places = {"first": len(header.args) + 1, "step": len(header.each)}
        return str(places[word] if word in places else header.each.index(word))
    return f"'{WORDS[kind][word]}'"


@cache
def _definitions() -> list[_Definition]:
    files = [*_SHARED, *_names("decide")]
    found = (each for file in files for each in _DEFINITION.finditer(named(_read(file), Header(), file)))
    return [_Definition(each[0], each[1].split(", "), frozenset(_WORD.findall(each[0]))) for each in found]


def _names(folder: str) -> list[str]:
    """Return the names of the scripts in a folder."""
    files = sorted(each.name for each in _FILES.joinpath(folder).iterdir())
    return [f"{folder}/{name.removesuffix('.lua')}".lstrip("/") for name in files if name.endswith(".lua")]


#: Of the scripts that were loaded, by their hashes.
_sources: dict[str, str] = {}


def source_of(sha: str) -> str:
    """Return the source of a script that is sent by its hash."""
    return _sources[sha]


def load_all() -> None:
    """Read all files now: later there may be no file descriptor for one."""
    for name in (*_names(""), *_names("many_slots")):
        load(name)
