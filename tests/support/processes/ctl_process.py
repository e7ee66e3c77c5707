"""``pytaskctl`` as a process of its own, for what only a process has: signals and pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

_ROOT = Path(__file__).parents[3]
_PROGRAM = "from pytask_supervisor.ctl import run; run()"


class CtlProcess:
    """The command, running. stdout and stderr are pipes of text."""

    def __init__(self, url: str, *words: str, program: str = _PROGRAM) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *words],
            cwd=_ROOT,
            # As at a shell: with PYTHONUNBUFFERED broken pipes show elsewhere.
            env={**os.environ, "PYTASK_REDIS_URL": url, "PYTHONUNBUFFERED": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def err(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def ctrl_c(self) -> None:
        """What the terminal sends."""
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=20)

    def __enter__(self) -> CtlProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.out.close()
        self.err.close()
