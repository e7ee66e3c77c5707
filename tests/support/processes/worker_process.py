"""A worker as a process of its own, with the tasks of ``tests.support.apps``. Called by tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_ROOT = Path(__file__).parents[3]


class WorkerProcess:
    """A worker; with ``cleanup`` it also removes what has ended, at once."""

    def __init__(self, url: str, *, cleanup: bool = False) -> None:
        words = [url, "cleanup"] if cleanup else [url]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gevent.monkey", "--module", "tests.support.apps", *words],
            cwd=_ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C at the terminal is for the tests.
            start_new_session=True,
        )

    def stop(self) -> int:
        """SIGINT; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=20)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            assert self.stop() == 0
        finally:
            self.process.kill()
            self.process.wait()
