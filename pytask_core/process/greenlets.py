"""A worker's own greenlets: one meant to run for ever starts again after an error, others report it.

An unexpected error in one of them is a bug, or a machine that lacks something, such as file descriptors; either way the
worker goes on with all that works.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import MethodType
from typing import Any

import gevent

from ..loops import Backoff

log = logging.getLogger("pytask.worker")

#: The longest pause, in seconds, before what has failed begins again. Longer: a lasting fault costs less.
LONGEST_PAUSE = 5.0
#: Seconds for which the same failure is not told again, and of good work after which it is news.
NOT_AGAIN = 60.0


def keep(function: Callable[[], object]) -> gevent.Greenlet:
    """Run a function that is to run for as long as the worker lives; where it raises, it begins again after a pause."""
    return gevent.spawn(_kept, function)


def _kept(function: Callable[[], object]) -> None:
    backoff, told = Backoff(most=LONGEST_PAUSE), float("-inf")
    while True:
        began = time.monotonic()
        try:
            function()
            return
        except Exception as error:
            now = time.monotonic()
            if now - began > NOT_AGAIN:
                backoff.reset()
            if now - told > NOT_AGAIN:
                told = now
                log.exception("%s has failed (%s) and begins again, with pauses", _name(function), type(error).__name__)
        gevent.sleep(backoff.pause())


def once(function: Callable[..., object], *words: Any) -> gevent.Greenlet:
    """Run a function once, beside everything else; what it raises is told in the log."""
    return gevent.spawn(_told, function, words)


def _told(function: Callable[..., object], words: tuple[Any, ...]) -> None:
    try:
        function(*words)
    except Exception:
        log.exception("A bug in pytask: %s has failed; the worker goes on without it", _name(function))


def _name(function: Callable[..., object]) -> str:
    if isinstance(function, MethodType):  # of a part, which may have it from its parent
        return f"{type(function.__self__).__name__}.{function.__name__}"
    return str(getattr(function, "__qualname__", function))
