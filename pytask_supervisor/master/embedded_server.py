"""``EmbeddedServer``: the embedded server's guardian process, as the master sees it.

The process itself is ``pytask_core/embedded/server.py`` or ``cluster.py``, run by its path so that nothing of the
core is imported here. It starts the server or finds it, tells us where, and stops it once the pipe that the
master and all its workers hold open is closed by the last of them: the server outlives us all.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytask_supervisor.master.part import Part
from pytask_supervisor.master.state import MasterState

log = logging.getLogger("pytask.supervisor")

#: Seconds before a guardian that died is replaced; its server restarts with it.
RESTART_PAUSE = 1.0
#: Seconds that the server has, once no worker needs it, to write its data before we leave without it.
#: It goes on writing and then stops all the same.
STOP_PATIENCE = 32.0


class EmbeddedServer(Part):
    """One for the life of a master that was told ``--redis embedded`` or ``embedded-cluster``.

    ``program``: its file in ``pytask_core/embedded``. ``directory``: where the data is; None: the default folder.
    """

    def __init__(
        self,
        program: str,
        directory: str | None,
        state: MasterState,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._program = program
        self._directory = directory
        self._clock = clock
        self._hold_read, self._hold_write = os.pipe()
        self._answer_fd: int | None = None
        self._answer = b""
        self._pid: int | None = None
        #: Whether it started the server; otherwise that belongs to another supervisor.
        self._guards = False
        self._release_by: float | None = None
        #: Why there is none: a sentence.
        self.error: str | None = None
        #: When to start one.
        self._due: float | None = clock()

    def turn(self) -> None:
        """See ``Part``."""
        self._read()
        if self._due is None or self._due > self._clock():
            return
        self._due = None
        try:
            self._start()
        except OSError as error:
            self.error = f"the embedded server cannot be started: {error}"
            self._due = self._clock() + RESTART_PAUSE

    def _start(self) -> None:
        """Start the process; its answer comes through ``readable`` and ``_read``."""
        program = _path(self._program)
        answer_read, answer_write = os.pipe()
        argv = [sys.executable, "-P", program, "--hold-fd", str(self._hold_read)]
        if self._directory is not None:
            argv += ["--dir", self._directory]
        actions: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, answer_write, 1),
        ]
        os.set_inheritable(self._hold_read, True)
        try:
            # A session of its own: Ctrl-C in our terminal is not for it.
            self._pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions, setsid=True)
        except OSError:
            os.close(answer_read)
            raise
        finally:
            os.set_inheritable(self._hold_read, False)
            os.close(answer_write)
        os.set_blocking(answer_read, False)
        self._answer_fd, self._answer = answer_read, b""

    @property
    def readable(self) -> list[int]:
        """See ``Part``: while an answer is due."""
        return [] if self._answer_fd is None else [self._answer_fd]

    def _read(self) -> None:
        """Take what it says; its address or ``error`` is known once it has said all."""
        if self._answer_fd is None:
            return
        try:
            chunk = os.read(self._answer_fd, 65_536)
        except BlockingIOError:
            return
        self._answer += chunk
        if chunk and not self._answer.endswith(b"\n"):
            return
        os.close(self._answer_fd)
        self._answer_fd = None
        self._take(self._answer)

    def reaped(self, pid: int) -> bool:
        """Whether the dead process ``pid`` was ours; if it is still needed, another one is due."""
        if pid != self._pid:
            return False
        self._read()
        self._pid = None
        if self._release_by is None and self._state.embedded_url is not None:
            if self._guards or self.error:
                log.error("%s", self.error or "the embedded server's guardian died")
            else:
                log.warning("the embedded server, which another supervisor had started, is gone")
            log.info("the embedded server is started again in %g s", RESTART_PAUSE)
            self._due = self._clock() + RESTART_PAUSE
        return True

    def release(self) -> None:
        """We need the server no more, since no worker is left."""
        if self._release_by is None:
            os.close(self._hold_write)
            self._release_by = self._clock() + STOP_PATIENCE
            self._due = None

    def abandon(self) -> None:
        """Do not wait for its end; it comes all the same."""
        self.release()
        self._release_by = self._clock()

    @property
    def is_gone(self) -> bool:
        """Whether we need not wait for it any longer."""
        if self._pid is None:
            return True
        return self._release_by is not None and self._clock() >= self._release_by

    @property
    def deadline(self) -> float | None:
        """See ``Part``: for the next start, or until we leave without it."""
        return self._due if self._due is not None else self._release_by

    def close(self) -> None:
        """In a worker: let go of all but the writing end, by whose holding the server lives."""
        os.close(self._hold_read)
        if self._answer_fd is not None:
            os.close(self._answer_fd)

    def _take(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = {"error": "the embedded server's guardian ended without a word"}
        self.error = answer.get("error")
        url = answer.get("url", self._state.embedded_url)
        if url != self._state.embedded_url:
            self._state.embedded_url = url
            log.info("the embedded server listens at %s", url)
        if self.error is None:
            self._guards = bool(answer.get("started"))
        if answer.get("warning"):
            log.warning("%s", answer["warning"])


def _path(program: str) -> str:
    spec = importlib.util.find_spec("pytask_core")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("pytask_core is not installed")
    return str(Path(spec.submodule_search_locations[0], "embedded", program))
