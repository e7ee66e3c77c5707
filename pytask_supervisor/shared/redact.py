"""Takes passwords out of everything that is shown: logs, titles, errors.

Two functions for two needs. ``shown_url`` is for a text that is one URL, such as the value of an option: it shows what
it could take apart, and nothing else. ``redact`` is for any text. A URL in it has no mark at its end, so in doubt more
is hidden.

Both take a time that grows with the length of the text and no faster, since others write such texts. There is no
regular expression here: the one that was needed half a minute for an id of 120 KB.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from pytask_core.redis_url import EMBEDDED

HIDDEN = "***"

#: Beginnings of the schemes whose URLs are ours. Their passwords may have any character that their owner typed.
_OURS = ("redis", "valkey", "unix")
#: Parts of a key in front of ``=`` whose value is secret: password, ssl_password, access_token, …
_SECRET = ("passw", "passphrase", "pwd", "secret", "token", "apikey", "api_key")
#: Options of a URL of ours that are shown. All others are hidden: one that we do not know may be half a password.
_SHOWN = ("db", "protocol", "username", "client_name", "health_check_interval", "max_connections", "timeout")
_SHOWN_GROUPS = ("ssl_", "socket_", "retry_", "sentinel_username", "encoding", "decode_")
#: Characters of a scheme and of a key in front of ``=``, and how many of them are looked at.
_SCHEME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")
_KEY = _SCHEME | {"_", "%"}
_LONGEST_SCHEME = 32
_LONGEST_PORT = 5


def redact(text: str) -> str:
    """``redis://:secret@host/0`` becomes ``redis://:***@host/0``, anywhere in the text; so does ``password=secret``."""
    if "://" in text:
        text = "\n".join(map(_without_urls, text.split("\n")))
    return _without_pairs(text) if "=" in text else text


def shown_url(url: str) -> str:
    """A whole URL without its passwords; ``***`` in the place of all that cannot be taken apart."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url if scheme.partition(":")[0] in EMBEDDED else HIDDEN
    if not scheme.startswith(_OURS) or len(scheme) > _LONGEST_SCHEME or not _SCHEME.issuperset(scheme):
        return HIDDEN
    end = _end_of_credentials(rest) if scheme != "unix" or not rest.startswith("/") else -1
    front, place = (_front(rest[:end]), rest[end + 1 :]) if end >= 0 else ("", rest)
    path, mark, query = place.partition("?")
    pairs = query.split("&") if mark else []
    if not (_is_place(scheme, path) and all(_is_shown(pair) or _is_secret(pair.partition("=")[0]) for pair in pairs)):
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{front}{path}{mark}{'&'.join(map(_shown_pair, pairs))}"


def shown_words(words: Sequence[str]) -> list[str]:
    """The words of a command line, each of which is a URL as a whole, or holds one behind ``--flag=``, or is none."""
    return [_shown_word(word, before) for word, before in zip(words, ["", *words], strict=False)]


def _shown_word(word: str, before: str) -> str:
    flag, equals, value = word.partition("=")
    # argparse takes the beginning of a flag's name for the flag.
    if equals and _is_redis_flag(flag):
        return f"{flag}={shown_url(value)}"
    if _is_redis_flag(before):
        return shown_url(word)
    return redact(word)


def _is_redis_flag(word: str) -> bool:
    return word.startswith("--re") and "--redis".startswith(word)


def _front(credentials: str) -> str:
    user, colon, _ = credentials.partition(":")
    # Without a colon in front of the @ it may be a password whose colon was forgotten.
    return f"{user}:{HIDDEN}@" if colon and "@" not in user else f"{HIDDEN}@"


def _is_place(scheme: str, text: str) -> bool:
    """Whether it is a path, for a socket; else hosts with ports that are numbers, and a path."""
    if scheme == "unix":
        return text.startswith("/") and "#" not in text
    return "#" not in text and all(_is_address(host) for host in text.partition("/")[0].split(","))


def _is_address(text: str) -> bool:
    """``host``, ``host:1`` or ``[::1]:1``."""
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        host, colon, port = text[1:].partition("]")
        port = port.removeprefix(":")
        return bool(host and colon) and all(each.isalnum() or each in ":.%-" for each in host) and _is_port(port or "0")
    host = host if colon else text
    return bool(host) and (not colon or _is_port(port)) and all(each.isalnum() or each in ".-_" for each in host)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_PORT


def _is_secret(key: str) -> bool:
    plain = unquote(key).lower()
    return any(word in plain for word in _SECRET)


def _is_shown(pair: str) -> bool:
    key, equals, value = pair.partition("=")
    is_known = key in _SHOWN or key.startswith(_SHOWN_GROUPS)
    return bool(equals) and is_known and not _is_secret(key) and not _is_secret(value) and "://" not in value


def _shown_pair(pair: str) -> str:
    key, equals, _ = pair.partition("=")
    return pair if _is_shown(pair) else f"{key}={HIDDEN}" if equals and _is_secret(key) else HIDDEN


def _without_urls(line: str) -> str:
    """A line without what may be a password in a URL."""
    at, last = line.find("://"), line.rfind("@")
    pieces, done = [], 0
    while at >= 0:
        begin, following = at + 3, line.find("://", at + 3)
        stop = following if following >= 0 else len(line)
        scheme = _before(line, at, _SCHEME).lower()
        if not scheme.startswith(_OURS):
            pieces += [line[done:begin], _hidden_in_a_word(line[begin:stop])]
        else:
            if last >= begin and _is_unclear(line[begin:stop], goes_on=following >= 0):
                # The password itself may have the mark of a URL in it.
                stop, following = len(line), -1
            pieces += [line[done:begin], _hidden(scheme, line[begin:stop])]
        done, at = stop, following
    return "".join([*pieces, line[done:]])


def _before(text: str, at: int, known: frozenset[str]) -> str:
    begin = at
    while begin > max(0, at - _LONGEST_SCHEME) and text[begin - 1] in known:
        begin -= 1
    return text[begin:at]


def _word(rest: str) -> str:
    """What stands there up to a space or a quote, without the marks of the sentence around it."""
    word = rest.split(None, 1)[0] if rest and not rest[0].isspace() else ""
    for quote in "'\"`>)}\\":
        word = word.partition(quote)[0]
    return word if word.startswith(":") else word.rstrip(".,:;!…")


def _is_unclear(segment: str, *, goes_on: bool) -> bool:
    """Whether what follows ``://``, up to the next one if it ``goes_on``, may be credentials that have not ended."""
    if "@" in segment or segment.startswith("/"):
        return False
    in_one_word = goes_on and not any(each.isspace() or each in "'\"`(<,=" for each in segment)
    return in_one_word or not _is_clear(_word(segment))


