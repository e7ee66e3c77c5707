"""When to give up a task that kills its workers: the two limits, and the reason in words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..payload import encode

log = logging.getLogger("pytask.poison")

#: What helps against a task that blocks the loop.
REMEDY = (
    "Let it give way in long computations (gevent.sleep(0)), or compute in another process; if it may block for so "
    "long, raise --hang-timeout"
)


@dataclass(frozen=True)
class Hang:
    """By which task a worker hung that was killed for it, and where, in words."""

    task_id: str
    why: str


@dataclass(frozen=True)
class PoisonRule:
    """How many deaths convict a task.

    Args:
        max_deliveries: a task whose worker died under it so many times ends as ``EXCEPTION``; 0: never. More forgives
            tasks that were only near, fewer spares workers.
        window: seconds that a task must run after a death until that no longer counts. Longer convicts slower
            poison, shorter clears the innocent sooner.

    Raises:
        ValueError: one of them makes no sense.
    """

    max_deliveries: int = 3
    window: float = 3.0

    def __post_init__(self) -> None:
        if isinstance(self.max_deliveries, bool) or not isinstance(self.max_deliveries, int) or self.max_deliveries < 0:
            raise ValueError(f"max_deliveries must be a whole number, 0 for no limit, not {self.max_deliveries!r}")
        if isinstance(self.window, bool) or not isinstance(self.window, (int, float)) or not self.window > 0:
            raise ValueError(f"poison_window must be a number of seconds above 0, not {self.window!r}")

    @property
    def window_ms(self) -> int:
        """The window as the scripts take it."""
        return int(self.window * 1000)

    @property
    def verdict(self) -> str:
        """The output of a convicted task, as JSON."""
        times = "once" if self.max_deliveries == 1 else f"{self.max_deliveries} times in a row"
        return encode(
            "the verdict",
            f"Its worker died under this task {times} (max_deliveries={self.max_deliveries}), so it is not run again. "
            "The task probably kills its process: look for crashes in native code, memory, or signals.",
        )

    def hang_verdict(self, hang: Hang) -> str:
        """The output of a task by which workers hang, as JSON."""
        times = "once" if self.max_deliveries == 1 else f"{self.max_deliveries} times"
        return encode(
            "the verdict",
            f"Its worker was killed {times} because it hung by this task (max_deliveries={self.max_deliveries}), so it "
            f"is not run again; the last time: {hang.why[:4000]}. {REMEDY}.",
        )


def tell_hang(hang: Hang, convicted: Sequence[str]) -> None:
    """Log that a task is ended since workers hang by it."""
    if hang.task_id in convicted:
        log.error(
            "Workers hang by task %r, so it ends as EXCEPTION and is not run again: %.1000s. %s",
            hang.task_id,
            hang.why,
            REMEDY,
        )


def tell_deaths(convicted: Sequence[str], often: Sequence[str]) -> None:
    """Log which tasks are ended as poison, and which were near too often."""
    if convicted:
        log.error("Workers die under these tasks, so they end as EXCEPTION and are not run again: %.1000r", convicted)
    if often:
        log.warning("Present at five deaths of workers or more, so one of them may kill slowly: %.1000r", often)
