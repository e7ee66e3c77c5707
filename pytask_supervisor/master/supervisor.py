"""``Supervisor.run``: the master's loop. Comes from ``cli.main``; the workers go to ``child.main.run_child``.

It holds no task and no connection, and acts on nothing but its four senses: exit statuses, signals,
messages from workers, and the clock.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.forkserver.client import ForkServer
from pytask_supervisor.host.oom import OomCounter
from pytask_supervisor.host.sd_notify import Notify
from pytask_supervisor.master.applying import Applying
from pytask_supervisor.master.commands import Commands, OrderError
from pytask_supervisor.master.death_log import DeathLog
from pytask_supervisor.master.deaths import Deaths
from pytask_supervisor.master.embedded_server import EmbeddedServer
from pytask_supervisor.master.escalation import Escalation
from pytask_supervisor.master.handback import Handback
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.preloading import Preloading
from pytask_supervisor.master.readiness import Readiness
from pytask_supervisor.master.recycling import Recycling
from pytask_supervisor.master.reloads import Reloads
from pytask_supervisor.master.rolling import Rolling
from pytask_supervisor.master.shutdown import Shutdown
from pytask_supervisor.master.startup import Startup
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.stats import MasterStats
from pytask_supervisor.master.systemd import SystemdNotifier
from pytask_supervisor.master.watchdog import Watchdog
from pytask_supervisor.master.worker_messages import WorkerMessages
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import Exit, signal_name
from pytask_supervisor.shared.signals import SignalInbox

log = logging.getLogger("pytask.supervisor")


class Supervisor:
    """Keeps the workers alive until it is told to stop. ``inbox`` is entered by the caller."""

    def __init__(
        self,
        state: MasterState,
        pool: WorkerPool,
        inbox: SignalInbox,
        *,
        embedded_server: EmbeddedServer | None = None,
        fork_server: ForkServer | None = None,
        notify: Notify | None = None,
        read_config: Callable[[], SupervisorConfig] | None = None,
    ) -> None:
        self._pool = pool
        self._inbox = inbox
        self._embedded_server = embedded_server
        rolling, death_log = Rolling(pool), DeathLog()
        self._handback = Handback(pool)
        self._deaths = Deaths(state, pool, self._handback, rolling, death_log, OomCounter())
        #: What all workers have done.
        self.stats = MasterStats()
        self._messages = WorkerMessages(pool, self._deaths, self._handback, self.stats)
        self._preloading = Preloading(fork_server, state, pool, self._messages.warn_once)
        reloads = Reloads(state, pool, rolling, self._preloading, read_config or (lambda: state.tried))
        #: What an operator can ask for, by a signal or at the control socket.
        self.commands = Commands(state, pool, death_log, reloads)
        self._shutdown = Shutdown(state, pool, reloads, self._preloading, embedded_server)
        #: In the order of their turns: what workers have said comes first, what others are told last.
        self._parts: list[Part] = [
            self._messages,
            Escalation(pool),
            Watchdog(state, pool),
            self._deaths,
            self._shutdown,
            *([embedded_server] if embedded_server else []),
            Startup(state, pool, self._preloading, self._shutdown, embedded_server),
            Recycling(state, pool, rolling, log.warning),
            self._preloading,
            rolling,
            Applying(state, self.commands),
            Readiness(pool),
            pool,
            self._handback,
            SystemdNotifier(notify or Notify(None), state, pool, reloads),
        ]
        self._on_signal = {**self._shutdown.by_signal, **_orders_by_signal(self.commands)}

    def add_endpoints(self, endpoints: Part) -> None:
        """Answer at these from now on; only systemd is told later."""
        self._parts.insert(-1, endpoints)

    def run(self) -> Exit:
        """Start all workers, keep them alive, and come back when all are gone."""
        while True:
            for part in self._parts:
                part.turn()
            if self._shutdown.is_done:
                return self._shutdown.exit_code(self._handback, self._deaths)
            self._wait()
            self._reap()
            for signum in self._inbox.drain():
                self._on_signal[signum](signum)

    def _wait(self) -> None:
        parts, now = self._parts, time.monotonic()
        deadlines = [part.deadline for part in parts]
        timeout = min((deadline - now for deadline in deadlines if deadline is not None), default=None)
        self._inbox.wait(
            timeout,
            [fd for part in parts for fd in part.readable],
            [fd for part in parts for fd in part.writable],
            [fd for part in parts for fd in part.unhurried],
        )

    def _reap(self) -> None:
        """Also strangers, which end up with us if we are process 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._pool.find(pid)
            if worker is not None:
                self._messages.listen_to_end(worker)
                verdict = self._deaths.bury(worker, status)
                if verdict is not None:
                    self._shutdown.give_up(verdict)
            elif self._embedded_server is None or not self._embedded_server.reaped(pid):
                self._preloading.reaped(pid, status)


def _orders_by_signal(commands: Commands) -> dict[int, Callable[[int], None]]:
    """What each signal does that does not end us."""

    def order(give: Callable[[str], str]) -> Callable[[int], None]:
        def handle(signum: int) -> None:
            name = signal_name(signum)
            try:
                log.info("%s: %s", name, give(name))
            except OrderError as refusal:
                log.warning("%s: %s", name, refusal)

        return handle

    return {
        signal.SIGTTIN: order(commands.more),
        signal.SIGTTOU: order(commands.fewer),
        signal.SIGHUP: order(commands.reload),
        signal.SIGUSR1: order(lambda _name: commands.dump()),
        signal.SIGUSR2: order(lambda _name: commands.quiet(not commands.is_quiet)),
        signal.SIGCHLD: lambda _signum: None,  # It only wakes us; every turn reaps.
    }
