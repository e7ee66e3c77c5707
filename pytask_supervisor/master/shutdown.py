"""``Shutdown``: how the supervisor ends, and its exit code: asked once, asked again, or on failure."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

from pytask_supervisor.master.commands import Commands
from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.deaths import Deaths, Verdict
from pytask_supervisor.master.embedded_server import EmbeddedServer
from pytask_supervisor.master.handback import Handback
from pytask_supervisor.master.spawner import Spawner
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import Exit, signal_name
from pytask_supervisor.shared.logs import counted

log = logging.getLogger("pytask.supervisor")


class Shutdown:
    """Asks everybody to leave; that they do, and who is overdue, is seen by the supervisor's loop."""

    def __init__(
        self, pool: WorkerPool, commands: Commands, spawner: Spawner, embedded_server: EmbeddedServer | None
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._spawner = spawner
        self._embedded_server = embedded_server
        self._is_hurried = False
        self._verdict: Verdict | None = None

    @property
    def has_begun(self) -> bool:
        """Whether everybody is to leave."""
        return self._commands.is_stopping

    @property
    def by_signal(self) -> dict[int, Callable[[int], None]]:
        """What each signal that ends us does."""
        return {signal.SIGINT: self._stop, signal.SIGTERM: self._stop, signal.SIGQUIT: self._stop_at_once}

    def give_up(self, verdict: Verdict) -> None:
        """Leave, since we cannot go on: the verdict names the exit code."""
        log.error("%s", verdict.sentence)
        self._verdict = verdict
        self._close("was asked to stop, since the supervisor gives up")

    def exit_code(self, handback: Handback, deaths: Deaths) -> Exit:
        """How it has ended, now that all are gone; the last words of the log."""
        if handback:
            dead = "a dead worker" if len(handback) == 1 else f"{len(handback)} dead workers"
            log.warning("what %s held, if anything, comes back once its time is up", dead)
        if self._verdict is not None:
            return self._verdict.code
        if deaths.killed:
            return Exit.KILLED
        log.info("all workers have left")
        return Exit.OK

    def _stop(self, signum: int) -> None:
        if self.has_begun:
            self._kill(signum)
            return
        timeout, size = self._spawner.config.graceful_timeout, self._pool.size
        text = "%s: stopping %s; running tasks go back to the queue, within %g s"
        log.info(text, signal_name(signum), counted(size, "worker"), timeout)
        self._close(f"was asked to stop ({signal_name(signum)})")

    def _stop_at_once(self, signum: int) -> None:
        if self._is_hurried:
            self._kill(signum)
            return
        self._is_hurried = True
        workers = self._pool.workers
        text = "%s: stopping %s at once; tasks go back to the queue, and their stop() is not waited for"
        log.info(text, signal_name(signum), counted(len(workers), "worker"))
        words = f"was asked to stop at once ({signal_name(signum)})"
        self._close(words)
        for worker in workers:
            worker.stop_at_once(Cause(Kind.ASKED, words))

    def _kill(self, signum: int) -> None:
        workers = self._pool.workers
        log.warning("%s: killing what is left: %s", signal_name(signum), counted(len(workers), "worker"))
        self._close(f"was asked to stop ({signal_name(signum)})")
        for worker in workers:
            worker.kill(Cause(Kind.TIMEOUT, f"was killed ({signal_name(signum)})"))
        if self._embedded_server is not None and not workers:
            self._embedded_server.abandon()

    def _close(self, words: str) -> None:
        self._commands.begin_stop()
        self._pool.close(Cause(Kind.ASKED, words))
