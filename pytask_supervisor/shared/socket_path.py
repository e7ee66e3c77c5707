"""Where a supervisor's control socket is: one rule for the master and for ``pytaskctl``.

Nothing is opened here, and only ``own_folder`` creates something.
"""

from __future__ import annotations

import os
from pathlib import Path

from pytask_core.embedded.private import WRITABLE
from pytask_core.embedded.socket_folder import default_folder, excess, may_be_ours


class SocketPathError(Exception):
    """There can be no socket there; the text is a sentence."""


def name_for(pid: int) -> str:
    """The socket's name in ``own_folder``, of the master with that process id."""
    return f"supervisor-{pid}.sock"


def own_folder() -> Path:
    """The folder of the default, created if need be. Raises ``SocketPathError`` or ``OSError``."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _folder()


def sockets() -> list[Path]:
    """The default sockets of this user's supervisors; some may be left over. Raises ``SocketPathError``."""
    return sorted(path for path in _folder().glob("supervisor-*.sock") if path.is_socket())


def checked(path: Path) -> Path:
    """The path made absolute; ``SocketPathError`` where no unix socket can have it."""
    path = Path(os.path.abspath(path))
    if too_long := excess(path):
        raise SocketPathError(f"{too_long}: name a shorter one")
    return path


def _folder() -> Path:
    """The same folder as the embedded server's."""
    folder = default_folder()
    if not may_be_ours(folder) or (folder.exists() and folder.stat().st_mode & WRITABLE):
        raise SocketPathError(
            f"{folder} is not a folder of ours alone: remove it, or name a socket elsewhere with --control-socket"
        )
    return folder