def _is_clear(word: str) -> bool:
    authority = word.partition("?")[0].partition("#")[0].partition("/")[0]
    return all(_is_address(host) for host in authority.split(",")) if authority else True


def _hidden(scheme: str, rest: str) -> str:
    """``rest``: what follows ``://`` in a URL of ours, at the longest to the end of the line."""
    end = -1 if scheme == "unix" and rest.startswith("/") else _end_of_credentials(rest)
    front, place = (_front(rest[:end]), rest[end + 1 :]) if end >= 0 else ("", rest)
    word = _word(place)
    if not (scheme == "unix" and word.startswith("/")) and not _is_clear(word):
        return front + HIDDEN + place[len(word) :]
    path, mark, query = place.partition("?")
    if not mark or len(path) >= len(word):
        return front + place
    shown, has_secret = [], False
    for pair in query.split("&"):
        key = pair.partition("=")[0]
        # Where a URL of ours ends in a text is not known; so a secret goes on to the next option or to the line's end.
        has_secret = has_secret or _is_secret(key) or not _is_option(pair)
        shown.append(_shown_pair(pair) if has_secret else pair)
    return front + path + mark + "&".join(shown)


def _is_option(pair: str) -> bool:
    """Whether it is an option that is shown, and maybe text behind it."""
    word, *_ = pair.split(None, 1) or [""]
    return _is_shown(word) and not _is_secret(pair)


def _end_of_credentials(rest: str) -> int:
    """Where the ``@`` behind a password of ours is. The last one: a password may hold ``@ / ? # ' "`` and spaces."""
    end = rest.rfind("@")
    if end < 0:
        return -1
    authority, mark, query = rest.partition("?")
    is_plain = mark and "@" not in authority and _is_clear(authority)
    return -1 if is_plain and all(_is_pair(pair) for pair in query.split("&")) else end


def _is_pair(pair: str) -> bool:
    return _is_shown(pair) or (_is_secret(pair.partition("=")[0]) and "=" in pair)


def _hidden_in_a_word(rest: str) -> str:
    """The same in a URL of other programs, which ends at a space; ``user@`` without a colon may be a token."""
    word = rest.split(None, 1)[0] if rest and not rest[0].isspace() else ""
    user, colon, tail = word.partition(":")
    if not colon or any(mark in user for mark in "@/,"):
        end = word.partition("/")[0].rfind("@")
        return HIDDEN + rest[end:] if end >= 0 else rest
    end = tail.rfind("@")
    port = tail[: _LONGEST_PORT + 1]
    digits = len(port) - len(port.lstrip("0123456789"))
    is_port = 0 < digits <= _LONGEST_PORT and tail[digits : digits + 1] in ("", "/", "?", "#")
    return rest if end < 0 or is_port else f"{user}:{HIDDEN}{tail[end:]}{rest[len(word) :]}"


def _without_pairs(text: str) -> str:
    """``password=secret``, in any text, up to a space or the next ``&``."""
    plain = text.lower()
    if "%" not in text and not any(word in plain for word in _SECRET):
        return text
    at, done, pieces = text.find("="), 0, []
    while at >= 0:
        stop = at + 1
        if at >= done and _is_secret(_before(text, at, _KEY)):
            while stop < len(text) and not text[stop].isspace() and text[stop] != "&":
                stop += 1
            if stop > at + 1:
                pieces += [text[done : at + 1], HIDDEN]
                done = stop
        at = text.find("=", stop)
    return "".join([*pieces, text[done:]])
