"""``News``: what a log has said already, so that it says each thing once."""

from __future__ import annotations

from collections import deque


class News:
    """What one part has said.

    Args:
        keep: how many of the things that it said last; None: all. With one, a thing is news again after another.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._said: deque[str] = deque(maxlen=keep)

    def is_news(self, thing: str = "") -> bool:
        """Whether a thing was not said yet; from now on it counts as said."""
        if thing in self._said:
            return False
        self._said.append(thing)
        return True

    def over(self) -> None:
        """What was said is over: if it comes again it is news."""
        self._said.clear()
