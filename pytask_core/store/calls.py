"""``Calls``: gives a script its keys and arguments, by the names in its own header."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from ..keys import RedisKeys
from .scripts import Header, load

#: Ids in one script. More saves round trips, fewer lets others have their turn on the server sooner.
BATCH = 500

#: Names that stand for a key of one task, and for the methods of :class:`RedisKeys` that need its id or a worker's.
_OF_TASK = {"task", "control"}
_OF_WORKER = {"held", "names", "inbox", "suspect", "last_claim", "last_take", "cleaning", "last_report"}


class Call(NamedTuple):
    """A script that is to be run."""

    script: str  #: its name
    keys: list[str]
    args: list[Any]


#: Gives a key or an argument, or several, of what a caller has named.
_Part = Callable[[dict[str, Any]], Any]
_Parts = Callable[[dict[str, Any]], Iterable[Any]]


class _Plan(NamedTuple):
    """Where the keys and arguments of a script come from, given what the caller names: worked out once."""

    script: str
    keys: list[str] | None  #: where they are always the same
    only_key: _Part | None  #: where it is one that is not
    key_parts: _Parts
    args: list[str] | None
    arg_parts: _Parts


class Calls:
    """Makes calls. What the system knows is filled in: its keys, the prefixes of its names, and the worker.

    Args:
        keys: the names of the system.
        worker: whose keys are meant where a caller names no other worker.
        folder: where the scripts lie, such as ``many_slots/``.
    """

    def __init__(self, keys: RedisKeys, worker: str | None = None, folder: str = "") -> None:
        self._keys = keys
        self._worker = worker
        self._folder = folder
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def make(self, script: str, each: Iterable[Any] = (), /, **named: Any) -> Call:
        """Return the call of a script.

        Args:
            script: its name.
            each: the arguments that follow the named ones, as its header has them under ``EACH``.
            named: the keys and arguments that the system does not know: those in the header, ``task_id`` for the keys
                of a task, and ``worker`` for those of another worker.

        Raises:
            TypeError: a name is missing, or is not in the header.
        """
        plan = self._plans.get((script, *named)) or self._plan(script, tuple(named))
        if plan.only_key is not None:
            keys = [plan.only_key(named)]
        else:
            keys = plan.keys if plan.keys is not None else [*plan.key_parts(named)]
        args = plan.args if plan.args is not None else plan.arg_parts(named)
        return Call(plan.script, keys, [*args, *each])

    def _plan(self, script: str, named: tuple[str, ...]) -> _Plan:
        file = self._folder + script
        header = load(file).header
        used: set[str] = set()
        keys = [self._part(file, each, named, used) for each in header.keys]
        args = [self._part(file, each, named, used) for each in header.args]
        if unknown := set(named) - used:
            raise TypeError(f"{file}.lua takes nothing by the name of {', '.join(sorted(unknown))}")
        plan = _Plan(
            file,
            _fixed(keys),
            keys[0] if len(keys) == 1 and not isinstance(keys[0], str) else None,
            _gather(keys, header.keys, named),
            _fixed(args),
            _gather(args, header.args, named),
        )
        self._plans[script, *named] = plan
        return plan

    def _part(self, script: str, name: str, named: tuple[str, ...], used: set[str]) -> str | _Part:
        """Return a key or argument that is always the same, or what gives it."""
        if name in named:
            used.add(name)
            return itemgetter(name)
        if name in _OF_TASK and "task_id" in named:
            used.add("task_id")
            of_task = getattr(self._keys, name)
            return lambda given: of_task(given["task_id"])
        if name in _OF_WORKER and "worker" in named:
            used.add("worker")
            of_worker = getattr(self._keys, name)
            return lambda given: of_worker(given["worker"])
        known = self._known(name)
        if known is None:
            raise TypeError(f"{script}.lua takes {name}, which the call does not name")
        return known

    def _known(self, name: str) -> str | None:
        if name == "worker":
            return self._worker
        if name in _OF_WORKER:
            return None if self._worker is None else str(getattr(self._keys, name)(self._worker))
        known = getattr(self._keys, name, None)
        return known if isinstance(known, str) else None


def _fixed(parts: list[str | _Part]) -> list[str] | None:
    fixed = [each for each in parts if isinstance(each, str)]
    return fixed if len(fixed) == len(parts) else None


def _gather(parts: list[str | _Part], names: Sequence[str], named: tuple[str, ...]) -> _Parts:
    """Return what gives all of them. It runs for each task, so the common case has a way of its own."""
    if len(names) > 1 and set(names) <= set(named):
        return itemgetter(*names)
    made = [_callable(each) for each in parts]
    return lambda given: [part(given) for part in made]


def _callable(part: str | _Part) -> _Part:
    return (lambda _: part) if isinstance(part, str) else part


def header_of(call: Call) -> Header:
    """Return what the script of a call declares of itself."""
    return load(call.script).header
