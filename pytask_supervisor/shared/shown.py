"""How a log line shows text that others wrote: ids, task names, errors.

Such text is bounded, and never begins a line of the log. ``logs`` calls it. A producer chooses ids and names, and a
task chooses what it raises. A log that took these as they are could be filled by one id, made to speak in the master's
name, or made to steer the terminal of its reader.
"""

from __future__ import annotations

import itertools
import logging
from typing import Any

#: Characters of a value in a line of ours that ``%r`` shows: ids and names. Longer shows more of odd ones.
LONGEST_NAME = 200
#: Characters of one that ``%s`` shows: sentences, among them what Redis and the system say.
LONGEST_SENTENCE = 1_000
#: Characters of a message, and of a traceback below it. Longer shows more of deep ones.
LONGEST_TEXT = 10_000
#: Values shown of a list.
MOST_VALUES = 100
#: Each line after the first begins with it, so that it cannot be taken for a line of the log.
MARGIN = "  "


def cut(text: str, longest: int) -> str:
    """``text``, or its beginning and its end with the number of characters between them."""
    if len(text) <= longest:
        return text
    head, tail = text[: longest * 2 // 3], text[-(longest // 4) :]
    # The password in a URL that is cut in two could not be found. The URL may begin in the part that is left out.
    begin = len(text) - len(tail)
    if text.find("://", text.rfind("\n", 0, begin) + 1, begin + 2) >= 0:
        _, end, behind = tail.partition("\n")
        tail = end + behind
    url = head.find("://", head.rfind("\n") + 1)
    head = head[: url + 3] if url >= 0 else head
    return f"{head}[… {len(text) - len(head) - len(tail)} characters left out …]{tail}"


def escaped(text: str, keep: str = "") -> str:
    """``text`` with everything escaped that steers a terminal or the direction of writing, except for ``keep``."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode() for each in text
    )


def as_block(text: str) -> str:
    """Text of one or more lines as it may stand in a log."""
    first, *others = [escaped(line, keep="\t") for line in text.split("\n")]
    return "\n".join([first, *(line if line.startswith(MARGIN) else MARGIN + line for line in others)])


def message_of(record: logging.LogRecord) -> str:
    """The message. In a line of ours each value is bounded, and cannot begin a new line.

    A program's own loggers say what they like: only the whole is bounded.
    """
    if not record.args or not is_ours(record):
        return cut(record.getMessage(), LONGEST_TEXT)
    form = str(record.msg)
    if isinstance(record.args, dict):
        return cut(form % {key: _bounded(value) for key, value in record.args.items()}, LONGEST_TEXT)
    block = _place_of_block(form)
    values = [value if place == block else _bounded(value) for place, value in enumerate(record.args)]
    return cut(form % tuple(values), LONGEST_TEXT)


def is_ours(record: logging.LogRecord) -> bool:
    """Whether one of our own loggers speaks."""
    return record.name == "pytask" or record.name.startswith("pytask.")


def _place_of_block(form: str) -> int:
    """Which value may have several lines: the only one, or that behind a line's end; -1: none."""
    if form == "%s":
        return 0
    before, found, _ = form.partition("\n%s")
    return before.replace("%%", "").count("%") if found else -1


def _bounded(value: Any) -> Any:
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_bounded(each) for each in itertools.islice(value, MOST_VALUES)]
    return value if isinstance(value, (int, float)) or value is None else _Value(value)


class _Value:
    """Stands for a value in ``%s`` and ``%r``."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return escaped(cut(str(self._value), LONGEST_SENTENCE))

    def __repr__(self) -> str:
        value = self._value
        if isinstance(value, str):
            return repr(cut(value, LONGEST_NAME))
        # Bytes are cut before, since each may become four characters.
        return cut(repr(value[:LONGEST_NAME] if isinstance(value, bytes) else value), LONGEST_SENTENCE)
