"""``run_fork_server``: a process that loads the app once, and forks workers that share its memory.

Comes from ``ForkServer.start``. gevent patches first, before the app is imported, and its hub never runs here: a fork
copies greenlets, which would then run twice. What native threads need in the workers is imported before that.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

# By name, as they are before gevent exchanges them; its close() leaves the work to the hub.
from os import close, fork, waitpid
from select import poll
from socket import socket as native_socket

from setproctitle import setproctitle

from pytask_supervisor.child.assignment import Assignment, be_the_child
from pytask_supervisor.child.copies import Copies
from pytask_supervisor.child.main import run_child
from pytask_supervisor.child.monitor_thread import die_with
from pytask_supervisor.forkserver.client import LONGEST, ForkServerJob
from pytask_supervisor.shared.channel import OF_LOOP, OF_THREAD, Channel
from pytask_supervisor.shared.exits import Exit, LoadError
from pytask_supervisor.shared.logs import counted, forgive_prints, set_up
from pytask_supervisor.shared.messages import FROM_FORK_SERVER, Message
from pytask_supervisor.shared.signals import HANDLED

#: The lines of an assignment, by its fields.
LINES = {"channel": OF_LOOP, "wire": OF_THREAD}
#: More descriptors than any assignment has.
MOST_FDS = 16


def run_fork_server(job: ForkServerJob) -> int:
    """Load the app, say so, and fork, with signals blocked, until the master hangs up."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for signum in HANDLED:
        signal.signal(signum, signal.SIG_DFL)
    handler = set_up("fork server", job.config.log_level, job.config.log_format)
    forgive_prints()
    setproctitle(f"pytask-supervisor: fork server [{job.config.label}]")
    for thing in job.foreign:
        thing.close()
    die_with(job.master_pid, signal.SIGKILL)
    copies = Copies([handler.turns])
    # Not for us: programs that the app starts while it is imported would inherit the mask.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    from pytask_supervisor.child.bootstrap import bring_up  # noqa: PLC0415 - never in the master

    try:
        app, warnings = bring_up(job.config, job.redis_url)
    except LoadError as error:
        _say(job.line, {"failed": str(error), "detail": error.detail, "code": error.code})
        return error.code
    warnings += misfits()
    # What is garbage now would be copied into every worker; what is none is not to be written to by collections.
    gc.collect()
    gc.freeze()
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    _say(job.line, {"loaded": True, "warnings": warnings})
    while True:
        message, fds, _, _ = socket.recv_fds(job.line, LONGEST, MOST_FDS)
        if not message:
            return Exit.OK
        assignment, names = pickle.loads(message)  # noqa: S301 - from our own master, by a socket that only it has
        ends = {
            name: Channel.of_child(native_socket(fileno=fd), LINES[name]) for name, fd in zip(names, fds, strict=True)
        }
        full = replace(assignment, **ends, app=app, copies=copies, foreign=(job.line,))
        with copies.our_own():
            _say(job.line, _fork(full))
        for end in ends.values():
            end.close()


def _say(line: socket.socket, message: Message) -> None:
    line.send(json.dumps(FROM_FORK_SERVER.fit(message)).encode())


def misfits() -> list[str]:
    """Sentences on what the app did while it was imported, and a fork does not bear."""
    from gevent import Greenlet  # noqa: PLC0415 - after patching
    from gevent.hub import Hub  # noqa: PLC0415 - after patching

    said = "--preload: while the app was imported it"
    found = []
    try:
        threads = len(os.listdir("/proc/self/task")) - 1
        connections = sum(_sockets()) - 1
    except OSError as error:
        threads = connections = 0
        found.append(f"--preload: whether the app started threads or opened connections is not known: {error}")
    if threads:
        found.append(f"{said} started {counted(threads, 'thread')}, which no worker has; start them in a task")
    things = gc.get_objects()
    greenlets = sum(issubclass(type(thing), Greenlet) and not thing.ready() for thing in things)
    if greenlets:
        found.append(f"{said} spawned {counted(greenlets, 'greenlet')}, which each worker has; spawn them in a task")
    elif any(issubclass(type(thing), Hub) and thing for thing in things):  # True once it has run
        found.append(f"{said} waited for something (a connection, a sleep, a lock); do that in a task")
    if connections > 0:
        found.append(
            f"{said} opened {counted(connections, 'connection')}, which all workers would share; open them in a task"
        )
    return found


def _sockets() -> Iterator[bool]:
    for fd in os.listdir("/proc/self/fd"):
        try:
            yield int(fd) > 2 and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")  # noqa: PLR2004 - stderr
        except OSError:
            continue  # It was that of the listing itself.


def _fork(job: Assignment) -> dict[str, int]:
    """Fork twice, so that the worker's parent is gone and the master is given it."""
    read_end, write_end = os.pipe()
    try:
        between = fork()
    except OSError as error:
        close(read_end)
        close(write_end)
        return {"errno": error.errno or 0}
    if between == 0:
        close(read_end)
        _fork_again(job, write_end)
    close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        said: dict[str, int] = json.loads(answer.read() or b"{}")
    # Once it is gone, its child is the master's.
    waitpid(between, 0)
    return said


def _fork_again(job: Assignment, write_end: int) -> None:
    between = os.getpid()
    try:
        pid = fork()
    except OSError as error:
        os.write(write_end, json.dumps({"errno": error.errno}).encode())
        os._exit(1)
    if pid:
        os.write(write_end, json.dumps({"pid": pid}).encode())
        os._exit(0)
    close(write_end)
    while os.getppid() == between:
        poll().poll(1)
    from gevent import reinit  # noqa: PLC0415 - after patching

    reinit()  # For an app that waited for something while it was imported.
    be_the_child(lambda: run_child(job))
