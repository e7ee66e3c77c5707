"""JSON in and out of Redis: strict, capped, with a clear sentence about what it cannot carry.

Used by the helpers (data), by the runner (data, output) and by ``Task.emit`` (events).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from .errors import InvalidTask, PayloadTooLarge

#: Bytes of JSON that data, an output or an event may have. More lets one task crowd out the memory and the round trips
#: of all others; less refuses honest work. Put large things elsewhere and pass their address.
MAX_PAYLOAD = 1024 * 1024


#: Types of most values, which hold no others.
_FLAT = frozenset({str, int, float, bool, type(None)})

#: Levels of a value that are looked at for what is wrong in it.
DEEPEST = 50


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


_encode = json.JSONEncoder(allow_nan=False).encode
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def encode(what: str, value: Any, max_payload: int = MAX_PAYLOAD) -> str:
    """Return ``value`` as JSON in ASCII.

    Args:
        what: names the value in errors, such as ``"the output"``.
        value: anything that JSON can carry; NaN and infinities it cannot.
        max_payload: the cap, in bytes.

    Raises:
        InvalidTask: JSON cannot carry the value; the text names its type.
        PayloadTooLarge: the JSON is larger than the cap.
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        place = _culprit(value)
        at = f" at {place}" if place else ""
        raise InvalidTask(f"{what} of type {type(value).__name__} cannot be written as JSON: {error}{at}") from error
    if isinstance(value, (dict, list, tuple)) and (twice := _doubled(value)):
        raise InvalidTask(f"{what} of type {type(value).__name__} cannot be written as JSON: {twice}")
    if len(text) > max_payload:
        raise PayloadTooLarge(
            f"{what} has {len(text):,} bytes of JSON, more than max_payload={max_payload:,}; store it elsewhere "
            "and pass its address, or raise max_payload"
        )
    return text


def _culprit(value: Any, place: str = "", depth: int = 0) -> str:
    """Return where in a value that JSON cannot carry the fault is, as one would write it behind its name."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, inner in pairs if depth < DEEPEST else ():
        try:
            _encode({key: inner} if isinstance(value, dict) else inner)
        except (TypeError, ValueError, RecursionError):
            return _culprit(inner, f"{place}[{key!r:.100}]", depth + 1)
    return place


def _doubled(value: Any) -> str:
    """Return in words which key would stand twice in the JSON of a value, such as 1 and '1'; '' for none."""
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                if words := _twice(value):
                    return words
                break
        value = value.values()
    elif _FLAT.issuperset(map(type, value)):
        return ""
    for inner in value:
        if type(inner) not in _FLAT and isinstance(inner, (dict, list, tuple)) and (words := _doubled(inner)):
            return words
    return ""


def _twice(keys: Iterable[Any]) -> str:
    seen: dict[str, Any] = {}
    for key in keys:
        text = key if isinstance(key, str) else _encode(key)
        if text in seen:
            return f"the keys {seen[text]!r} and {key!r} would be one"
        seen[text] = key
    return ""


def decode_data(text: str | int | None, max_payload: int = MAX_PAYLOAD) -> dict[str, Any]:
    """Return a task's keyword arguments from the field ``data`` of its hash; no data means no arguments.

    Raises:
        PayloadTooLarge: it is the number of bytes that were too many to be read.
        InvalidTask: the text is not UTF-8, no JSON, or no JSON object.
    """
    if isinstance(text, int):
        raise PayloadTooLarge(
            f"the data of the task has {text:,} bytes of JSON, more than max_payload={max_payload:,}; store it "
            "elsewhere and pass its address, or raise max_payload"
        )
    if not text:
        return {}
    try:
        if not text.isascii():
            text.encode()
        data = _decode(text)
    except UnicodeEncodeError as error:
        raise InvalidTask("the data of the task is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise InvalidTask(f"the data of the task is no JSON: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidTask(f"the data of the task must be a JSON object (keyword arguments), not {type(data).__name__}")
    return data
