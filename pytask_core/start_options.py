"""``StartOptions``: what a start may ask for besides the name and the data of the task.

``PyTaskHelpers`` makes one for each call, and one for all tasks of ``start_tasks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from .errors import InvalidTask
from .options import YES_OR_NO, Fault, Rule, faults, option

_NOT_DATA = Rule("a text, a number or a UUID", lambda value: not isinstance(value, Mapping))


@dataclass(frozen=True, slots=True)
class StartOptions:
    """The options of a start. A new one is one line here, with its type, its rule and its default."""

    #: Which task: an id of the caller's own; None: a new one.
    task_id: str | int | UUID | None = option(_NOT_DATA, default=None)
    #: Whether the ended task is passed to Cleanup.
    cleanup: bool = option(YES_OR_NO, default=True)

    def refuse_unfit(self, task_name: str) -> None:
        """Make sure that the options of one start make sense.

        Raises:
            InvalidTask: one does not, probably since it is data of the task, which would get lost in its place.
        """
        for fault in faults(self):
            raise InvalidTask(_data_in_place_of(fault, task_name))

    def refuse_unfit_for_all(self) -> None:
        """Make sure that options that many starts share make sense.

        Raises:
            InvalidTask: one does not.
        """
        for fault in faults(self):
            raise InvalidTask(f"{fault.name} must be {fault.words}, for all tasks alike, not {fault.value!r:.200}")


def _data_in_place_of(fault: Fault, task: Any) -> str:
    option, value = fault.name, fault.value
    if isinstance(value, Mapping):
        return (
            f"{option} of the task {task!r} is a {type(value).__name__}; if that is its data, write it as keyword "
            f"arguments: start_task({task!r}, …, **data)"
        )
    return (
        f"{option} of the task {task!r} must be {fault.words}, not {value!r:.200}; if that is data of the task, "
        f"write start_tasks([({task!r}, {{{option!r}: …}})])"
    )
