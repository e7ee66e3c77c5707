"""A guardian process (``pytask_core/embedded/server.py`` run by its path), as a supervisor runs it.

Called by the tests of the embedded server. The pipe is ours: closing its writing end is the death
of the supervisor and all of its children.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from tests.support.servers.redis_server import client_options
from tests.support.waiting import wait_until

# By its path, as the master runs it, so not imported here.
PROGRAM = Path(__file__).parents[3] / "pytask_core" / "embedded" / "server.py"
#: The same for each scheme of a URL.
PROGRAMS = {"embedded": PROGRAM, "embedded-cluster": PROGRAM.with_name("cluster.py")}


class Guardian:
    """One guardian of the server in ``directory`` (None: the default folder).

    ``prefix``: words before the command, such as a program that takes privileges away.
    """

    def __init__(self, directory: Path | None, prefix: tuple[str, ...] = ()) -> None:
        self.socket = None if directory is None else directory / "valkey.sock"
        reading_end, self.writing_end = os.pipe()
        where = [] if directory is None else ["--dir", str(directory)]
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-P", str(PROGRAM), *where, "--hold-fd", str(reading_end)],
            pass_fds=(reading_end,),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(reading_end)

    def report(self) -> dict[str, Any]:
        """The one line it prints; stdout is closed after it."""
        assert self.process.stdout is not None
        lines = self.process.stdout.read().splitlines()
        assert len(lines) == 1, f"expected one line, got {lines}; stderr: {self._stderr()}"
        report: dict[str, Any] = json.loads(lines[0])
        return report

    def complaint(self) -> str:
        """The next line on its stderr."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def client(self) -> redis.Redis:
        """A client of its server; close it."""
        return redis.Redis(unix_socket_path=str(self.socket), **client_options())

    def release(self) -> None:
        """End the pipe, as the end of the last of the supervisor's processes does."""
        if self.writing_end >= 0:
            os.close(self.writing_end)
            self.writing_end = -1

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=20)

    def close(self) -> None:
        """Release it and wait; no server is left behind."""
        self.release()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> Guardian:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _stderr(self) -> str:
        self.release()
        assert self.process.stderr is not None
        return self.process.stderr.read()


def is_alive(pid: int) -> bool:
    """Whether the process exists; a zombie does not count."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for_death(pid: int, timeout: float = 10.0) -> None:
    """Wait until the process is gone."""
    wait_until(lambda: not is_alive(pid), timeout, message=f"the end of process {pid}")
