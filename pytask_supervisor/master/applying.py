"""``Applying``: what a proven configuration changes in the master: title, log level, size of the pool."""

from __future__ import annotations

import logging

from setproctitle import setproctitle

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.master.commands import Commands
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.state import MasterState

log = logging.getLogger("pytask.supervisor")


class Applying(Part):
    """Its first turn only shows the title: all else was set up at the start."""

    def __init__(self, state: MasterState, commands: Commands) -> None:
        self._state = state
        self._commands = commands
        self._applied: SupervisorConfig | None = None

    def turn(self) -> None:
        """See ``Part``."""
        config, before = self._state.proven, self._applied
        if config is before:
            return
        self._applied = config
        setproctitle(f"pytask-supervisor: master [{config.label}]")
        if before is None:
            return
        logging.getLogger().setLevel(config.log_level.upper())
        # What was scaled by hand stays, unless the number itself was changed.
        if config.workers != before.workers and not self._state.is_stopping:
            log.info("%s", self._commands.scale(config.workers, "changed configuration"))
