"""``Service``: the one shape of all parts of a worker that work beside each other; ``Bell`` wakes one."""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event
from gevent.pool import Group

from .greenlets import keep


class Service:
    """A part that starts, has one turn after another, and stops.

    One whose turns need Redis has :meth:`run` call ``RedisLink.serve``. What it starts besides goes to ``greenlets``.
    """

    def __init__(self) -> None:
        #: Those in which it works.
        self.greenlets = Group()

    def start(self) -> None:
        """Work from now on; returns at once."""
        self.greenlets.add(keep(self.run))

    def run(self) -> None:
        """Have one turn after another for as long as the worker lives."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        raise NotImplementedError

    def stop(self) -> None:
        """Work no more: what is under way is broken off. May be called again."""
        self.greenlets.kill()


class Bell:
    """Wakes a part once it has work. What comes while its turn is under way gathers, and goes with the next.

    Args:
        has_work: whether there is something to do already.
        most: seconds after which it wakes in any case; None: never.
    """

    def __init__(self, has_work: Callable[[], object], most: float | None = None) -> None:
        self._has_work = has_work
        self._most = most
        self._rung = Event()
        #: There is work now.
        self.ring: Callable[[], None] = self._rung.set

    def wait(self) -> bool:
        """Return once there is work, or False once the time is over."""
        if self._has_work():
            return True
        self._rung.clear()
        return bool(self._rung.wait(self._most))
