"""The types that an option can have, each read from text (flag, environment) or from TOML.

Each function takes one value and returns it checked, or raises ``ValueError`` whose text goes
after the option's name: "--workers *must be a whole number from 1 to 1000, or auto, not 'x'*".
"""

from __future__ import annotations

import math
import re
from typing import Any

from pytask_core.keys import has_stray_braces
from pytask_core.redis_url import MOST_PORT, UrlError, parse
from pytask_supervisor.host.cpus import granted_cpus
from pytask_supervisor.shared.redact import redact, shown_url

#: More processes than that on one server must be a typing mistake.
MOST_WORKERS = 1000

#: Seconds. Workers give signs of life twice a second, a little later on a busy machine.
SHORTEST_HANG = 2.0

UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")


def workers(value: Any) -> int:
    """A number of processes, or ``auto``: one for each CPU that we may use."""
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
    """A time span above 0."""
    number = seconds(value)
    if number == 0:
        raise _wrong("a number of seconds above 0", value)
    return number


def hang_seconds(value: Any) -> float:
    """A time span longer than the interval between signs of life, or 0 for never."""
    number = seconds(value)
    if 0 < number < SHORTEST_HANG:
        raise _wrong(f"0, or at least {SHORTEST_HANG:g} seconds", value)
    return number


def size(value: Any) -> int:
    """Bytes, 0 included. In text K, M, G and T mean powers of 1024."""
    factor, number = 1, value
    if isinstance(value, str) and value.strip():
        word = value.strip().upper().removesuffix("B").removesuffix("I")
        factor = UNITS.get(word[-1:], 1)
        number = word[:-1] if word[-1:] in UNITS else word
    try:
        found = math.nan if isinstance(number, bool) else float(number) * factor
    except (TypeError, ValueError):
        found = math.nan
    if not 0 <= found < math.inf:
        raise _wrong("a size such as 512M or 1.5G, or a number of bytes", value)
    return int(found)


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
    """A URL that ``pytask_core`` understands, ``embedded[:DIR]`` or ``embedded-cluster[:DIR]``."""
    url = parse(text(value)).text
    if url.endswith("://"):
        raise UrlError("must name a server")
    return url


def key_name(value: Any) -> str:
    """The name of a key in Redis, or its prefix. Braces in it are the hash tag of a cluster."""
    name = text(value)
    if has_stray_braces(name):
        raise _wrong("a name whose braces, if any, form one hash tag such as {pytask}", value)
    return name


def socket_path(value: Any) -> str:
    """A path, or ``auto`` or ``none``."""
    if isinstance(value, str) and not value.strip().startswith(("/", ".")) and value.strip() not in ("auto", "none"):
        raise _wrong("a path that begins with / or ., or auto, or none", value)
    return text(value)


def port(value: Any) -> int:
    """A TCP port, 0 for any that is free."""
    number = _whole(value)
    if number is None or not 0 <= number <= MOST_PORT:
        raise _wrong(f"a whole number from 0 to {MOST_PORT}", value)
    return number


def switch(value: Any) -> bool:
    """Yes or no."""
    word = value.lower() if isinstance(value, str) else value
    if word in (True, "true", "yes", "on", "1"):
        return True
    if word in (False, "false", "no", "off", "0"):
        return False
    raise _wrong("true or false", value)


def umask(value: Any) -> str:
    """Octal digits, as text: the number 27 in TOML would be 033."""
    if not isinstance(value, str) or not re.fullmatch("[0-7]{1,4}", value) or int(value, 8) > 0o777:  # noqa: PLR2004
        raise _wrong("octal digits as text, from '000' to '777'", value)
    return value


def log_level(value: Any) -> str:
    """One of ``LOG_LEVELS``, in any case."""
    return _one_of(LOG_LEVELS, value)


def log_format(value: Any) -> str:
    """One of ``LOG_FORMATS``, in any case."""
    return _one_of(LOG_FORMATS, value)


def _one_of(known: tuple[str, ...], value: Any) -> str:
    word = value.lower() if isinstance(value, str) else value
    if word not in known:
        raise _wrong(f"one of {' '.join(known)}", value)
    return str(word)


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
    # The value of another option may be a URL by mistake.
    is_url = isinstance(value, str) and "://" in value
    shown = repr(shown_url(value)) if is_url else redact(repr(value))
    return ValueError(f"must be {wanted}, not {shown}")
