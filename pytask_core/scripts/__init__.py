"""The Lua scripts, one file a transition, and what runs them.

The store calls :meth:`Scripts.call`; nobody else sends a script. Each file begins with its keys, arguments and answer.
All are safe to run twice, since a reply can be lost after the server has done its part.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Protocol

from redis.exceptions import NoScriptError

#: Shared functions, put before the scripts that need them.
_PRELUDES: dict[str, tuple[str, ...]] = {
    "claim": ("prelude", "queue", "poison"),
    "enqueue": ("prelude", "queue"),
    "hand_back": ("prelude", "poison"),
    "renew": ("prelude", "poison"),
    "restart": ("prelude", "queue"),
}


class _Client(Protocol):
    def execute_command(self, *args: Any) -> Any: ...


@dataclass(frozen=True)
class Script:
    """A script as the server knows it."""

    name: str
    source: str
    sha: str


@cache
def load(name: str) -> Script:
    """Return the script in ``<name>.lua`` with the shared functions before it."""
    files = (*_PRELUDES.get(name, ("prelude",)), name)
    source = "\n".join(resources.files(__package__).joinpath(f"{file}.lua").read_text("utf-8") for file in files)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def command(name: str, keys: list[str], args: list[Any], *, by_sha: bool = True) -> tuple[Any, ...]:
    """Return the command that runs a script: by its hash, or with its source."""
    script = load(name)
    head = ("EVALSHA", script.sha) if by_sha else ("EVAL", script.source)
    return (*head, len(keys), *keys, *args)


def call(client: _Client, name: str, keys: list[str], args: list[Any]) -> Any:
    """Run a script; a server that does not know it yet (new, restarted, flushed) is sent its source."""
    try:
        return client.execute_command(*command(name, keys, args))
    except NoScriptError:
        return client.execute_command(*command(name, keys, args, by_sha=False))
