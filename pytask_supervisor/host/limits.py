"""What a failed fork means: which limit of the machine, the user or the cgroup was reached."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

from pytask_supervisor.host.cgroup import levels, read


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
    limits = (read(folder / "pids.max").strip() for _, folder in levels("pids", root))
    found = [int(limit) for limit in limits if limit.isdigit()]
    return [f"the cgroup's pids.max is {min(found)}"] if found else []
