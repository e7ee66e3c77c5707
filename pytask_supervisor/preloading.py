"""``Preloading``: the app is loaded ahead of the workers where ``--preload`` asks for it; else all here is void.

The supervisor gives it a turn in each turn of its own, and asks it at the start and for a reload.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pytask_supervisor.exits import LOADING, LOADS_LONG, WHY_IT_LOADS_LONG, Exit
from pytask_supervisor.nursery import Nursery, Outcome
from pytask_supervisor.spawner import Spawner
from pytask_supervisor.team import Team

log = logging.getLogger("pytask.supervisor")


class Preloading:
    """``nursery`` is None without ``--preload``; ``warn`` is told what a fork does not bear."""

    def __init__(
        self,
        nursery: Nursery | None,
        spawner: Spawner,
        team: Team,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nursery = nursery
        self._spawner = spawner
        self._team = team
        self._warn = warn
        self._clock = clock
        self._then: Callable[[], None] = _nothing
        self._otherwise: Callable[[str, Exit], None] = _tell
        #: Since when the loading lasts that was said to take long.
        self._told_of: float | None = None

    @property
    def is_loading(self) -> bool:
        """Whether the app is being loaded."""
        return self._nursery is not None and self._nursery.is_loading

    @property
    def is_gone(self) -> bool:
        """Whether no process of ours is left."""
        return self._nursery is None or self._nursery.is_gone

    @property
    def fds(self) -> list[int]:
        """What to wait on."""
        return self._nursery.fds if self._nursery is not None else []

    @property
    def due(self) -> float | None:
        """When ``turn`` has something to do by mere passing of time."""
        times = [self._nursery.due, self._tell_at, self._load_by] if self._nursery is not None else []
        return min((time for time in times if time is not None), default=None)

    @property
    def _load_by(self) -> float | None:
        """Until when the app must be loaded; the watchdog, which grants workers the same, does not see the nursery."""
        since = self._nursery.loading_since if self._nursery is not None else None
        timeout = self._spawner.config.hang_timeout
        return None if since is None or not timeout else since + LOADING * timeout

    @property
    def _tell_at(self) -> float | None:
        """When to say that it takes long."""
        since = self._nursery.loading_since if self._nursery is not None else None
        return None if since is None or since == self._told_of else since + LOADS_LONG

    def load(self, then: Callable[[], None], otherwise: Callable[[str, Exit], None]) -> bool:
        """Once the app as it stands now is loaded call ``then``, or ``otherwise`` with why not and the exit code.

        Returns whether that was done at once.
        """
        if self._nursery is None:
            then()
            return True
        self._then, self._otherwise = then, otherwise
        self._start(self._nursery)
        return False

    def turn(self, *, is_stopping: bool) -> None:
        """Take in what has become of it."""
        nursery = self._nursery
        if nursery is None:
            return
        if is_stopping:
            nursery.close()
            return
        self._take(nursery.read())
        if self._tell_at is not None and self._tell_at <= self._clock():
            self._told_of = nursery.loading_since
            log.warning("the app is still being loaded after %g s; %s", LOADS_LONG, WHY_IT_LOADS_LONG)
        if self._load_by is not None and self._load_by <= self._clock():
            seconds = LOADING * self._spawner.config.hang_timeout
            why = f"the app was not loaded after {seconds:g} s, {LOADING} times --hang-timeout; {WHY_IT_LOADS_LONG}"
            self._take(nursery.give_up_loading(why))
        if nursery.due is not None and nursery.due <= self._clock():
            self._start(nursery)

    def reaped(self, pid: int, status: int) -> None:
        """Some process that is no worker has died."""
        if self._nursery is not None:
            self._take(self._nursery.reaped(pid, status))

    def _start(self, nursery: Nursery) -> None:
        foreign = (*self._team.foreign, *self._team.children)
        nursery.start(self._spawner.config, self._spawner.redis_url, foreign)

    def _take(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        then, otherwise = self._then, self._otherwise
        self._then, self._otherwise = _nothing, _tell
        if outcome.failure is None:
            for warning in outcome.warnings:
                self._warn(warning)
            then()
        else:
            if outcome.detail:
                log.debug("%s", outcome.detail)
            otherwise(outcome.failure, outcome.code)


def _nothing() -> None:
    """The app is there again; no worker waits for it in particular."""


def _tell(failure: str, _code: Exit) -> None:
    log.error("%s; the workers go on with the app that they have", failure)
