"""Where a supervisor's control socket is: one rule for the master and for ``pytaskctl``.

Nothing is opened here, and only ``own_folder`` creates something.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

#: What fits into the kernel's ``sun_path`` besides its closing zero byte.
MOST_BYTES = 107 if sys.platform == "linux" else 103


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
    length = len(os.fsencode(path))
    if length > MOST_BYTES:
        raise SocketPathError(
            f"{path} has {length} bytes, a unix socket's path at most {MOST_BYTES}: name a shorter one"
        )
    return path


def _folder() -> Path:
    """The same folder as the embedded server's: the session's own, else one in /tmp."""
    run_time = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(run_time) and os.path.isdir(run_time) and os.stat(run_time).st_uid == os.geteuid():
        folder = Path(run_time, "pytask")
    else:
        folder = Path(f"/tmp/pytask-{os.geteuid()}")  # noqa: S108 - guarded by the next lines
    # In /tmp anybody could have made it before us, to give our orders another ear.
    if os.path.lexists(folder):
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise SocketPathError(
                f"{folder} is not a folder of ours alone: remove it, or name a socket elsewhere with --control-socket"
            )
    return folder
