"""What the master's loop asks of each part to which it gives a turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pytask_supervisor.master.worker_handle import WorkerHandle


class Endpoints(Protocol):
    """Where the master answers others: see ``admin``."""

    @property
    def readable(self) -> list[int]:
        """Descriptors to wait on until there is something to read."""

    @property
    def writable(self) -> list[int]:
        """Descriptors to wait on until there is room to write."""

    @property
    def next_deadline(self) -> float | None:
        """When there is something to do though nothing comes, on the loop's clock."""

    def tend(self, ready: Sequence[WorkerHandle]) -> None:
        """Answer what was asked; never waits. ``ready``: workers that can count the queues."""

    def close(self) -> None:
        """Let go of all descriptors, in a child."""
