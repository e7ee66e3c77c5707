"""``pytask-supervisor``: from the command line to a configuration to an exit code.

``main`` builds the master's parts and hands over to ``Supervisor.run``.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytask_supervisor import __version__
from pytask_supervisor.admin.endpoints import EndpointError, Endpoints
from pytask_supervisor.child.main import run_child
from pytask_supervisor.config.inspection import answer
from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.config.settings import load_config, load_settings
from pytask_supervisor.forkserver.client import ForkServer, ForkServerJob
from pytask_supervisor.host.pidfile import PidFile
from pytask_supervisor.host.privileges import standing
from pytask_supervisor.host.sd_notify import Notify
from pytask_supervisor.master.embedded_server import EmbeddedServer
from pytask_supervisor.master.spawner import Spawner
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.supervisor import Supervisor
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import Exit, StartError
from pytask_supervisor.shared.logs import counted, set_up, write_line
from pytask_supervisor.shared.respawn import RespawnPolicy
from pytask_supervisor.shared.signals import SignalInbox

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
        state = MasterState(config)
        server = EmbeddedServer(config.embedded_program, config.embedded_dir, state) if config.is_embedded else None
        fork_server = ForkServer(_run_fork_server, inbox) if config.preload else None
        spawner = Spawner(state, run_child, inbox, fork_loaded=fork_server.fork if fork_server else None)
        pool = WorkerPool(spawner.spawn, policy=policy)
        supervisor = Supervisor(
            state,
            pool,
            inbox,
            embedded_server=server,
            fork_server=fork_server,
            notify=Notify.take(os.environ),
            read_config=read,
        )
        try:
            endpoints = Endpoints(config, pool, supervisor.commands, supervisor.stats)
        except EndpointError as error:
            log.error("%s", error)
            return Exit.USAGE
        supervisor.add_endpoints(endpoints)
        pool.hide_from_workers(*(thing for thing in (server, endpoints, pidfile) if thing is not None))
        try:
            return supervisor.run()
        finally:
            endpoints.leave()


def _current_folder(environ: Mapping[str, str]) -> Path:
    """As the shell calls it, so that a link in its path that points elsewhere after a deployment is followed again."""
    shells = Path(environ.get("PWD", ""))
    try:
        return shells if shells.is_absolute() and shells.samefile(Path.cwd()) else Path.cwd()
    except OSError:
        return Path.cwd()


def _rehearse(config: SupervisorConfig) -> int:
    """In a process of its own, which may load what the master must not."""
    from pytask_supervisor.child.bootstrap import rehearse  # noqa: PLC0415 - never in the master

    return rehearse(config)


def _run_fork_server(job: ForkServerJob) -> int:
    """In a process of its own, which loads the app."""
    from pytask_supervisor.forkserver.process import run_fork_server  # noqa: PLC0415 - never in the master

    return run_fork_server(job)


def _open_standard_descriptors() -> None:
    """Where 0, 1 or 2 is closed, the next file we open would take its place, log lines and all."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        pass
    os.close(fd)
