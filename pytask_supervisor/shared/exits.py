"""The exit codes of ``pytask-supervisor`` and its children, and what a child's end means in words."""

from __future__ import annotations

import os
import signal
from enum import IntEnum


class Exit(IntEnum):
    """How the master (and, for 0 to 4, a child) ends."""

    OK = 0  #: It was asked to stop, and did: every task is back in the queue.
    BUG = 1  #: An unexpected error; the log has the traceback.
    USAGE = 2  #: A wrong flag, environment or pyproject.toml, or no app is named.
    LOAD = 3  #: The app cannot be loaded.
    REFUSED = 4  #: Redis refuses us: password, permission, too old, mixed slots.
    CRASH_LOOP = 5  #: Workers die again and again before they have done anything.
    KILLED = 6  #: Workers had to be killed: second signal, or graceful timeout.


class StartError(Exception):
    """The supervisor cannot start: exit code 2. The text is one line for the user."""


class LoadError(Exception):
    """The app cannot be loaded. ``detail`` is the traceback if one helps, ``code`` the exit code."""

    def __init__(self, sentence: str, detail: str = "", code: Exit = Exit.LOAD) -> None:
        super().__init__(sentence)
        self.detail, self.code = detail, code


#: The app may take this many times the hang timeout to load: importing is slow, and rarely hangs.
LOADING = 10

#: Seconds after which a line says that the app takes long to load.
LOADS_LONG = 10.0

#: The usual cause of that, as the end of a sentence.
WHY_IT_LOADS_LONG = (
    "code that runs for ever, or waits for something, must not start when its module is imported: put it under "
    "if __name__ == '__main__':"
)

#: What a child's exit code means, for the operator.
CHILD_EXITS: dict[int, str] = {
    Exit.OK: "left by itself",
    Exit.BUG: "ended with an unexpected error",
    Exit.LOAD: "could not load the app",
    Exit.REFUSED: "was refused by Redis",
    Exit.KILLED: "did not stop in time and ended itself",
}

#: The usual cause of a death by signal.
SIGNAL_HINTS: dict[int, str] = {
    signal.SIGKILL: "out of memory, or a kill -9",
    signal.SIGSEGV: "native code crashed",
    signal.SIGBUS: "native code crashed",
    signal.SIGABRT: "native code gave up",
    signal.SIGILL: "native code crashed",
    signal.SIGFPE: "native code crashed",
}


def explain(status: int) -> str:
    """Say in words how a child ended, given its status from ``waitpid``."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        hint = SIGNAL_HINTS.get(-code)
        return f"was killed by {signal_name(-code)}" + (f" ({hint})" if hint else "")
    meaning = CHILD_EXITS.get(code)
    return f"{meaning} (exit code {code})" if meaning else f"ended with exit code {code}"


def signal_name(signum: int) -> str:
    """``SIGTERM`` for 15. Real-time signals do not have names, so they go by number."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
