"""``run_child``: what happens after the fork, in order. Comes from ``Spawner``; goes to the core.

The only room, with those it imports inside its functions, that knows ``pytask_core`` and gevent:
the master imports this module too, and must import neither.
"""

from __future__ import annotations

import errno
import faulthandler
import logging
import os
import random
import signal
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from pytask_supervisor.child.assignment import Assignment
from pytask_supervisor.child.copies import Copies
from pytask_supervisor.host.limits import explain_shortage
from pytask_supervisor.shared.exits import Exit, LoadError
from pytask_supervisor.shared.logs import STDERR, forgive_prints, name_worker, set_up
from pytask_supervisor.shared.signals import HANDLED

if TYPE_CHECKING:
    from pytask_core import PyTask
    from pytask_supervisor.child.monitor_thread import MonitorThread

log = logging.getLogger("pytask.supervisor")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds a child waits for a master that does not read before it leaves without a goodbye.
GOODBYE = 1.0
#: Seconds beyond the graceful timeout after which a child without a master ends itself: more than
#: the living master would grant, and less than the two seconds we promise.
BEYOND_GRACE = 1.5


def run_child(job: Assignment) -> int:
    """Live a worker's life; the result is the process's exit code.

    1. A process group of its own: a terminal's Ctrl-C reaches the master only, which tells us once.
    2. Signals: INT and TERM leave at once until the app is loaded; the rest is not the master's now.
    3. Let go of what is the master's: its pipe, its ends of the other children's channels.
    4. Die with the master. Note what a process that the app forks must not keep. Then hear signals again, blocked
       since before the fork.
    5. A random seed of its own.
    6. Patch gevent, before the app imports anything.
    7. Load the app, Redis' URL in the environment. (With --preload the fork server has done both.)
    8. INT and TERM stop the worker from now on, gracefully; beats begin.
    9. Run until stopped.
    """
    who = f"worker {job.slot}"
    os.setpgid(0, 0)
    _reset_signals()
    handler = set_up(who, job.config.log_level, job.config.log_format, job.slot)
    forgive_prints()
    setproctitle(f"pytask-supervisor: {who} (starting)")
    _let_go(job)
    monitor_thread = _tie_to_master(job, handler)
    if monitor_thread is None:
        return Exit.BUG
    copies = job.copies or Copies([handler.turns])
    copies.begin(job.channel.fileno(), job.wire.fileno())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    random.seed()
    app = job.app if job.app is not None else _load(job, monitor_thread)
    if isinstance(app, Exit):
        return app
    code = _work(job, app, monitor_thread)
    from pytask_supervisor.child.parting import part  # noqa: PLC0415 - after patching

    part(monitor_thread.time_left)
    return code


def _reset_signals() -> None:
    """Give each signal its meaning in a child."""
    signal.set_wakeup_fd(-1)
    _handle_stop(_leave)
    for signum in (signal.SIGCHLD, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_DFL)
    # A crash in native code, and USR1 at any time, write the Python stack; the master sends USR1 to
    # a child that it is about to kill for its silence.
    faulthandler.enable(STDERR, all_threads=False)
    faulthandler.register(signal.SIGUSR1, STDERR, all_threads=False)
    # Meant for the master. Not SIG_IGN, which the programs that tasks start would inherit.
    for signum in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(signum, lambda _signum, _frame: None)
    # We are in the background of our terminal now, and still want to write to it.
    for signum in (signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(signum, signal.SIG_IGN)


def _leave(_signum: int, _frame: FrameType | None) -> None:
    """Nothing is claimed while the app is being loaded, so just go.

    Not by an exception: it would be raised in the midst of code that may swallow it, or wrap it.
    """
    os._exit(Exit.OK)


def _handle_stop(handler: Callable[[int, FrameType | None], object]) -> None:
    for signum in STOP_SIGNALS:
        signal.signal(signum, handler)


def _let_go(job: Assignment) -> None:
    for thing in job.foreign:
        thing.close()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _tie_to_master(job: Assignment, handler: logging.Handler) -> MonitorThread | None:
    """Step 4; None if there is no room for a thread, which counts as a process, and the master knows."""
    from pytask_supervisor.child.monitor_thread import MonitorThread, die_with  # noqa: PLC0415 - children only

    monitor_thread = MonitorThread(
        job.wire, job.config.graceful_timeout + BEYOND_GRACE, job.config.hang_timeout, handler
    )
    try:
        monitor_thread.start()
    except RuntimeError as error:
        why = explain_shortage(OSError(errno.EAGAIN, str(error)))
        job.channel.send_last({"failed": why}, GOODBYE)
        return None
    die_with(job.master_pid)
    return monitor_thread


def _load(job: Assignment, monitor_thread: MonitorThread) -> PyTask | Exit:
    """Steps 6 and 7; an exit code if the app cannot be loaded, and the master knows why."""
    from pytask_supervisor.child.bootstrap import bring_up, current_greenlet  # noqa: PLC0415 - children only

    monitor_thread.loads(current_greenlet())
    try:
        app, warnings = bring_up(job.config, job.redis_url)
    except LoadError as error:
        message = {"failed": str(error), "detail": error.detail}
        job.channel.send_last(message, GOODBYE)
        return error.code
    for warning in warnings:
        job.channel.send({"warning": warning})
    return app


def _work(job: Assignment, app: PyTask, monitor_thread: MonitorThread) -> Exit:
    """Steps 8 and 9."""
    # What comes from now on until the link to the master listens is noted.
    stop_asked: list[int] = []
    _handle_stop(lambda signum, _frame: stop_asked.append(signum))

    from pytask_core.current import TaskIdFilter  # noqa: PLC0415 - after patching
    from pytask_core.errors import PyTaskException, RedisRefused  # noqa: PLC0415 - after patching
    from pytask_supervisor.child.loader import missing_keepers  # noqa: PLC0415 - after patching
    from pytask_supervisor.child.master_link import MasterLink  # noqa: PLC0415 - after patching
    from pytask_supervisor.child.process_stats import ProcessStats  # noqa: PLC0415 - after patching

    def ready() -> None:
        master_link.ready()
        for warning in missing_keepers(app):
            job.channel.send({"warning": warning})

    worker = None
    try:
        worker = app.create_worker(job.config.graceful_timeout, job.mark, job.config.max_tasks)
        worker.quiet(job.is_quiet)
        name_worker(worker.id, TaskIdFilter())
        master_link = MasterLink(
            worker, job.channel, job.slot, monitor_thread, ProcessStats(worker, job.config.max_memory)
        )
        master_link.begin()
        if not stop_asked:
            worker.run(on_ready=ready)
    except PyTaskException as error:
        # Raised before anything is claimed, or after it was put back.
        if worker is None or worker.holds_nothing:
            job.channel.send({"left": True})
        job.channel.send_last({"failed": str(error)}, GOODBYE)
        return Exit.REFUSED if isinstance(error, RedisRefused) else Exit.LOAD
    except Exception as error:
        log.exception("unexpected error: the worker ends")
        failure = traceback.format_exception_only(error)[-1].strip()
        job.channel.send_last({"failed": failure}, GOODBYE)
        return Exit.BUG
    master_link.farewell()
    # Else a sibling is to hand back what Redis has not taken.
    job.channel.send_last({"left": worker.holds_nothing}, GOODBYE)
    return Exit.OK
