"""Why a running process gives no sign of life, by what the kernel counts of its threads.

Called by ``watchdog.py`` for a worker that is silent, and for no other. A thread that waits for a CPU while others have
it is told from one that waits for the interpreter's lock.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

#: Seconds of CPU for which no Python code runs on while another thread asks for the lock: it gives way after five
#: milliseconds each time. Smaller: Python code is taken for native code. Larger: native code is found later.
NO_PYTHON_CODE = 0.3
#: The part of a time for which threads must have waited for a CPU, to be silent for that reason.
WANTS_CPU = 0.25

_KEPT = "it runs, but native code keeps the interpreter's lock"
_STARVED = "it runs, but gets too little CPU to tell anything: other programs of this machine need it"
_UNKNOWN = "it runs, but native code keeps the interpreter's lock, or the machine has too little CPU for it"


class Sample(NamedTuple):
    """What was counted at one moment; all in seconds."""

    at: float
    ran: float  #: by the thread of the loop
    waited: float  #: by the same, for a CPU
    thread_waited: float  #: likewise by the native thread beside it, which tells us of life


def sample(pid: int, thread: int | None, now: float) -> Sample | None:
    """Look at a process; None where the kernel does not tell.

    Args:
        pid: of the process, which is also its main thread's.
        thread: the kernel's number of the thread beside the loop.
        now: seconds.
    """
    main, beside = _counted(pid, pid), _counted(pid, thread) if thread is not None else None
    if main is None or beside is None:
        return None
    return Sample(now, *main, beside[1])


def explain(before: Sample | None, after: Sample | None) -> str:
    """Say in words why it was silent between the two."""
    if before is None or after is None or after.at <= before.at:
        return _UNKNOWN
    if after.ran - before.ran >= NO_PYTHON_CODE:
        return _KEPT
    waited = max(after.waited - before.waited, after.thread_waited - before.thread_waited)
    return _STARVED if waited >= WANTS_CPU * (after.at - before.at) else _KEPT


def _counted(pid: int, thread: int) -> tuple[float, float] | None:
    """Seconds that a thread ran, and that it waited for a CPU."""
    try:
        ran, waited, *_ = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
        return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return None
