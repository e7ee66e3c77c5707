"""``pytask-supervisor`` in circumstances that a test cannot make from outside.

Run by ``tests.support.processes.supervisor_process`` as ``python -m tests.support.processes.staged_supervisor STAGE``
and the supervisor's own arguments. Each stage is one function, which says what it stages.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import termios
from collections.abc import Callable
from pathlib import Path

from pytask_supervisor import cli
from pytask_supervisor.child.main import run_child
from pytask_supervisor.config.settings import load_config
from pytask_supervisor.master.spawner import Spawner
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.supervisor import Supervisor
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.logs import set_up
from pytask_supervisor.shared.respawn import RespawnPolicy
from pytask_supervisor.shared.signals import SignalInbox

PR_SET_CHILD_SUBREAPER = 36


def quick_policy() -> RespawnPolicy:
    """A hundredth of the real pauses."""
    return RespawnPolicy(pace=0.01)


def hasty(argv: list[str]) -> int:
    """Dead workers are replaced without the long pauses, which a test has no time for."""
    return cli.main(argv, os.environ, quick_policy)


class FaultyPolicy(RespawnPolicy):
    """A bug that shows once a worker has died."""

    def pause_after(self, ready_for: float) -> float:
        """Fail."""
        raise RuntimeError(f"a bug, after {ready_for:.0f} s")


def faulty(argv: list[str]) -> int:
    """The master has a bug."""
    return cli.main(argv, os.environ, FaultyPolicy)


def struck_at_birth(argv: list[str]) -> int:
    """Each worker is sent TERM before its first line of code; pauses as in ``hasty``."""

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    config = load_config(argv, {}, Path.cwd())
    set_up("master", config.log_level)
    with SignalInbox() as inbox:
        state = MasterState(config)
        spawner = Spawner(state, run_child, inbox, fork=fork)
        pool = WorkerPool(spawner.spawn, policy=quick_policy)
        return Supervisor(state, pool, inbox).run()


def own_terminal(argv: list[str]) -> int:
    """The terminal that is our stdin is our own, and we are its foreground group."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.tcsetpgrp(0, os.getpgrp())
    return cli.main(argv, os.environ)


def deaf_terminal(argv: list[str]) -> int:
    """Nobody reads our stdout and stderr any more, as in ``pytask-supervisor 2>&1 | head -1``."""
    read_end, write_end = os.pipe()
    os.dup2(write_end, 1)
    os.dup2(write_end, 2)
    os.close(write_end)
    os.close(read_end)
    return cli.main(argv, os.environ)


def into_fifo(argv: list[str]) -> int:
    """Our stdout and stderr are the named pipe ``FIFO``, whose reader comes and goes."""
    fifo = os.open(os.environ.pop("FIFO"), os.O_WRONLY)
    os.dup2(fifo, 1)
    os.dup2(fifo, 2)
    os.close(fifo)
    return cli.main(argv, os.environ)


def subreaper(argv: list[str]) -> int:
    """Orphans among our descendants become our workers, as those of process 1 do."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    return cli.main(argv, os.environ)


def confined(argv: list[str]) -> int:
    """In the cgroup whose folder ``CONFINED_TO`` names, as in a container."""
    Path(os.environ["CONFINED_TO"], "cgroup.procs").write_text(str(os.getpid()))
    return cli.main(argv, os.environ)


STAGES: dict[str, Callable[[list[str]], int]] = {
    "hasty": hasty,
    "faulty": faulty,
    "struck_at_birth": struck_at_birth,
    "own_terminal": own_terminal,
    "deaf_terminal": deaf_terminal,
    "into_fifo": into_fifo,
    "subreaper": subreaper,
    "confined": confined,
}

if __name__ == "__main__":
    sys.exit(STAGES[sys.argv[1]](sys.argv[2:]))
