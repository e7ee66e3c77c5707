"""Takes passwords out of whatever is shown: logs, titles, errors.

Two callers' needs. ``shown_url`` is for a text that is a URL from its first to its last character, as an option is.
``redact`` is for any text, in which a URL may begin and nothing marks its end: where it is in doubt it hides more.

Both take a time that grows with the length of the text and no faster, since others write such texts. There is no
regular expression here: the one that was needed half a minute for an id of 120 KB.
"""

from __future__ import annotations

from collections.abc import Sequence

HIDDEN = "***"

#: Beginnings of the schemes whose URLs are ours. Their passwords may have any character that their owner typed.
_OURS = ("redis", "valkey", "unix")
#: Parts of a key in a query whose value is nobody's business: password, ssl_password, sentinel_password, …
_SECRET = ("password", "token", "secret")
#: Characters of a scheme, and how many of them are looked at.
_SCHEME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")
_LONGEST_SCHEME = 32
_LONGEST_PORT = 5


def redact(text: str) -> str:
    """``redis://:secret@host/0`` becomes ``redis://:***@host/0``, anywhere in the text."""
    at = text.find("://")
    if at < 0:
        return text
    pieces, done = [], 0
    while at >= 0:
        begin, following = at + 3, text.find("://", at + 3)
        stop = following if following >= 0 else len(text)
        line_end = text.find("\n", begin, stop)
        stop = line_end if line_end >= 0 else stop
        rest = text[begin:stop]
        pieces += [text[done:begin], _hidden(_scheme_before(text, at), rest)]
        done, at = stop, following
    return "".join([*pieces, text[done:]])


def shown_url(url: str) -> str:
    """A whole URL without its passwords; ``***`` for what is no URL of ours, and so cannot be taken apart."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url if scheme.partition(":")[0] in ("embedded", "embedded-cluster") else HIDDEN
    if not scheme.startswith(_OURS) or len(scheme) > _LONGEST_SCHEME or not _SCHEME.issuperset(scheme):
        return HIDDEN
    return f"{scheme}://{_hidden(scheme.lower(), rest)}"


def shown_words(words: Sequence[str]) -> list[str]:
    """The words of a command line, each of which is a URL as a whole, or holds one behind ``--flag=``, or is none."""
    return [_shown_word(word, before) for word, before in zip(words, ["", *words], strict=False)]


def _shown_word(word: str, before: str) -> str:
    flag, equals, value = word.partition("=")
    if equals and flag == "--redis":
        return f"{flag}={shown_url(value)}"
    if before == "--redis":
        return shown_url(word)
    return redact(word)


def _scheme_before(text: str, at: int) -> str:
    begin = at
    while begin > max(0, at - _LONGEST_SCHEME) and text[begin - 1] in _SCHEME:
        begin -= 1
    return text[begin:at].lower()


def _hidden(scheme: str, rest: str) -> str:
    """``rest``: what follows ``://``, at the longest to the end of the line."""
    is_ours = scheme.startswith(_OURS)
    end = _end_of_credentials(rest) if is_ours else _end_in_a_word(rest)
    if end < 0 or (scheme == "unix" and rest.startswith("/")):
        return _hide_in_query(rest, is_ours=is_ours)
    user, colon, _ = rest[:end].partition(":")
    # Without a colon it may be the password, of somebody who forgot the colon.
    front = f"{user}:{HIDDEN}" if colon else HIDDEN
    return front + _hide_in_query(rest[end:], is_ours=is_ours)


def _end_of_credentials(rest: str) -> int:
    """Where the ``@`` behind a password of ours is. The last one: a password may hold ``@ / ? # ' "`` and spaces."""
    end = rest.rfind("@")
    if end < 0:
        return -1
    authority, mark, query = rest.partition("?")
    hosts = authority.partition("/")[0]
    is_plain = mark and "@" not in authority and all(_is_address(host) for host in hosts.split(","))
    return -1 if is_plain and all(_is_pair(pair) for pair in query.split("&")) else end


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and port.isdigit()) if colon else bool(text)


def _is_pair(text: str) -> bool:
    key, equals, _ = text.partition("=")
    return bool(equals) and key.replace("_", "").isalpha()


def _end_in_a_word(rest: str) -> int:
    """The same in a URL of other programs, which ends at a space and has a host, or a user and a colon, in front."""
    word = rest.split(None, 1)[0] if rest and not rest[0].isspace() else ""
    user, colon, tail = word.partition(":")
    end = tail.rfind("@")
    if not colon or end < 0 or any(mark in user for mark in "@/,"):
        return -1
    port = tail[: _LONGEST_PORT + 1]
    digits = len(port) - len(port.lstrip("0123456789"))
    is_port = 0 < digits <= _LONGEST_PORT and tail[digits : digits + 1] in ("", "/", "?", "#")
    return -1 if is_port else len(user) + 1 + end


def _hide_in_query(rest: str, *, is_ours: bool) -> str:
    front, mark, query = rest.partition("?")
    if not mark or not any(word in query.lower() for word in _SECRET):
        return rest
    return front + mark + "&".join(_hide_value(pair, is_ours=is_ours) for pair in query.split("&"))


def _hide_value(pair: str, *, is_ours: bool) -> str:
    key, equals, value = pair.partition("=")
    if not equals or not any(word in key.lower() for word in _SECRET):
        return pair
    # A URL of ours may have a space in it; where it ends in a text is not known.
    behind = "" if is_ours else value[len(value.split(None, 1)[0]) :] if value.strip() else value
    return f"{key}={HIDDEN}{behind}"
