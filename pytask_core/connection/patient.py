"""Connections that let a blocking command wait as long as it asks, whatever the socket timeout is."""

from __future__ import annotations

from functools import cache
from typing import Any

#: Commands whose last word is the seconds to block.
_SECONDS_LAST = {"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX"}

#: Commands whose first argument is that.
_SECONDS_FIRST = {"BLMPOP", "BZMPOP"}

#: Commands whose last word is the milliseconds to block.
_MILLISECONDS_LAST = {"WAIT", "WAITAOF"}

#: Commands with the milliseconds behind the word BLOCK, if they block.
_STREAMS = {"XREAD", "XREADGROUP"}


def blocking_time(command: tuple[Any, ...]) -> float | None:
    """The seconds for which a command may block; 0: for ever; None: it does not block."""
    name = str(command[0]).upper()
    try:
        if name in _SECONDS_LAST:
            return float(command[-1])
        if name in _SECONDS_FIRST:
            return float(command[1])
        if name in _MILLISECONDS_LAST:
            return float(command[-1]) / 1000
        if name in _STREAMS:
            return _of_stream([word.decode() if isinstance(word, bytes) else str(word) for word in command])
    except (IndexError, TypeError, ValueError):
        pass  # The server will say what is wrong with it.
    return None


def _of_stream(command: list[str]) -> float | None:
    words = [word.upper() for word in command]
    options = words[: words.index("STREAMS")]
    return float(options[options.index("BLOCK") + 1]) / 1000 if "BLOCK" in options else None


class _Patient:
    """Stands before a connection class."""

    _sock: Any
    socket_timeout: float | None

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        """As the parent's; the answer to a command that blocks may take as much longer."""
        super().send_command(*args, **kwargs)  # type: ignore[misc] # the class behind us has it
        time = blocking_time(args)
        if time is not None and self.socket_timeout is not None:
            self._sock.settimeout(time + self.socket_timeout if time else None)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """As the parent's; what is read later has the usual time again."""
        try:
            return super().read_response(*args, **kwargs)  # type: ignore[misc] # the class behind us has it
        finally:
            if self._sock is not None:
                self._sock.settimeout(self.socket_timeout)


@cache
def patient(connection_class: type) -> type:
    """Return a class of connections as the given one, and patient."""
    return type(f"Patient{connection_class.__name__}", (_Patient, connection_class), {})
