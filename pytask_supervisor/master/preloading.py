"""``Preloading``: with ``--preload``, has the app loaded before workers are forked.

The supervisor gives it a turn in each turn of its own, and asks it at the start and for a reload.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pytask_supervisor.forkserver.client import ForkServer, Outcome
from pytask_supervisor.master.spawner import Spawner
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import LOADING, LOADS_LONG, WHY_IT_LOADS_LONG, Exit

log = logging.getLogger("pytask.supervisor")


class Preloading:
    """``fork_server`` is None without ``--preload``; ``warn`` is told what a fork does not bear."""

    def __init__(
        self,
        fork_server: ForkServer | None,
        spawner: Spawner,
        pool: WorkerPool,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fork_server = fork_server
        self._spawner = spawner
        self._pool = pool
        self._warn = warn
        self._clock = clock
        self._then: Callable[[], None] = _nothing
        self._otherwise: Callable[[str, Exit], None] = _tell
        #: Since when the loading lasts that was said to take long.
        self._told_of: float | None = None

    @property
    def is_loading(self) -> bool:
        """Whether the app is being loaded."""
        return self._fork_server is not None and self._fork_server.is_loading

    @property
    def is_gone(self) -> bool:
        """Whether no process of ours is left."""
        return self._fork_server is None or self._fork_server.is_gone

    @property
    def fds(self) -> list[int]:
        """What to wait on."""
        return self._fork_server.fds if self._fork_server is not None else []

    @property
    def due(self) -> float | None:
        """When ``turn`` has something to do by mere passing of time."""
        times = [self._fork_server.due, self._tell_at, self._load_by] if self._fork_server is not None else []
        return min((time for time in times if time is not None), default=None)

    @property
    def _load_by(self) -> float | None:
        """Until when the app must be loaded: the same as for workers, but the watchdog does not see the fork server."""
        since = self._fork_server.loading_since if self._fork_server is not None else None
        timeout = self._spawner.config.hang_timeout
        return None if since is None or not timeout else since + LOADING * timeout

    @property
    def _tell_at(self) -> float | None:
        """When to say that it takes long."""
        since = self._fork_server.loading_since if self._fork_server is not None else None
        return None if since is None or since == self._told_of else since + LOADS_LONG

    def load(self, then: Callable[[], None], otherwise: Callable[[str, Exit], None]) -> bool:
        """Once the app as it stands now is loaded call ``then``, or ``otherwise`` with why not and the exit code.

        Returns whether that was done at once.
        """
        if self._fork_server is None:
            then()
            return True
        self._then, self._otherwise = then, otherwise
        self._start(self._fork_server)
        return False

    def turn(self, *, is_stopping: bool) -> None:
        """Take in what has become of it."""
        fork_server = self._fork_server
        if fork_server is None:
            return
        if is_stopping:
            fork_server.close()
            return
        self._take(fork_server.read())
        if self._tell_at is not None and self._tell_at <= self._clock():
            self._told_of = fork_server.loading_since
            log.warning("the app is still being loaded after %g s; %s", LOADS_LONG, WHY_IT_LOADS_LONG)
        if self._load_by is not None and self._load_by <= self._clock():
            seconds = LOADING * self._spawner.config.hang_timeout
            why = f"the app was not loaded after {seconds:g} s, {LOADING} times --hang-timeout; {WHY_IT_LOADS_LONG}"
            self._take(fork_server.give_up_loading(why))
        if fork_server.due is not None and fork_server.due <= self._clock():
            self._start(fork_server)

    def reaped(self, pid: int, status: int) -> None:
        """Some process that is no worker has died."""
        if self._fork_server is not None:
            self._take(self._fork_server.reaped(pid, status))

    def _start(self, fork_server: ForkServer) -> None:
        foreign = (*self._pool.foreign, *self._pool.workers)
        fork_server.start(self._spawner.config, self._spawner.redis_url, foreign)

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
