"""``pytask-supervisor``: the command line to a configuration to an exit code.

``main`` builds the master's parts and hands over to ``Supervisor.run``.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytask_supervisor import __version__
from pytask_supervisor.announcer import Announcer
from pytask_supervisor.config import SupervisorConfig
from pytask_supervisor.exits import Exit, StartError
from pytask_supervisor.ground import standing
from pytask_supervisor.guardian import Guardian
from pytask_supervisor.inspection import answer
from pytask_supervisor.logs import counted, set_up, write_line
from pytask_supervisor.notify import Notify
from pytask_supervisor.nursery import Bed, Nursery
from pytask_supervisor.pidfile import PidFile
from pytask_supervisor.reception import Reception, ReceptionError
from pytask_supervisor.respawn import RespawnPolicy
from pytask_supervisor.settings import load_config, load_settings
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
    here = _current_folder(environ)

    def read() -> SupervisorConfig:
        return load_config(argv, environ, here)

    warnings: tuple[str, ...] = ()
    try:
        settings = load_settings(argv, environ, here)
        warnings = settings.warnings
        if settings.asked:
            return answer(settings, _rehearse)
        config = settings.config
    except StartError as error:
        for line in (*warnings, error):
            write_line(f"pytask-supervisor: {line}\n")
        return Exit.USAGE
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    set_up("master", config.log_level, config.log_format)
    for warning in warnings:
        log.warning("%s", warning)
    try:
        with standing(config) as pidfile:
            return supervise(config, policy, read, pidfile)
    except StartError as error:
        log.error("%s", error)
        return Exit.USAGE
    except Exception:
        log.exception("unexpected error in the supervisor")
        return Exit.BUG


def supervise(
    config: SupervisorConfig,
    policy: Callable[[], RespawnPolicy],
    read: Callable[[], SupervisorConfig],
    pidfile: PidFile | None = None,
) -> Exit:
    """Build the parts and run them; ``read`` reads the configuration again, ``pidfile`` is closed in children."""
    with SignalInbox() as inbox:
        log.info(
            "pytask-supervisor %s (pid %s) starts %s for %s",
            __version__,
            os.getpid(),
            counted(config.workers, "worker"),
            config.label,
        )
        announcer = Announcer(Notify.take(os.environ))
        guardian = Guardian(config.embedded_program, config.embedded_dir) if config.is_embedded else None
        nursery = Nursery(_run_nursery, inbox) if config.preload else None
        spawner = Spawner(config, run_child, inbox, fork_loaded=nursery.fork if nursery else None)
        team = Team(spawner.spawn, policy=policy)
        supervisor = Supervisor(
            team, spawner, inbox, guardian=guardian, announcer=announcer, nursery=nursery, read=read
        )
        try:
            reception = Reception(config, supervisor.helm, supervisor.tally)
        except ReceptionError as error:
            log.error("%s", error)
            return Exit.USAGE
        supervisor.receive(reception)
        team.foreign += (pidfile,) if pidfile else ()
        try:
            return supervisor.run()
        finally:
            reception.leave()


def _current_folder(environ: Mapping[str, str]) -> Path:
    """As the shell calls it, so that a link in its path that points elsewhere after a deployment is followed anew."""
    shells = Path(environ.get("PWD", ""))
    try:
        return shells if shells.is_absolute() and shells.samefile(Path.cwd()) else Path.cwd()
    except OSError:
        return Path.cwd()


def _rehearse(config: SupervisorConfig) -> int:
    """In a process of its own, which may load what the master must not."""
    from pytask_supervisor.loading import rehearse  # noqa: PLC0415 - never in the master

    return rehearse(config)


def _run_nursery(bed: Bed) -> int:
    """In a process of its own, likewise."""
    from pytask_supervisor.preloaded import run_nursery  # noqa: PLC0415 - never in the master

    return run_nursery(bed)


def _open_standard_descriptors() -> None:
    """Where 0, 1 or 2 is closed, the next file we open would take its place, log lines and all."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        pass
    os.close(fd)
