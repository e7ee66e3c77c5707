"""``Startup``: how the supervisor begins: the embedded server, then the app, then the workers."""

from __future__ import annotations

from pytask_supervisor.master.deaths import Verdict
from pytask_supervisor.master.embedded_server import EmbeddedServer
from pytask_supervisor.master.part import Part
from pytask_supervisor.master.preloading import AppUser, Preloading
from pytask_supervisor.master.shutdown import Shutdown
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.exits import Exit


class Startup(Part, AppUser):
    """Gives up where there is no embedded server, or the app cannot be loaded ahead."""

    def __init__(
        self,
        state: MasterState,
        pool: WorkerPool,
        preloading: Preloading,
        shutdown: Shutdown,
        embedded_server: EmbeddedServer | None,
    ) -> None:
        self._state = state
        self._pool = pool
        self._preloading = preloading
        self._shutdown = shutdown
        self._embedded_server = embedded_server
        self._has_begun = False

    def turn(self) -> None:
        """See ``Part``."""
        if self._has_begun or self._state.is_stopping:
            return
        server = self._embedded_server
        if server is not None and self._state.embedded_url is None:
            if server.error is not None:
                self._shutdown.give_up(Verdict(Exit.USAGE, server.error))
            return
        self._has_begun = True
        self._preloading.load_for(self, self._state.tried)

    def app_loaded(self) -> None:
        """See ``AppUser``."""
        for _ in range(self._state.tried.workers):
            self._pool.grow()

    def app_failed(self, why: str, code: Exit) -> None:
        """See ``AppUser``."""
        self._shutdown.give_up(Verdict(code, why))
