"""``Shutdown``: how the supervisor ends, and its exit code: asked once, asked again, or on failure."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.deaths import Deaths, Verdict
from pytask_supervisor.master.embedded_server import EmbeddedServer
from pytask_supervisor.master.handback import Handback
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.preloading import Preloading
from pytask_supervisor.master.reloads import Reloads
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import Exit, signal_name
from pytask_supervisor.shared.logs import counted

log = logging.getLogger("pytask.supervisor")


class Shutdown(Part):
    """Asks all workers to leave; that they do is seen by the supervisor's loop, ``Escalation`` kills the overdue."""

    def __init__(
        self,
        state: MasterState,
        pool: WorkerPool,
        reloads: Reloads,
        preloading: Preloading,
        embedded_server: EmbeddedServer | None,
    ) -> None:
        self._state = state
        self._pool = pool
        self._reloads = reloads
        self._preloading = preloading
        self._embedded_server = embedded_server
        self._is_hurried = False
        self._verdict: Verdict | None = None

    @property
    def by_signal(self) -> dict[int, Callable[[int], None]]:
        """What each signal that ends us does."""
        return {signal.SIGINT: self._stop, signal.SIGTERM: self._stop, signal.SIGQUIT: self._stop_at_once}

    def turn(self) -> None:
        """See ``Part``: the embedded server outlives all workers."""
        if self._state.is_stopping and not self._pool.workers and self._embedded_server is not None:
            self._embedded_server.release()

    @property
    def is_done(self) -> bool:
        """Whether no process of ours is left."""
        is_alone = self._embedded_server is None or self._embedded_server.is_gone
        return self._state.is_stopping and not self._pool.workers and is_alone and self._preloading.is_gone

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
        if self._state.is_stopping:
            self._kill(signum)
            return
        timeout, size = self._state.tried.graceful_timeout, self._pool.size
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
        self._state.is_stopping = True
        self._reloads.master_stops()
        self._pool.close(Cause(Kind.ASKED, words))
