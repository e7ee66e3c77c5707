"""``Preloading``: with ``--preload``, has the app loaded before workers are forked.

The supervisor gives it a turn in each turn of its own, and asks it at the start and for a reload.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.forkserver.client import ForkServer, Outcome
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import LOADING, LOADS_LONG, WHY_IT_LOADS_LONG, Exit

log = logging.getLogger("pytask.supervisor")


class AppUser:
    """Waits for the app to be loaded ahead."""

    def app_loaded(self) -> None:
        """It is loaded; workers can be forked."""
        raise NotImplementedError

    def app_failed(self, why: str, code: Exit) -> None:
        """It cannot be: why, and the exit code of a supervisor that ends for it."""
        raise NotImplementedError


class _AfterDeath(AppUser):
    """The fork server died, and another one was started: no worker waits for it in particular."""

    def app_loaded(self) -> None:
        """See ``AppUser``."""

    def app_failed(self, why: str, code: Exit) -> None:  # noqa: ARG002 - nothing ends by it
        """See ``AppUser``."""
        log.error("%s; the workers go on with the app that they have", why)


class Preloading(Part):
    """``fork_server`` is None without ``--preload``; ``warn`` is told what a fork does not bear."""

    def __init__(
        self,
        fork_server: ForkServer | None,
        state: MasterState,
        pool: WorkerPool,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fork_server = fork_server
        self._state = state
        self._pool = pool
        self._warn = warn
        self._clock = clock
        self._user: AppUser = _AfterDeath()
        #: With which the app is loaded for that user.
        self._config: SupervisorConfig | None = None
        #: Since when the loading lasts that was said to take long.
        self._told_of: float | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether the app is loaded ahead of the workers at all."""
        return self._fork_server is not None

    @property
    def is_loading(self) -> bool:
        """Whether the app is being loaded."""
        return self._fork_server is not None and self._fork_server.is_loading

    @property
    def is_gone(self) -> bool:
        """Whether no process of ours is left."""
        return self._fork_server is None or self._fork_server.is_gone

    @property
    def readable(self) -> list[int]:
        """See ``Part``."""
        return self._fork_server.readable if self._fork_server is not None else []

    @property
    def deadline(self) -> float | None:
        """See ``Part``."""
        times = [self._fork_server.due, self._tell_at, self._load_by] if self._fork_server is not None else []
        return min((time for time in times if time is not None), default=None)

    @property
    def _load_by(self) -> float | None:
        """Until when the app must be loaded: the same as for workers, but the watchdog does not see the fork server."""
        since = self._fork_server.loading_since if self._fork_server is not None else None
        timeout = self._to_load.hang_timeout
        return None if since is None or not timeout else since + LOADING * timeout

    @property
    def _to_load(self) -> SupervisorConfig:
        """With what the app is loaded: where no worker waits for it in particular, with what those are given."""
        return self._config or self._state.tried

    @property
    def _tell_at(self) -> float | None:
        """When to say that it takes long."""
        since = self._fork_server.loading_since if self._fork_server is not None else None
        return None if since is None or since == self._told_of else since + LOADS_LONG

    def load_for(self, user: AppUser, config: SupervisorConfig) -> None:
        """Load the app as it stands now for ``user``, which learns what came of it: at once without ``--preload``."""
        if self._fork_server is None:
            user.app_loaded()
        else:
            self._user, self._config = user, config
            self._start(self._fork_server)

    def turn(self) -> None:
        """See ``Part``: take in what has become of it."""
        fork_server = self._fork_server
        if fork_server is None:
            return
        if self._state.is_stopping:
            fork_server.close()
            return
        self._take(fork_server.read())
        if self._tell_at is not None and self._tell_at <= self._clock():
            self._told_of = fork_server.loading_since
            log.warning("the app is still being loaded after %g s; %s", LOADS_LONG, WHY_IT_LOADS_LONG)
        if self._load_by is not None and self._load_by <= self._clock():
            seconds = LOADING * self._to_load.hang_timeout
            why = f"the app was not loaded after {seconds:g} s, {LOADING} times --hang-timeout; {WHY_IT_LOADS_LONG}"
            self._take(fork_server.give_up_loading(why))
        if fork_server.due is not None and fork_server.due <= self._clock():
            self._start(fork_server)

    def reaped(self, pid: int, status: int) -> None:
        """Some process that is no worker has died."""
        if self._fork_server is not None:
            self._take(self._fork_server.reaped(pid, status))

    def _start(self, fork_server: ForkServer) -> None:
        config = self._to_load
        fork_server.start(config, self._state.redis_url(config), self._pool.foreign)

    def _take(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        user, self._user, self._config = self._user, _AfterDeath(), None
        if outcome.failure is None:
            for warning in outcome.warnings:
                self._warn(warning)
            user.app_loaded()
        else:
            if outcome.detail:
                log.debug("%s", outcome.detail)
            user.app_failed(outcome.failure, outcome.code)
