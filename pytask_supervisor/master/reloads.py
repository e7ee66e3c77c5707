"""``Reloads``: begins each reload and restart, and keeps the last ones for those who wait for them."""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytask_supervisor.config.options import SupervisorConfig, options
from pytask_supervisor.master.preloading import Preloading
from pytask_supervisor.master.reload import Reload, Stage
from pytask_supervisor.master.rolling import Rolling
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_pool import Slot, WorkerPool

log = logging.getLogger("pytask.supervisor")

#: How many are remembered. More: a client that asks rarely still finds its own. Fewer: a shorter answer to ``show``.
MOST = 50


class Reloads:
    """``read_config`` gives the configuration as it stands now."""

    def __init__(
        self,
        state: MasterState,
        pool: WorkerPool,
        rolling: Rolling,
        preloading: Preloading,
        read_config: Callable[[], SupervisorConfig],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._pool = pool
        self._rolling = rolling
        self._preloading = preloading
        self._read_config = read_config
        self._wall_clock = wall_clock
        #: Oldest first.
        self._reloads: deque[Reload] = deque(maxlen=MOST)
        #: Tells ours from those of a supervisor that answers at the same path later.
        self._mark = secrets.token_hex(4)
        self._number = 0
        #: How often a reload was asked for, also where the configuration cannot be used.
        self.count = 0

    @property
    def is_under_way(self) -> bool:
        """Whether the app is being loaded ahead, or workers are being replaced."""
        return bool(self._rolling) or self._preloading.is_loading

    def begin_reload(self, by: str) -> str:
        """Replace all workers, code and configuration read again. Returns a sentence; raises ``ConfigError``."""
        self.count += 1
        config = self.read()
        loading = [reload for reload in self._reloads if reload.stage is Stage.LOADING]
        reload = self._add(by, config)
        for earlier in loading:
            earlier.loading_superseded(reload)
        if self._preloading.is_wanted:
            return reload.load(self._preloading)
        return reload.roll_out(self._pool.slots)

    def begin_restart(self, slots: list[Slot], by: str) -> str:
        """Replace the workers of these slots. Returns a sentence."""
        return self._add(by, self._state.tried).roll_out(slots)

    def read(self) -> SupervisorConfig:
        """The configuration as it stands now, as far as it can change while we run; raises ``ConfigError``."""
        fresh, kept = _without_fixed(self._state.proven, self._read_config())
        for flag in kept:
            log.warning("%s has changed, and stays as it was until the supervisor is started again", flag)
        return fresh

    def master_stops(self) -> None:
        """Nothing more becomes of those that are not over."""
        for reload in self._settled():
            reload.master_stops()

    def told(self) -> list[dict[str, Any]]:
        """All as ``pytaskctl`` gets them, oldest first."""
        return [reload.told() for reload in self._settled()]

    def _add(self, by: str, config: SupervisorConfig) -> Reload:
        self._number += 1
        reload = Reload(
            f"{self._mark}-{self._number}",
            by,
            self._wall_clock(),
            config,
            state=self._state,
            pool=self._pool,
            rolling=self._rolling,
        )
        self._reloads.append(reload)
        return reload

    def _settled(self) -> list[Reload]:
        # The youngest first, since the end of one may depend on younger ones.
        for reload in reversed(self._reloads):
            reload.settle()
        return list(self._reloads)


def _without_fixed(old: SupervisorConfig, fresh: SupervisorConfig) -> tuple[SupervisorConfig, list[str]]:
    """``fresh``, with what cannot change while we run as it was; and the flags for which that matters."""
    fixed = {option.name for option in options() if option.is_fixed}
    if old.is_embedded or fresh.is_embedded:
        fixed.add("redis")  # Whether there is a server of our own, and where, is settled at the start.
    kept = [one for one in options() if one.name in fixed and getattr(old, one.name) != getattr(fresh, one.name)]
    values = {option.name: getattr(old, option.name) for option in kept}
    return (replace(fresh, **values) if fresh != old else old), [option.flag for option in kept]
