"""Bounds text by others in pytask's own log lines, whatever handler the program uses.

Ids, names and errors come from producers and tasks. ``pytask-supervisor`` bounds them more, and escapes them.
"""

from __future__ import annotations

import itertools
import logging
from typing import Any

#: Characters of one value in a line. Longer shows more of a deep traceback, which is the longest that there is.
LONGEST = 5_000
#: Values shown of a list of ids.
MOST = 100


class Bounds(logging.Filter):
    """Lets every record pass, with long values cut before anybody formats them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut; ``%r`` of an id of many megabytes would have four times as many."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_bounded, record.args))
        return True


class Steadfast(logging.Logger):
    """A logger that a configuration of the app's does not silence: it turns off each that it does not name."""

    @property
    def disabled(self) -> bool:
        """Never; ``setLevel`` is how to hear less."""
        return False

    @disabled.setter
    def disabled(self, _value: bool) -> None:
        return


def install() -> None:
    """Bound each logger of ours that exists now, once.

    The modules that programs import, ``pytask``, ``helpers`` and ``tasks``, call it when all that they need is loaded.
    """
    for name in [each for each in logging.root.manager.loggerDict if each.partition(".")[0] == "pytask"]:
        logger = logging.getLogger(name)
        if type(logger) is logging.Logger:
            logger.__class__ = Steadfast
        if not any(isinstance(each, Bounds) for each in logger.filters):
            logger.addFilter(Bounds())


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]}[… {len(value) - LONGEST} characters left out …]"
    if isinstance(value, bytes):
        return value[:LONGEST]
    if isinstance(value, (list, set, frozenset)):
        return [_bounded(each) for each in itertools.islice(value, MOST)]
    return value
