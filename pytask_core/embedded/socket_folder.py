"""Where the sockets of supervisors and embedded servers are by default, and how long a path may be.

Like ``server`` it imports the standard library only, and creates nothing.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

#: What fits into the kernel's ``sun_path`` besides its closing zero byte.
MOST_BYTES = 107 if sys.platform == "linux" else 103


def default_folder() -> Path:
    """``$XDG_RUNTIME_DIR/pytask`` where that variable names a folder of ours, else ``/tmp/pytask-<uid>``."""
    run_time = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(run_time) and os.path.isdir(run_time) and os.stat(run_time).st_uid == os.geteuid():
        return Path(run_time, "pytask")
    return Path(f"/tmp/pytask-{os.geteuid()}")  # noqa: S108 - guarded by the next function


def may_be_ours(folder: Path) -> bool:
    """Whether a folder is ours and not a link, or does not exist yet. In /tmp another user could have made it first."""
    if not os.path.lexists(folder):
        return True
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def excess(path: Path) -> str | None:
    """Why a unix socket cannot have this path, as a sentence that a remedy can follow; None where it can."""
    length = len(os.fsencode(path))
    return f"{path} has {length} bytes, a unix socket's path at most {MOST_BYTES}" if length > MOST_BYTES else None
