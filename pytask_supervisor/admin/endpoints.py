"""``Endpoints``: the control socket and the metrics port, answered in the master's own loop.

``cli.supervise`` opens it, ``Supervisor.run`` gives it its turn.
"""

from __future__ import annotations

import logging
import os

from pytask_supervisor.admin.control_socket import ControlSocket, open_control
from pytask_supervisor.admin.http import MetricsPort, open_port
from pytask_supervisor.admin.queue_counts import QueueCounts
from pytask_supervisor.admin.server import RequestServer
from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.master.commands import Commands
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.stats import MasterStats
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.socket_path import SocketPathError

log = logging.getLogger("pytask.supervisor")

NO_CLIENT = "--metrics-port needs prometheus-client: pip install pytask-supervisor[metrics]"


class EndpointError(Exception):
    """What was asked for cannot be opened; the text is a sentence."""


class Endpoints(Part):
    """Raises ``EndpointError`` where the configuration asks for what cannot be had."""

    def __init__(self, config: SupervisorConfig, pool: WorkerPool, commands: Commands, stats: MasterStats) -> None:
        self._control: ControlSocket | None = None
        self._metrics: MetricsPort | None = None
        self._queue_counts = QueueCounts(pool)
        try:
            if config.metrics_port is not None:
                self._metrics = _open_metrics(config.metrics_host, config.metrics_port, commands, stats)
            opened = open_control(config.control_socket, os.getpid())
            if opened is not None:
                self._control = ControlSocket(*opened, commands, stats, config.label)
        except (OSError, SocketPathError) as error:
            self.leave()
            raise EndpointError(str(error)) from error
        if self._control is not None:
            log.debug("orders are taken at %s", self._control.path)
        if self._metrics is not None:
            log.info("metrics at %s/metrics, health at %s/healthz", self._metrics.url, self._metrics.url)

    @property
    def readable(self) -> list[int]:
        """See ``Part``."""
        return [fd for server in self._servers for fd in server.readable]

    @property
    def writable(self) -> list[int]:
        """See ``Part``."""
        return [fd for server in self._servers for fd in server.writable]

    @property
    def deadline(self) -> float | None:
        """See ``Part``."""
        deadlines = [server.deadline for server in self._servers]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def turn(self) -> None:
        """See ``Part``: answer what was asked; with ``--metrics-port`` have the queues counted."""
        for server in self._servers:
            server.turn()
        if self._metrics is not None:
            self._queue_counts.turn()

    def close(self) -> None:
        """Let go of all descriptors; in a worker, of the copies that it inherited."""
        for server in self._servers:
            server.close()

    def leave(self) -> None:
        """Close for good: the control socket's path is free again."""
        if self._control is not None:
            self._control.remove()
        self.close()

    @property
    def _servers(self) -> list[RequestServer]:
        return [desk.server for desk in (self._control, self._metrics) if desk is not None]


def _open_metrics(host: str, port: int, commands: Commands, stats: MasterStats) -> MetricsPort:
    try:
        from pytask_supervisor.admin.prometheus import Exposition  # noqa: PLC0415 - 10 MiB that only some want
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise EndpointError(NO_CLIENT) from error
    return MetricsPort(open_port(host, port), commands, Exposition(commands, stats).render)
