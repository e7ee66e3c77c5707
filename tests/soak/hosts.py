"""``Host``: one ``pytask-supervisor`` with a wire of its own to the server, as if on a machine of its own.

Killed and started again by the nemesis; what it logs stays in one file over all its lives.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.soak.ledger import VARIABLE
from tests.soak.wire import Wire
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.waiting import wait_until

#: What may go wrong with the exit code of a supervisor that was asked to stop: 6 says that it had to kill.
GOOD_EXITS = (0, 6)


class Host:
    """A supervisor and its wire.

    Args:
        name: for logs and lines.
        folder: its own.
        wire: to the server; the host closes it.
        ledger: path of the ledger.
        workers: how many it starts with.
        app: what it runs, as ``module:attribute``.
        stage: see ``SupervisorProcess``.
        environ: the same.
        launcher: the same.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        wire: Wire,
        ledger: Path,
        workers: int,
        *,
        app: str = "tests.soak.app:app",
        stage: str | None = None,
        environ: dict[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.folder = folder
        self.wire = wire
        self.size = workers
        self._workers = workers
        self._app = app
        self._stage = stage
        self._launcher = launcher
        self._environ = {VARIABLE: str(ledger), **(environ or {})}
        self._supervisor: SupervisorProcess | None = None
        folder.mkdir()

    @property
    def log(self) -> Path:
        """What it has logged in all its lives."""
        return self.folder / "supervisor.log"

    @property
    def is_up(self) -> bool:
        """Whether there is a master."""
        return self._supervisor is not None and self._supervisor.process.poll() is None

    @property
    def supervisor(self) -> SupervisorProcess:
        """The running one."""
        assert self._supervisor is not None, f"{self.name} is down"
        return self._supervisor

    def start(self) -> None:
        """Start a master; returns at once."""
        assert not self.is_up
        self.size = self._workers
        words = ["--app", self._app, "--workers", str(self._workers), "--redis", self.wire.url]
        words += ["--graceful-timeout", "6"]
        self._supervisor = SupervisorProcess(
            self.folder, *words, environ=self._environ, stage=self._stage, launcher=self._launcher
        )

    def pids(self) -> list[int]:
        """Its children."""
        return sorted(self.supervisor.children()) if self.is_up else []

    def lose(self) -> None:
        """Everything at once, without a word to anybody: the power is gone."""
        children = self.pids()
        _send(self.supervisor.pid, signal.SIGSTOP)
        for pid in children:
            _send(pid, signal.SIGKILL)
        self.kill_master()

    def kill_master(self) -> None:
        """SIGKILL; its children find out by themselves."""
        _send(self.supervisor.pid, signal.SIGKILL)
        self.supervisor.process.wait()

    def stop(self, signum: int = signal.SIGINT, timeout: float = 30) -> int:
        """Ask it to leave; the exit code."""
        return self.supervisor.stop(signum, timeout)

    def resize(self, by: int) -> None:
        """One worker more or fewer."""
        self.supervisor.send(signal.SIGTTIN if by > 0 else signal.SIGTTOU)
        self.size += by

    def leave_nothing(self) -> list[int]:
        """Wait for what its dead masters left to be gone as well; what is still there then."""
        with suppress(AssertionError):
            wait_until(lambda: not self._left(), 12)
        return self._left()

    def _left(self) -> list[int]:
        return [] if self._supervisor is None else self._supervisor.left()

    def close(self) -> None:
        """Kill whatever is there."""
        if self._supervisor is not None:
            self._supervisor.process.kill()
            self._supervisor.process.wait()
            deadline = time.monotonic() + 5
            while (left := self._left()) and time.monotonic() < deadline:
                for pid in left:
                    _send(pid, signal.SIGKILL)
        self.wire.close()


def _send(pid: int, signum: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signum)
