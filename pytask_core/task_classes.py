"""Checks a task class when it is added, so that a mistake shows before the first task runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

from .errors import PyTaskException
from .options import faults
from .task import LONGEST_NAME, Task, of_class


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOptions:
    """What a class says of its tasks, in upper case: the field ``name`` is its attribute ``NAME``.

    A new option is one line here, with its type, its rule and its default, such as
    ``tries: int = option(COUNT, default=1)`` for ``TRIES``, and one in ``Task``.
    """

    name: str  #: by which tasks of the class are started

    @classmethod
    def of(cls, name: str, task_class: type[Task]) -> Self:
        """Read the options of a class off it, or off the nearest base that has them.

        Args:
            name: by which the class is known, which may be another than its ``NAME``.
            task_class: the class.

        Raises:
            PyTaskException: one is not what it must be.
        """
        values = {"name": name}
        for each in fields(cls):
            value = of_class(task_class, each.name.upper(), MISSING)
            if value is not MISSING:
                values.setdefault(each.name, value)
        options = cls(**values)
        for fault in faults(options):
            raise PyTaskException(
                f"{fault.name.upper()} of {_path(task_class)} must be {fault.words}, not {fault.value!r:.200}"
            )
        return options


def name_of(task_class: Any) -> str:
    """Return the ``NAME`` of a task class.

    Raises:
        PyTaskException: it is not a subclass of ``Task``, has no ``NAME``, or a name that is too long.
    """
    _refuse_others(task_class)
    name = of_class(task_class, "NAME")
    if not isinstance(name, str) or not name:
        raise PyTaskException(f"{_path(task_class)} has no NAME; give it one, such as NAME = 'my-app/my-task'")
    return name


def refuse_unfit(name: str, task_class: Any, known: Mapping[str, type[Task]]) -> None:
    """Make sure that a class can be run, and that no other has its name.

    Args:
        name: under which it is to be known.
        task_class: the class.
        known: those that were added before, by name. The same class may be added again.

    Raises:
        PyTaskException: it cannot; the text says why and what to do.
    """
    _refuse_others(task_class)
    if len(name) > LONGEST_NAME:
        raise PyTaskException(
            f"the NAME of {_path(task_class)} has {len(name):,} characters; {LONGEST_NAME} are allowed"
        )
    other = known.get(name, task_class)
    if other is not task_class:
        raise PyTaskException(
            f"two task classes are named {name!r}: {_path(other)} and {_path(task_class)}; change one NAME"
        )
    ClassOptions.of(name, task_class)
    if task_class.start is Task.start:
        raise PyTaskException(
            f"{_path(task_class)} has no start method; write one, def start(self): …, that does the work"
        )
    for method in ("start", "stop"):
        _refuse_coroutine(task_class, method, inspect.getattr_static(task_class, method))
    if inspect.isabstract(task_class):
        missing = ", ".join(sorted(task_class.__abstractmethods__))
        raise PyTaskException(f"{_path(task_class)} is abstract, so no task can be made of it; it lacks {missing}")


def _refuse_others(task_class: Any) -> None:
    if not (isinstance(task_class, type) and issubclass(task_class, Task)):
        raise PyTaskException(f"{task_class!r} is not a subclass of pytask_core.Task")


def _refuse_coroutine(task_class: type[Task], method: str, function: Any) -> None:
    if isinstance(function, (staticmethod, classmethod)):
        function = function.__func__
    what = f"{_path(task_class)}.{method}"
    if method == "start" and not callable(function):
        raise PyTaskException(f"{what} must be a method, not {function!r}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PyTaskException(
            f"{what} is an 'async def', which no worker runs; write 'def {method}(self)' and call what waits directly, "
            "since gevent lets other tasks run meanwhile"
        )
    if inspect.isgeneratorfunction(function):
        raise PyTaskException(f"{what} has a 'yield', so that calling it would run none of it; have it return instead")


def _path(task_class: type[Task]) -> str:
    return f"{task_class.__module__}.{task_class.__qualname__}"
