"""A program at a terminal of its own, for what only a terminal has: keys, Ctrl-C, and modes to be restored."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from types import TracebackType
from typing import Any

from tests.support.waiting import wait_until


class PtyProcess:
    """Started by the constructor, as the foreground of its terminal; use as a context. ``size``: lines and columns."""

    def __init__(self, program: str, *words: str, environ: dict[str, str], size: tuple[int, int] = (40, 160)) -> None:
        self._ours, self._theirs = pty.openpty()
        termios.tcsetwinsize(self._theirs, size)
        #: The terminal's modes before anybody touched them.
        self.modes = termios.tcgetattr(self._theirs)
        # They would overrule the terminal's own size, and tests that run side by side have them.
        ours = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        # Its own session, whose terminal this becomes, so that ^C is turned into a signal.
        opener = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{opener}; {program}", *words],
            env={**ours, "TERM": "xterm-256color", **environ},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )
        self._received = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def screen(self) -> str:
        """All that was written there, colours and movements included."""
        return self._received.decode(errors="replace")

    @property
    def text(self) -> str:
        """All that was written there, without them."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.screen)

    @property
    def modes_now(self) -> list[Any]:
        return list(termios.tcgetattr(self._theirs))

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=20)

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._ours, 65_536)
            except OSError:
                return
            if not chunk:
                return
            self._received += chunk

    def __enter__(self) -> PtyProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)  # Which ends the reader.
        wait_until(lambda: not self._reader.is_alive())
        os.close(self._ours)
