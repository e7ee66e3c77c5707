"""``Supervisor.run``: the master's loop. Comes from ``cli.main``; workers go to ``run_child``.

It holds no task and no connection, and acts on nothing but its four senses: exit statuses, signals,
messages from workers, and the clock.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from setproctitle import setproctitle

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.forkserver.client import ForkServer
from pytask_supervisor.host.oom import OomCounter
from pytask_supervisor.host.sd_notify import Notify
from pytask_supervisor.master.commands import Commands, OrderError
from pytask_supervisor.master.death_log import Cause, DeathLog, Kind
from pytask_supervisor.master.deaths import Deaths, Verdict
from pytask_supervisor.master.embedded_server import EmbeddedServer
from pytask_supervisor.master.handback import Handback
from pytask_supervisor.master.part import Endpoints
from pytask_supervisor.master.preloading import Preloading
from pytask_supervisor.master.recycling import Recycling
from pytask_supervisor.master.reload import Reload
from pytask_supervisor.master.rolling import Roll
from pytask_supervisor.master.shutdown import Shutdown
from pytask_supervisor.master.spawner import Spawner
from pytask_supervisor.master.stats import MasterStats
from pytask_supervisor.master.systemd import SystemdNotifier
from pytask_supervisor.master.watchdog import Watchdog
from pytask_supervisor.master.worker_messages import WorkerMessages
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import Exit, signal_name
from pytask_supervisor.shared.logs import counted
from pytask_supervisor.shared.signals import GATHER, SignalInbox

log = logging.getLogger("pytask.supervisor")

#: Seconds that the loop sleeps at most while workers live.
WATCH = 1.0


class Supervisor:
    """Keeps the workers alive until it is told to stop. ``inbox`` is entered by the caller."""

    def __init__(
        self,
        pool: WorkerPool,
        spawner: Spawner,
        inbox: SignalInbox,
        *,
        embedded_server: EmbeddedServer | None = None,
        systemd: SystemdNotifier | None = None,
        fork_server: ForkServer | None = None,
        read: Callable[[], SupervisorConfig] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._spawner = spawner
        self._inbox = inbox
        self._embedded_server = embedded_server
        self._systemd = systemd or SystemdNotifier(Notify(None), clock)
        self._clock = clock
        self._handback = Handback(clock)
        self._watchdog = Watchdog(clock)
        self._roll = Roll(pool)
        self._recycling = Recycling(pool, self._roll, log.warning, clock)
        self.death_log = DeathLog()
        self._oom = OomCounter()
        self._deaths = Deaths(pool, self._handback, self._roll, self.death_log, self._oom)
        #: What all workers have done.
        self.stats = MasterStats()
        self._messages = WorkerMessages(self._deaths, self._handback, self.stats)
        self._preloading = Preloading(fork_server, spawner, pool, self._messages.warn_once, clock)
        reloading = Reload(
            pool, self._roll, spawner, read or (lambda: spawner.config), self._on_change, self._preloading
        )
        #: For whoever is to steer: the control socket, as the signals do.
        self.commands = Commands(pool, self.death_log, spawner, reloading, self._systemd.reloading)
        self._shutdown = Shutdown(pool, self.commands, spawner, embedded_server)
        self._endpoints: Endpoints | None = None
        pool.foreign = (embedded_server,) if embedded_server else ()
        #: Of how many workers it was said that they are ready.
        self._complete_at = 0
        self._on_signal: dict[int, Callable[[int], None]] = {
            **self._shutdown.by_signal,
            signal.SIGTTIN: self._steer(self.commands.more),
            signal.SIGTTOU: self._steer(self.commands.fewer),
            signal.SIGHUP: self._steer(self.commands.reload),
            signal.SIGUSR1: self._steer(lambda _name: self.commands.dump()),
            signal.SIGUSR2: self._steer(lambda _name: self.commands.quiet(not self.commands.is_quiet)),
            signal.SIGCHLD: lambda _signum: None,  # It only wakes us; every turn reaps.
        }

    def receive(self, endpoints: Endpoints) -> None:
        """Answer those who come there, from now on."""
        self._endpoints = endpoints
        self._pool.foreign += (endpoints,)

    def run(self) -> Exit:
        """Start everybody, keep them alive, and come back when all are gone."""
        self._show_title()
        if self._embedded_server is None:
            self._open()
        else:
            self._embedded_server.start()
        while not self._is_done():
            writable = self._endpoints.writable if self._endpoints else ()
            self._inbox.wait(self._until_next(), self._readable(), writable, self._workers_fds())
            self._reap()
            self._oom.forget_old()
            for signum in self._inbox.drain():
                self._on_signal[signum](signum)
            for worker in self._pool.workers:
                self._messages.listen(worker)
            self._escalate_overdue()
            self._watchdog.turn(self._pool.workers, self._config.hang_timeout)
            self._tend_guardian()
            if not self._shutdown.has_begun:
                self._recycling.turn(self._config)
            self._preloading.turn(is_stopping=self._shutdown.has_begun)
            self._roll.turn()
            self._tell_complete()
            self._pool.fill_due()
            self._handback.give_out(self._pool.ready)
            if self._endpoints is not None:
                self._endpoints.tend(self._pool.ready)
            self._systemd.turn(
                self._pool,
                is_stopping=self._shutdown.has_begun,
                is_rolling=bool(self._roll) or self._preloading.is_loading,
            )
        return self._shutdown.exit_code(self._handback, self._deaths)

    # What a turn of the loop does, in its order.

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
                if self._pool.is_missed(worker):
                    self._complete_at = 0
                verdict = self._deaths.bury(worker, status, is_stopping=self._shutdown.has_begun)
                if verdict is not None:
                    self._shutdown.give_up(verdict)
            elif self._embedded_server is None or not self._embedded_server.reaped(pid):
                self._preloading.reaped(pid, status)

    def _escalate_overdue(self) -> None:
        for worker in self._pool.workers:
            worker.end_drain()
            if worker.is_overdue:
                text = "%s did not stop within %g s and is killed, last seen with %s running"
                log.warning(text, worker, worker.granted, counted(worker.running, "task"))
                worker.kill(Cause(Kind.TIMEOUT, f"was killed, since it did not stop within {worker.granted:g} s"))

    def _tell_complete(self) -> None:
        size = self._pool.size
        if size > self._complete_at and self._pool.is_whole:
            log.info("%s", _are_ready(size))
            self._complete_at = size
        self._complete_at = min(self._complete_at, size)

    def _tend_guardian(self) -> None:
        embedded_server = self._embedded_server
        if embedded_server is None:
            return
        embedded_server.read()
        if embedded_server.error is not None and embedded_server.url is None and not self._shutdown.has_begun:
            self._shutdown.give_up(Verdict(Exit.USAGE, embedded_server.error))
        elif embedded_server.url is not None and self._spawner.embedded_url != embedded_server.url:
            self._spawner.embedded_url = embedded_server.url
            log.info("the embedded server listens at %s", embedded_server.url)
            if not self._shutdown.has_begun:
                self._open()
        if self._shutdown.has_begun and not self._pool.workers:
            embedded_server.release()
        elif embedded_server.due is not None and embedded_server.due <= self._clock():
            embedded_server.start()

    def _is_done(self) -> bool:
        is_alone = self._embedded_server is None or self._embedded_server.is_gone
        is_alone = is_alone and self._preloading.is_gone
        return self._shutdown.has_begun and not self._pool.workers and is_alone

    def _until_next(self) -> float | None:
        deadlines = [worker.deadline for worker in self._pool.workers]
        deadlines += [self._pool.next_due(), self._handback.next_deadline(self._pool.ready)]
        deadlines.append(self._systemd.next_deadline)
        if self._embedded_server is not None:
            deadlines.append(self._embedded_server.next_deadline)
        if self._endpoints is not None:
            deadlines.append(self._endpoints.next_deadline)
        deadlines.append(self._preloading.due)
        if any(worker.is_behind for worker in self._pool.workers):
            deadlines.append(self._clock() + GATHER)
        # While workers live somebody must notice when they fall silent.
        longest = [WATCH] if self._pool.workers else []
        return min([*longest, *(d - self._clock() for d in deadlines if d is not None)], default=None)

    def _readable(self) -> list[int]:
        fds = [*(self._embedded_server.fds if self._embedded_server else []), *self._preloading.fds]
        return fds + (self._endpoints.readable if self._endpoints else [])

    def _workers_fds(self) -> list[int]:
        """What workers say can wait a moment: that one has died is told by a signal."""
        lines = [line for worker in self._pool.workers for line in (worker.channel, worker.wire)]
        return [line.fileno() for line in lines if not line.at_end]

    # Decisions.

    def _open(self) -> None:
        self._preloading.load(self._fill, lambda failure, code: self._shutdown.give_up(Verdict(code, failure)))

    def _fill(self) -> None:
        for _ in range(self._config.workers):
            self._pool.grow()
        self._pool.fill_due()

    @property
    def _config(self) -> SupervisorConfig:
        return self._spawner.config

    def _on_change(self, before: SupervisorConfig, config: SupervisorConfig) -> None:
        """Another configuration counts from now on."""
        self._show_title()
        logging.getLogger().setLevel(config.log_level.upper())
        # What was scaled by hand stays, unless the number itself was changed.
        if config.workers != before.workers and not self._shutdown.has_begun:
            log.info("%s", self.commands.scale(config.workers, "changed configuration"))

    def _show_title(self) -> None:
        setproctitle(f"pytask-supervisor: master [{self._config.label}]")

    # The table of signals.

    def _steer(self, order: Callable[[str], str]) -> Callable[[int], None]:
        """A signal that is an order."""

        def handle(signum: int) -> None:
            name = signal_name(signum)
            try:
                log.info("%s: %s", name, order(name))
            except OrderError as refusal:
                log.warning("%s: %s", name, refusal)

        return handle


def _are_ready(number: int) -> str:
    return f"{counted(number, 'worker')} {'is' if number == 1 else 'are'} ready"
