"""The kinds of value an option can have: from text (flag, environment) or TOML to what it means.

Each function takes one value and returns it checked, or raises ``ValueError`` whose text goes
after the option's name: "--workers *must be a whole number from 1 to 1000, or auto, not 'x'*".
"""

from __future__ import annotations

import math
from typing import Any

from pytask_supervisor.cpus import granted_cpus
from pytask_supervisor.redact import redact

#: More processes than that on one server is a slip of the finger.
MOST_WORKERS = 1000

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
)

LOG_LEVELS = ("debug", "info", "warning", "error")


def workers(value: Any) -> int:
    """A number of processes, or ``auto``: one for each CPU we are granted."""
    if value == "auto":
        return granted_cpus()
    number = _whole(value)
    if number is None or not 1 <= number <= MOST_WORKERS:
        raise _wrong(f"a whole number from 1 to {MOST_WORKERS}, or auto", value)
    return number


def count(value: Any) -> int:
    """A whole number, 0 included."""
    number = _whole(value)
    if number is None or number < 0:
        raise _wrong("a whole number, 0 or more", value)
    return number


def seconds(value: Any) -> float:
    """A time span, 0 included."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise _wrong("a number of seconds, 0 or more", value)
    return number


def some_seconds(value: Any) -> float:
    """A time span that is longer than nothing."""
    number = seconds(value)
    if number == 0:
        raise _wrong("a number of seconds above 0", value)
    return number


def text(value: Any) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _wrong("a text that is not empty", value)
    return value.strip()


def app(value: Any) -> str:
    """``module:attribute``."""
    module, _, attribute = text(value).partition(":")
    if not _is_dotted(module) or not _is_dotted(attribute):
        raise _wrong("module:attribute, such as myproject.tasks:app", value)
    return f"{module}:{attribute}"


def modules(value: Any) -> tuple[str, ...]:
    """One or more modules: a list, or text with commas between."""
    words = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(word, str) for word in words):
        raise _wrong("the names of one or more modules", value)
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    if not names or not all(map(_is_dotted, names)):
        raise _wrong("the names of one or more modules, such as myproject.tasks", value)
    return tuple(dict.fromkeys(names))


def redis_url(value: Any) -> str:
    """A URL that ``pytask_core`` understands, or ``embedded[:DIR]``."""
    url = text(value)
    if url == "embedded" or url.startswith("embedded:"):
        return url
    scheme, separator, rest = url.partition("://")
    if scheme not in SCHEMES or not separator or not rest:
        known = " ".join(f"{name}://" for name in SCHEMES)
        # Not the value itself: what is no URL cannot be searched for the password in it.
        raise ValueError(f"must be embedded, embedded:DIR or a URL that starts with one of {known}")
    return url


def log_level(value: Any) -> str:
    """One of ``LOG_LEVELS``, in any case."""
    level = value.lower() if isinstance(value, str) else value
    if level not in LOG_LEVELS:
        raise _wrong(f"one of {' '.join(LOG_LEVELS)}", value)
    return str(level)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    # int() would also take "1_000", " 1 " and digits of other scripts.
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    return None


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _wrong(wanted: str, value: Any) -> ValueError:
    return ValueError(f"must be {wanted}, not {redact(repr(value))}")
