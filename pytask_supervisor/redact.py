"""Takes passwords out of whatever is shown: logs, titles, errors."""

from __future__ import annotations

import re

# scheme://user:password@ and scheme://:password@; a password may itself hold "@", and "/" where nobody escaped it.
_USERINFO = re.compile(
    r"(?P<front>\b[a-z][a-z0-9+.-]*://[^\s:@/,]*):(?!\d{1,5}(?:[/?#,\s]|$))[^\s'\"]*@", re.IGNORECASE
)
# password=, and also ssl_password= and sentinel_password=.
_QUERY = re.compile(r"(?P<key>[?&][\w-]*(?:password|token|secret)=)[^&\s'\"]*", re.IGNORECASE)


def redact(text: str) -> str:
    """``redis://:secret@host/0`` becomes ``redis://:***@host/0``, anywhere in the text."""
    if "://" not in text:
        return text
    return _QUERY.sub(r"\g<key>***", _USERINFO.sub(r"\g<front>:***@", text))
