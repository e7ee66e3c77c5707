"""What a failed fork means: which limit of the machine, the user or the cgroup was reached."""

from __future__ import annotations

import errno
import resource
from pathlib import Path, PurePosixPath


def explain_shortage(error: OSError, root: Path = Path("/")) -> str:
    """In words, with the limit where it can be read; ``root`` is where ``proc`` and ``sys`` are found."""
    what = error.strerror or str(error)
    if error.errno == errno.EAGAIN:
        limits = [f"RLIMIT_NPROC (ulimit -u) is {_soft(resource.RLIMIT_NPROC)}", *_pids(root)]
        return f"no more processes ({what}): {', '.join(limits)}"
    if error.errno == errno.EMFILE:
        return f"no more file descriptors ({what}): RLIMIT_NOFILE (ulimit -n) is {_soft(resource.RLIMIT_NOFILE)}"
    if error.errno == errno.ENFILE:
        return f"no more file descriptors on this machine ({what}): see fs.file-max"
    if error.errno == errno.ENOMEM:
        return f"no memory for another process ({what}): see the cgroup's memory.max and vm.overcommit_memory"
    return what


def _soft(limit: int) -> str:
    soft, _ = resource.getrlimit(limit)
    return "unlimited" if soft == resource.RLIM_INFINITY else str(soft)


def _pids(root: Path) -> list[str]:
    """The narrowest ``pids.max`` above us, if there is one."""
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "pids"):
            continue
        base = root / "sys/fs/cgroup" / controllers
        inner = PurePosixPath(path.lstrip("/"))
        for part in (inner, *inner.parents):
            most = _read(base / part / "pids.max").strip()
            if most.isdigit():
                found.append(int(most))
    return [f"the cgroup's pids.max is {min(found)}"] if found else []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
