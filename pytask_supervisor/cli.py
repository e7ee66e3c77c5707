"""``pytask-supervisor``: the command line to a configuration to an exit code.

``main`` builds the master's parts and hands over to ``Supervisor.run``.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from setproctitle import setproctitle

from pytask_supervisor import __version__
from pytask_supervisor.config import SupervisorConfig
from pytask_supervisor.exits import Exit
from pytask_supervisor.guardian import Guardian
from pytask_supervisor.logs import counted, set_up, write_line
from pytask_supervisor.respawn import RespawnPolicy
from pytask_supervisor.settings import ConfigError, load_config
from pytask_supervisor.signals import SignalInbox
from pytask_supervisor.spawner import Spawner
from pytask_supervisor.supervisor import Supervisor
from pytask_supervisor.team import Team
from pytask_supervisor.worker import run_child

log = logging.getLogger("pytask.supervisor")


def run() -> None:
    """The console script."""
    _open_standard_descriptors()
    try:
        sys.exit(main(sys.argv[1:], os.environ))
    except KeyboardInterrupt:  # Before the inbox stood, so nothing has begun.
        sys.exit(Exit.OK)


def main(
    argv: Sequence[str],
    environ: Mapping[str, str],
    policy: Callable[[], RespawnPolicy] = RespawnPolicy,
) -> int:
    """Supervise until told to stop; the result is the exit code."""
    try:
        config = load_config(argv, environ, Path.cwd())
    except ConfigError as error:
        write_line(f"pytask-supervisor: {error}\n")
        return Exit.USAGE
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    set_up("master", config.log_level)
    try:
        return supervise(config, policy)
    except Exception:
        log.exception("unexpected error in the supervisor")
        return Exit.BUG


def supervise(config: SupervisorConfig, policy: Callable[[], RespawnPolicy]) -> Exit:
    """Build the parts and run them."""
    if config.chdir is not None:
        os.chdir(config.chdir)
    with SignalInbox() as inbox:
        log.info(
            "pytask-supervisor %s (pid %s) starts %s for %s",
            __version__,
            os.getpid(),
            counted(config.workers, "worker"),
            config.label,
        )
        setproctitle(f"pytask-supervisor: master [{config.label}]")
        guardian = Guardian(config.embedded_dir) if config.is_embedded else None
        spawner = Spawner(config, run_child, inbox)
        team = Team(spawner.spawn, policy=policy)
        return Supervisor(config, team, spawner, inbox, guardian=guardian).run()


def _open_standard_descriptors() -> None:
    """Where 0, 1 or 2 is closed, the next file we open would take its place, log lines and all."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        pass
    os.close(fd)
