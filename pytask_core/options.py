"""How options are declared and checked: a dataclass, one line for each option, with what it must be.

``config`` (an app), ``start_options`` (one start) and ``task_classes`` (a class) declare theirs this way::

    stop_timeout: float = option(SECONDS)  #: what it means

Who reads options from a caller names :func:`faults` and puts the sentence into an error of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Rule:
    """What an option must be, in words and as a test."""

    words: str  #: such as ``a number of seconds above 0``
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


SECONDS = Rule("a number of seconds above 0", lambda value: _is_number(value) and value > 0)
COUNT = Rule("a whole number above 0", lambda value: _is_whole(value) and value > 0)
COUNT_OR_NO_BOUND = Rule("a whole number, 0 for no bound", lambda value: _is_whole(value) and value >= 0)
BYTES = Rule("a whole number of bytes above 0", COUNT.holds)
YES_OR_NO = Rule("True or False", lambda value: isinstance(value, bool))


def option(*rules: Rule, default: Any = MISSING) -> Any:
    """Declare an option: a field of a dataclass whose values keep the rules."""
    return field(default=default, metadata={Rule: rules})


class Fault(NamedTuple):
    """An option whose value breaks one of its rules."""

    name: str
    value: Any
    words: str  #: of the rule

    def __str__(self) -> str:
        return f"{self.name} must be {self.words}, not {self.value!r}"


def faults(options: DataclassInstance) -> Iterator[Fault]:
    """Yield what is wrong with some options, in the order of their declaration."""
    for name, rules in _rules(type(options)):
        value = getattr(options, name)
        for rule in rules:
            if not rule.holds(value):
                yield Fault(name, value, rule.words)
                break


@cache
def _rules(declared: type[DataclassInstance]) -> tuple[tuple[str, tuple[Rule, ...]], ...]:
    return tuple((each.name, each.metadata[Rule]) for each in fields(declared) if Rule in each.metadata)
