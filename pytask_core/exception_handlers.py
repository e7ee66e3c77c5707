"""``ExceptionHandlers``: what an app wants called with each unexpected exception."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from .middleware import Middleware

if TYPE_CHECKING:
    from .worker.execution import Execution

log = logging.getLogger("pytask.runner")


class ExceptionHandlers(Middleware):
    """Those of one app. More may be added while its workers run."""

    def __init__(self) -> None:
        self._handlers: list[Callable[[BaseException], object]] = []

    def add(self, handler: Callable[[BaseException], object]) -> None:
        """Have ``handler`` called from now on, after those that are there already."""
        self._handlers.append(handler)

    def on_exception(self, execution: Execution, error: BaseException) -> None:  # noqa: ARG002 - it is a hook
        """Call all of them, whatever one of them raises."""
        trace = error.__traceback__
        for handler in self._handlers:
            try:
                handler(error)
            except BaseException:
                log.exception("The exception handler %r failed itself", handler)
            # One that raises it again has it know frames of ours, which know it, and so keep what the task had in hand.
            error.__traceback__ = trace
