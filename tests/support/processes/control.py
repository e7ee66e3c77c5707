"""The control socket of a supervisor under test, asked as ``pytaskctl`` does."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from pytask_supervisor.ctl.control_client import ask, connect
from tests.support.waiting import wait_until

#: What tests name it, in the supervisor's folder.
NAME = "control.sock"


class Control:
    """``path`` is what the supervisor was told by ``--control-socket``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def words(self) -> tuple[str, str]:
        """What the supervisor is told."""
        return "--control-socket", str(self.path)

    def ask(self, **request: Any) -> Any:
        return ask(self.path, **request)

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(do="show")["workers"]
        return found

    def stages(self) -> list[str]:
        return [worker["stage"] for worker in self.workers()]

    def wait_stages(self, *stages: str) -> None:
        wait_until(lambda: self.stages() == list(stages), 20, f"stages {stages}")

    def connect(self, said: bytes = b"") -> socket.socket:
        """A client that says just this."""
        client = connect(self.path)
        client.sendall(said)
        return client
