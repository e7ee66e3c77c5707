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

from pytask_supervisor.channel import Message
from pytask_supervisor.child import Child
from pytask_supervisor.config import SupervisorConfig
from pytask_supervisor.deaths import Deaths, Verdict
from pytask_supervisor.exits import Exit, signal_name
from pytask_supervisor.guardian import Guardian
from pytask_supervisor.logs import counted
from pytask_supervisor.orders import HandBackOrders
from pytask_supervisor.signals import SignalInbox
from pytask_supervisor.spawner import Spawner
from pytask_supervisor.team import Team

log = logging.getLogger("pytask.supervisor")


class Supervisor:
    """Keeps a team of workers alive until it is told to stop. ``inbox`` is entered by the caller."""

    def __init__(
        self,
        config: SupervisorConfig,
        team: Team,
        spawner: Spawner,
        inbox: SignalInbox,
        *,
        guardian: Guardian | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._team = team
        self._spawner = spawner
        self._inbox = inbox
        self._guardian = guardian
        self._clock = clock
        self._orders = HandBackOrders(clock)
        self._deaths = Deaths(team, self._orders)
        self._stopping = False
        self._verdict: Verdict | None = None
        self._is_complete = False
        self._warnings: set[str] = set()
        self._on_signal: dict[int, Callable[[int], None]] = {
            signal.SIGINT: self._on_stop,
            signal.SIGTERM: self._on_stop,
            signal.SIGQUIT: self._on_kill,
            signal.SIGTTIN: self._on_more,
            signal.SIGTTOU: self._on_fewer,
            signal.SIGHUP: self._on_other,
            signal.SIGUSR1: self._on_other,
            signal.SIGUSR2: self._on_other,
            signal.SIGCHLD: lambda _signum: None,  # It only wakes us; every turn reaps.
        }

    def run(self) -> Exit:
        """Start everybody, keep them alive, and come back when all are gone."""
        if self._guardian is None:
            self._open()
        else:
            self._guardian.start()
        while not self._is_done():
            self._inbox.wait(self._until_next(), self._readable())
            self._reap()
            for signum in self._inbox.drain():
                self._on_signal[signum](signum)
            for child in self._team.children:
                self._listen(child)
            self._escalate_overdue()
            self._tend_guardian()
            self._team.fill_due(self._foreign)
            self._orders.give_out(self._team.ready)
        return self._exit_code()

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
                self._listen(child)
                verdict = self._deaths.bury(child, status, is_stopping=self._stopping)
                self._is_complete = False
                if verdict is not None:
                    self._give_up(verdict)
            elif self._guardian is not None:
                self._guardian.reaped(pid)

    def _listen(self, child: Child) -> None:
        for message in child.channel.receive():
            try:
                child.hear(message)
                self._act_on(message)
            except (KeyError, TypeError):
                log.warning("%s said what is no message: %r", child, message)

    def _act_on(self, message: Message) -> None:
        """What a message means beyond the child that sent it."""
        if "ready" in message:
            self._deaths.was_ever_ready = True
            if len(self._team.ready) == self._team.size and not self._is_complete:
                self._is_complete = True
                log.info("%s", _are_ready(self._team.size))
        elif "handed_back" in message:
            whose = self._orders.confirm(message["handed_back"])
            if whose is not None:
                log.info("back in the queue: %s of %s", counted(message["count"], "task"), whose)
        elif "warning" in message and message["warning"] not in self._warnings:
            self._warnings.add(message["warning"])
            log.warning("%s", message["warning"])

    def _escalate_overdue(self) -> None:
        for child in self._team.children:
            if child.is_overdue:
                timeout, running = self._config.graceful_timeout, counted(child.running, "task")
                text = "%s did not stop within %g s and is killed, last seen with %s running"
                log.warning(text, child, timeout, running)
                child.kill()

    def _tend_guardian(self) -> None:
        guardian = self._guardian
        if guardian is None:
            return
        guardian.read()
        if guardian.error is not None and guardian.url is None and not self._stopping:
            self._give_up(Verdict(Exit.USAGE, guardian.error))
        elif guardian.url is not None and self._spawner.redis_url != guardian.url:
            self._spawner.redis_url = guardian.url
            log.info("the embedded server listens at %s", guardian.url)
            if not self._stopping:
                self._open()
        if self._stopping and not self._team.children:
            guardian.release()
        elif guardian.due is not None and guardian.due <= self._clock():
            guardian.start()

    def _is_done(self) -> bool:
        is_alone = self._guardian is None or self._guardian.is_gone
        return self._stopping and not self._team.children and is_alone

    def _until_next(self) -> float | None:
        deadlines = [child.deadline for child in self._team.children]
        deadlines += [self._team.next_due(), self._orders.next_deadline(self._team.ready)]
        if self._guardian is not None:
            deadlines.append(self._guardian.next_deadline)
        return min((d - self._clock() for d in deadlines if d is not None), default=None)

    def _readable(self) -> list[int]:
        channels = [child.channel for child in self._team.children]
        fds = [channel.fileno() for channel in channels if not channel.at_end]
        return fds + (self._guardian.fds if self._guardian else [])

    # Decisions.

    def _open(self) -> None:
        for _ in range(self._config.workers):
            self._team.grow()
        self._team.fill_due(self._foreign)

    @property
    def _foreign(self) -> tuple[Guardian, ...]:
        return (self._guardian,) if self._guardian else ()

    def _give_up(self, verdict: Verdict) -> None:
        log.error("%s", verdict.sentence)
        self._verdict = verdict
        self._stopping = True
        self._team.close()

    def _exit_code(self) -> Exit:
        if self._orders:
            dead = "a dead worker" if len(self._orders) == 1 else f"{len(self._orders)} dead workers"
            log.warning("the tasks of %s come back once their time is up", dead)
        if self._verdict is not None:
            return self._verdict.code
        if self._deaths.killed:
            return Exit.KILLED
        log.info("all workers have left")
        return Exit.OK

    # The table of signals.

    def _on_stop(self, signum: int) -> None:
        if self._stopping:
            self._on_kill(signum)
            return
        timeout, size = self._config.graceful_timeout, self._team.size
        text = "%s: stopping %s; running tasks go back to the queue, within %g s"
        log.info(text, signal_name(signum), counted(size, "worker"), timeout)
        self._stopping = True
        self._team.close()

    def _on_kill(self, signum: int) -> None:
        children = self._team.children
        log.warning("%s: killing what is left: %s", signal_name(signum), counted(len(children), "worker"))
        self._stopping = True
        self._team.close()
        for child in children:
            child.kill()
        if self._guardian is not None and not children:
            self._guardian.abandon()

    def _on_more(self, signum: int) -> None:
        if self._stopping or not self._team.size:
            log.info("%s: not now", signal_name(signum))
            return
        self._team.grow()
        self._is_complete = False
        log.info("%s: one more, %s now", signal_name(signum), counted(self._team.size, "worker"))

    def _on_fewer(self, signum: int) -> None:
        if self._stopping or self._team.size <= 1:
            log.info("%s: it stays at %s", signal_name(signum), counted(self._team.size, "worker"))
            return
        self._team.shrink()
        log.info("%s: one fewer, %s now", signal_name(signum), counted(self._team.size, "worker"))

    def _on_other(self, signum: int) -> None:
        text = "%s: workers go on as they are; restart the supervisor to load changed code"
        log.info(text, signal_name(signum))


def _are_ready(number: int) -> str:
    return f"{counted(number, 'worker')} {'is' if number == 1 else 'are'} ready"
