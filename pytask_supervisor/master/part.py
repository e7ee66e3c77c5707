"""``Part``: what the loop asks of each part: what to wait for, until when, and to take its turn."""

from __future__ import annotations

from collections.abc import Sequence


class Part:
    """A part gives what it needs; by default it waits for nothing. Nothing here may wait."""

    @property
    def readable(self) -> Sequence[int]:
        """Descriptors to wait on until there is something to read."""
        return ()

    @property
    def unhurried(self) -> Sequence[int]:
        """The same, for what can wait a moment, so that one turn takes in much of it."""
        return ()

    @property
    def writable(self) -> Sequence[int]:
        """Descriptors to wait on until there is room to write."""
        return ()

    @property
    def deadline(self) -> float | None:
        """When a turn has something to do though nothing comes, on the loop's clock."""
        return None

    def turn(self) -> None:
        """Do what there is to do now."""
        raise NotImplementedError
