"""Checks a value from another process: its type, its range, its length.

Shapes are made of other shapes, as messages are made of fields. The receiver calls ``check``, which raises if a value
has another shape. The sender calls ``fit``, which brings a value of the right type into its range.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Protocol

#: The largest whole number that every reader of JSON takes as it is.
MOST_WHOLE = 2**53
#: Characters of a value that is shown where it does not fit.
SHOWN = 80


class MisshapenError(ValueError):
    """A value is not what it must be; the text says where, and what it must be. It is short, and safe to show."""


class Shape(Protocol):
    """What all shapes can do."""

    def check(self, value: Any, where: str) -> None:
        """Raise ``MisshapenError`` unless ``value`` has this shape; ``where`` names it."""

    def fit(self, value: Any) -> Any:
        """Bring a value of the right type into its range: a text is cut, a number moved to the nearest that may be."""


def refuse(value: Any, where: str, wanted: str) -> MisshapenError:
    """The error for a value that is not as it is wanted."""
    # A repr of all of it might be long, or be nested too deeply to be had.
    shown = f"{value[: SHOWN + 1]!r}" if isinstance(value, str) else repr(value) if _is_plain(value) else ""
    what = shown[:SHOWN] if shown else f"a {type(value).__name__}"
    return MisshapenError(f"{where} must be {wanted}, not {what}")


def _is_plain(value: Any) -> bool:
    # Python refuses to write out whole numbers of thousands of digits.
    return isinstance(value, bool | float) or value is None or (isinstance(value, int) and abs(value) < MOST_WHOLE**2)


def _can_be_sent(text: str, errors: str) -> bool:
    """Whether it goes out as UTF-8: half a surrogate pair, which JSON can have in it, does not."""
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True


def _without_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Text:
    """At most ``longest`` characters that can be sent to Redis; bytes that are not UTF-8 are surrogates in it."""

    longest: int

    def check(self, value: Any, where: str) -> None:
        """See ``Shape``."""
        if not isinstance(value, str) or len(value) > self.longest:
            raise refuse(value, where, f"a text of {self.longest} characters at most")
        if not _can_be_sent(value, "surrogateescape"):
            raise refuse(value, where, "a text that can be written as UTF-8")

    def fit(self, value: Any) -> Any:
        """See ``Shape``."""
        if not _can_be_sent(value, "surrogateescape"):
            value = _without_surrogates(value)
        return value if len(value) <= self.longest else f"{value[: self.longest - 1]}…"


@dataclass(frozen=True)
class Number:
    """Finite, from ``least`` to ``most``; ``whole``: without a fraction."""

    most: float = MOST_WHOLE
    least: float = 0
    whole: bool = False

    def check(self, value: Any, where: str) -> None:
        """See ``Shape``."""
        is_one = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        # The comparison refuses NaN and infinity too.
        if not is_one or not self.least <= value <= self.most:
            kind = "whole number" if self.whole else "number"
            raise refuse(value, where, f"a {kind} from {self.least:g} to {self.most:g}")

    def fit(self, value: Any) -> Any:
        """See ``Shape``."""
        return self.least if math.isnan(value) else min(max(value, self.least), self.most)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def check(self, value: Any, where: str) -> None:
        """See ``Shape``."""
        if not isinstance(value, bool):
            raise refuse(value, where, "true or false")

    def fit(self, value: Any) -> Any:
        """See ``Shape``."""
        return value


@dataclass(frozen=True)
class Perhaps:
    """That shape, or null."""

    shape: Shape

    def check(self, value: Any, where: str) -> None:
        """See ``Shape``."""
        if value is not None:
            self.shape.check(value, where)

    def fit(self, value: Any) -> Any:
        """See ``Shape``."""
        return None if value is None else self.shape.fit(value)


@dataclass(frozen=True)
class Rows:
    """A list of at most ``most`` values of one shape."""

    shape: Shape
    most: int

    def check(self, value: Any, where: str) -> None:
        """See ``Shape``."""
        if not isinstance(value, list) or len(value) > self.most:
            raise refuse(value, where, f"a list of {self.most} entries at most")
        for number, each in enumerate(value):
            self.shape.check(each, f"{where}[{number}]")

    def fit(self, value: Any) -> Any:
        """See ``Shape``."""
        return [self.shape.fit(each) for each in value[: self.most]]


@dataclass(frozen=True)
class ByName:
    """An object of at most ``most`` values of one shape, whatever their names, which have ``longest`` characters.

    The names are proper UTF-8, since Prometheus takes nothing else.
    """

    shape: Shape
    most: int
    longest: int

    def check(self, value: Any, where: str) -> None:
        """See ``Shape``."""
        if not isinstance(value, dict) or len(value) > self.most:
            raise refuse(value, where, f"an object of {self.most} names at most")
        for name, each in value.items():
            if len(name) > self.longest:
                raise refuse(name, f"a name in {where}", f"of {self.longest} characters at most")
            if not _can_be_sent(name, "strict"):
                raise refuse(name, f"a name in {where}", "a text that can be written as UTF-8")
            self.shape.check(each, f"a value in {where}")

    def fit(self, value: Any) -> Any:
        """See ``Shape``. Names that are the same once they are cut become one, with the value of the last."""
        first = list(value.items())[: self.most]
        return {_without_surrogates(name)[: self.longest]: self.shape.fit(each) for name, each in first}


@dataclass(frozen=True)
class Record:
    """An object with the ``needed`` fields, perhaps the ``optional`` ones, and others only if it ``is_open``."""

    needed: dict[str, Shape]
    optional: dict[str, Shape] = field(default_factory=dict)
    is_open: bool = False

    def check(self, value: Any, where: str) -> None:
        """See ``Shape``."""
        if not isinstance(value, dict):
            raise refuse(value, where, "an object")
        for name, shape in self.needed.items():
            if name not in value:
                raise MisshapenError(f"{where}.{name} is missing")
            shape.check(value[name], f"{where}.{name}")
        for name, each in value.items():
            if name in self.optional:
                self.optional[name].check(each, f"{where}.{name}")
            elif name not in self.needed and not self.is_open:
                raise refuse(name, f"a name in {where}", "one of those that are known")

    def fit(self, value: Any) -> Any:
        """See ``Shape``."""
        shapes = {**self.needed, **self.optional}
        return {name: shapes[name].fit(each) for name, each in value.items()}


def parse(text: bytes | bytearray) -> Any:
    """What JSON says. Raises ``MisshapenError``, also where it is nested too deeply to be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MisshapenError(f"this is not JSON ({type(error).__name__}): {bytes(text[:SHOWN])!r}") from None
