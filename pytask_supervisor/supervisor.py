"""``Supervisor.run``: the master's loop. Comes from ``cli.main``; children go to ``run_child``.

It holds no task and no connection, and acts on nothing but its four senses: exit statuses, signals,
messages from children, and the clock.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from setproctitle import setproctitle

from pytask_supervisor.announcer import Announcer
from pytask_supervisor.config import SupervisorConfig
from pytask_supervisor.deaths import Deaths, Verdict
from pytask_supervisor.ending import Ending
from pytask_supervisor.exits import Exit, signal_name
from pytask_supervisor.guardian import Guardian
from pytask_supervisor.hearing import Hearing
from pytask_supervisor.helm import Helm, OrderError
from pytask_supervisor.ledger import Cause, DeathLedger, Kind
from pytask_supervisor.logs import counted
from pytask_supervisor.notify import Notify
from pytask_supervisor.nursery import Nursery
from pytask_supervisor.oom import OomCounter
from pytask_supervisor.orders import HandBackOrders
from pytask_supervisor.preloading import Preloading
from pytask_supervisor.reception import Reception
from pytask_supervisor.recycling import Recycling
from pytask_supervisor.reloading import Reloading
from pytask_supervisor.rolling import Roll
from pytask_supervisor.signals import GATHER, SignalInbox
from pytask_supervisor.spawner import Spawner
from pytask_supervisor.tally import Tally
from pytask_supervisor.team import Team
from pytask_supervisor.watchdog import Watchdog

log = logging.getLogger("pytask.supervisor")

#: Seconds that the loop sleeps at most while children live.
WATCH = 1.0


class Supervisor:
    """Keeps a team of workers alive until it is told to stop. ``inbox`` is entered by the caller."""

    def __init__(
        self,
        team: Team,
        spawner: Spawner,
        inbox: SignalInbox,
        *,
        guardian: Guardian | None = None,
        announcer: Announcer | None = None,
        nursery: Nursery | None = None,
        read: Callable[[], SupervisorConfig] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._team = team
        self._spawner = spawner
        self._inbox = inbox
        self._guardian = guardian
        self._announcer = announcer or Announcer(Notify(None), clock)
        self._clock = clock
        self._orders = HandBackOrders(clock)
        self._watchdog = Watchdog(clock)
        self._roll = Roll(team)
        self._recycling = Recycling(team, self._roll, log.warning, clock)
        self.ledger = DeathLedger()
        self._oom = OomCounter()
        self._deaths = Deaths(team, self._orders, self._roll, self.ledger, self._oom)
        #: What all workers have done.
        self.tally = Tally()
        self._hearing = Hearing(self._deaths, self._orders, self.tally)
        self._preloading = Preloading(nursery, spawner, team, self._hearing.warn_once, clock)
        reloading = Reloading(
            team, self._roll, spawner, read or (lambda: spawner.config), self._on_change, self._preloading
        )
        #: For whoever is to steer: the control socket, as the signals do.
        self.helm = Helm(team, self.ledger, spawner, reloading, self._announcer.reloading)
        self._ending = Ending(team, self.helm, spawner, guardian)
        self._reception: Reception | None = None
        team.foreign = (guardian,) if guardian else ()
        #: Of how many workers it was said that they are ready.
        self._complete_at = 0
        self._on_signal: dict[int, Callable[[int], None]] = {
            **self._ending.by_signal,
            signal.SIGTTIN: self._steer(self.helm.more),
            signal.SIGTTOU: self._steer(self.helm.fewer),
            signal.SIGHUP: self._steer(self.helm.reload),
            signal.SIGUSR1: self._steer(lambda _name: self.helm.dump()),
            signal.SIGUSR2: self._steer(lambda _name: self.helm.quiet(not self.helm.is_quiet)),
            signal.SIGCHLD: lambda _signum: None,  # It only wakes us; every turn reaps.
        }

    def receive(self, reception: Reception) -> None:
        """Answer those who come there, from now on."""
        self._reception = reception
        self._team.foreign += (reception,)

    def run(self) -> Exit:
        """Start everybody, keep them alive, and come back when all are gone."""
        self._show_title()
        if self._guardian is None:
            self._open()
        else:
            self._guardian.start()
        while not self._is_done():
            writable = self._reception.writable if self._reception else ()
            self._inbox.wait(self._until_next(), self._readable(), writable, self._children_fds())
            self._reap()
            self._oom.forget_old()
            for signum in self._inbox.drain():
                self._on_signal[signum](signum)
            for child in self._team.children:
                self._hearing.listen(child)
            self._escalate_overdue()
            self._watchdog.turn(self._team.children, self._config.hang_timeout)
            self._tend_guardian()
            if not self._ending.has_begun:
                self._recycling.turn(self._config)
            self._preloading.turn(is_stopping=self._ending.has_begun)
            self._roll.turn()
            self._tell_complete()
            self._team.fill_due()
            self._orders.give_out(self._team.ready)
            if self._reception is not None:
                self._reception.tend(self._team.ready)
            self._announcer.turn(
                self._team,
                is_stopping=self._ending.has_begun,
                is_rolling=bool(self._roll) or self._preloading.is_loading,
            )
        return self._ending.exit_code(self._orders, self._deaths)

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
            child = self._team.find(pid)
            if child is not None:
                self._hearing.listen_to_end(child)
                if self._team.is_missed(child):
                    self._complete_at = 0
                verdict = self._deaths.bury(child, status, is_stopping=self._ending.has_begun)
                if verdict is not None:
                    self._ending.give_up(verdict)
            elif self._guardian is None or not self._guardian.reaped(pid):
                self._preloading.reaped(pid, status)

    def _escalate_overdue(self) -> None:
        for child in self._team.children:
            child.end_drain()
            if child.is_overdue:
                text = "%s did not stop within %g s and is killed, last seen with %s running"
                log.warning(text, child, child.granted, counted(child.running, "task"))
                child.kill(Cause(Kind.TIMEOUT, f"was killed, since it did not stop within {child.granted:g} s"))

    def _tell_complete(self) -> None:
        size = self._team.size
        if size > self._complete_at and self._team.is_whole:
            log.info("%s", _are_ready(size))
            self._complete_at = size
        self._complete_at = min(self._complete_at, size)

    def _tend_guardian(self) -> None:
        guardian = self._guardian
        if guardian is None:
            return
        guardian.read()
        if guardian.error is not None and guardian.url is None and not self._ending.has_begun:
            self._ending.give_up(Verdict(Exit.USAGE, guardian.error))
        elif guardian.url is not None and self._spawner.embedded_url != guardian.url:
            self._spawner.embedded_url = guardian.url
            log.info("the embedded server listens at %s", guardian.url)
            if not self._ending.has_begun:
                self._open()
        if self._ending.has_begun and not self._team.children:
            guardian.release()
        elif guardian.due is not None and guardian.due <= self._clock():
            guardian.start()

    def _is_done(self) -> bool:
        is_alone = self._guardian is None or self._guardian.is_gone
        is_alone = is_alone and self._preloading.is_gone
        return self._ending.has_begun and not self._team.children and is_alone

    def _until_next(self) -> float | None:
        deadlines = [child.deadline for child in self._team.children]
        deadlines += [self._team.next_due(), self._orders.next_deadline(self._team.ready)]
        deadlines.append(self._announcer.next_deadline)
        if self._guardian is not None:
            deadlines.append(self._guardian.next_deadline)
        if self._reception is not None:
            deadlines.append(self._reception.next_deadline)
        deadlines.append(self._preloading.due)
        if any(child.is_behind for child in self._team.children):
            deadlines.append(self._clock() + GATHER)
        # While children live somebody must notice when they fall silent.
        longest = [WATCH] if self._team.children else []
        return min([*longest, *(d - self._clock() for d in deadlines if d is not None)], default=None)

    def _readable(self) -> list[int]:
        fds = [*(self._guardian.fds if self._guardian else []), *self._preloading.fds]
        return fds + (self._reception.readable if self._reception else [])

    def _children_fds(self) -> list[int]:
        """What children say can wait a moment: that one has died is told by a signal."""
        lines = [line for child in self._team.children for line in (child.channel, child.wire)]
        return [line.fileno() for line in lines if not line.at_end]

    # Decisions.

    def _open(self) -> None:
        self._preloading.load(self._fill, lambda failure, code: self._ending.give_up(Verdict(code, failure)))

    def _fill(self) -> None:
        for _ in range(self._config.workers):
            self._team.grow()
        self._team.fill_due()

    @property
    def _config(self) -> SupervisorConfig:
        return self._spawner.config

    def _on_change(self, before: SupervisorConfig, config: SupervisorConfig) -> None:
        """Another configuration counts from now on."""
        self._show_title()
        logging.getLogger().setLevel(config.log_level.upper())
        # What was scaled by hand stays, unless the number itself was changed.
        if config.workers != before.workers and not self._ending.has_begun:
            log.info("%s", self.helm.scale(config.workers, "changed configuration"))

    def _show_title(self) -> None:
        setproctitle(f"pytask-supervisor: master [{self._config.label}]")

    # The table of signals.

    def _steer(self, order: Callable[[str], str]) -> Callable[[int], None]:
        """A signal that is an order to the helm."""

        def handle(signum: int) -> None:
            name = signal_name(signum)
            try:
                log.info("%s: %s", name, order(name))
            except OrderError as refusal:
                log.warning("%s: %s", name, refusal)

        return handle


def _are_ready(number: int) -> str:
    return f"{counted(number, 'worker')} {'is' if number == 1 else 'are'} ready"
