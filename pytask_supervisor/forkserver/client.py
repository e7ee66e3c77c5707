"""``ForkServer``: the process that has the app loaded and forks the workers, as the master sees it.

The process itself is ``process.py``. The master stays as it is: without gevent, Redis or a line of the app's code,
so a reload is another such process. What that forks is ours all the same: it forks twice, and orphans below us come to
us (Linux calls that a child subreaper).
"""

from __future__ import annotations

import errno
import logging
import os
import pickle
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from pytask_supervisor.child.assignment import Assignment, Closable, be_the_child
from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.host.limits import explain_shortage
from pytask_supervisor.shared.channel import Channel
from pytask_supervisor.shared.exits import Exit, StartError, explain
from pytask_supervisor.shared.messages import FROM_FORK_SERVER, Message
from pytask_supervisor.shared.respawn import RespawnPolicy
from pytask_supervisor.shared.shapes import MisshapenError
from pytask_supervisor.shared.signals import SignalInbox

log = logging.getLogger("pytask.supervisor")

PR_SET_CHILD_SUBREAPER = 36
#: Seconds that the master waits for a fork in a process that does nothing else: it takes milliseconds.
PATIENCE = 5.0
#: What the log says where code of the app has written to the line.
BREACH = "the process that has the app loaded said what it never says, so code of the app wrote to its line"
#: Bytes of a message; a traceback is the longest.
LONGEST = 131_072


@dataclass
class _Process:
    pid: int
    line: socket.socket
    born_at: float
    is_loaded: bool = False

    def end(self) -> None:
        """It holds nothing that it could lose."""
        self.line.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Outcome:
    """The app is loaded, or ``failure`` says why it is not."""

    failure: str | None = None
    detail: str = ""
    warnings: tuple[str, ...] = ()
    code: Exit = Exit.LOAD  #: as what the supervisor ends of that failure


@dataclass(frozen=True)
class ForkServerJob:
    """What the process is given to begin with."""

    config: SupervisorConfig
    redis_url: str | None
    line: socket.socket
    master_pid: int
    foreign: tuple[Closable, ...]


class ForkServer:
    """``run`` is what the process does. Raises ``StartError`` where the kernel cannot do what is needed."""

    def __init__(
        self,
        run: Callable[[ForkServerJob], int],
        inbox: SignalInbox,
        *,
        policy: RespawnPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _adopt_orphans()
        self._run = run
        self._inbox = inbox
        self._policy = policy or RespawnPolicy()
        self._clock = clock
        self._current: _Process | None = None
        #: The one that is loading; it takes over once it has.
        self._next: _Process | None = None
        self._ended: set[int] = set()
        self._is_closed = False
        #: Why no process could be forked, as it was said.
        self._shortage = ""
        #: When to ``start`` again.
        self.due: float | None = None

    @property
    def is_loading(self) -> bool:
        """Whether a process is loading the app now."""
        return self._next is not None

    @property
    def loading_since(self) -> float | None:
        """When it began to, if one is."""
        return None if self._next is None else self._next.born_at

    @property
    def is_gone(self) -> bool:
        """Whether no process is left."""
        return self._current is None and self._next is None and not self._ended

    @property
    def readable(self) -> list[int]:
        """What to wait on."""
        return [] if self._next is None else [self._next.line.fileno()]

    def start(self, config: SupervisorConfig, redis_url: str | None, foreign: Iterable[Closable]) -> None:
        """Load the app in another process, and go on with the one that is there until it is."""
        self.due = None
        self._drop_next()
        ends: tuple[socket.socket, ...] = ()
        try:
            ends = ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with self._inbox.blocked():
                master = os.getpid()
                pid = os.fork()
                if pid == 0:
                    drop: list[Closable] = [ours, self._inbox, *foreign]
                    drop += [self._current.line] if self._current else []
                    job = ForkServerJob(config, redis_url, theirs, master, tuple(drop))
                    be_the_child(lambda: self._run(job))
        except OSError as error:
            for end in ends:
                end.close()
            self.due = self._clock() + self._policy.pause_without_fork()
            why = explain_shortage(error)
            level = logging.DEBUG if why == self._shortage else logging.ERROR
            self._shortage = why
            log.log(level, "the app cannot be loaded: %s; trying again every few seconds", why)
            return
        self._shortage = ""
        theirs.close()
        ours.setblocking(False)
        self._next = _Process(pid, ours, self._clock())

    def read(self) -> Outcome | None:
        """What the process that is loading has to say, once it has."""
        process = self._next
        if process is None:
            return None
        try:
            message = process.line.recv(LONGEST)
        except (BlockingIOError, ConnectionError):
            return None
        if not message:
            return None  # It is dead, and reaping will tell.
        try:
            said = FROM_FORK_SERVER.read(message)
            if "failed" in said:
                self._give_up_next()
                return Outcome(said["failed"], said["detail"], code=Exit(said["code"]))
            if "loaded" not in said:
                raise MisshapenError(f"it speaks of something else than the app: {message[:80]!r}")
        except ValueError as error:  # An exit code that there is not is another.
            self._give_up_next()
            return Outcome(f"{BREACH}: {error}")
        self._next = None
        if self._current is not None:
            self._end(self._current)
        process.is_loaded = True
        process.line.settimeout(PATIENCE)
        self._current = process
        return Outcome(warnings=tuple(said["warnings"]))

    def give_up_loading(self, why: str) -> Outcome:
        """End the process that is loading."""
        self._give_up_next()
        return Outcome(why)

    def reaped(self, pid: int, status: int) -> Outcome | None:
        """A dead process, if it was ours: where it was loading, that is a failure, else another one is due."""
        self._ended.discard(pid)
        if self._next is not None and self._next.pid == pid:
            outcome = self.read()
            if outcome is None:
                self._give_up_next()
                outcome = Outcome(f"the process that loaded the app {explain(status)}")
            self._ended.discard(pid)
            return outcome
        if self._current is not None and self._current.pid == pid:
            ready_for, self._current = self._clock() - self._current.born_at, None
            self.due = None if self._is_closed else self._clock() + self._policy.pause_after(ready_for)
            if not self._is_closed:
                log.warning("the process that has the app loaded %s; another one loads it", explain(status))
        return None

    def fork(self, job: Assignment) -> int:
        """A new worker's process id. Raises ``OSError``."""
        process = self._current
        if process is None:
            raise OSError(errno.ESRCH, "no process has the app loaded; another one is loading it")
        ends = {name: value.fileno() for name, value in vars(job).items() if isinstance(value, Channel)}
        plain = replace(job, foreign=(), **dict.fromkeys(ends))  # type: ignore[arg-type] # put in again over there
        try:
            _refuse_unasked(process.line)
            socket.send_fds(process.line, [pickle.dumps((plain, list(ends)))], list(ends.values()))
            answer = _answer(process.line.recv(LONGEST), {process.pid, *self._ended})
        except (OSError, MisshapenError) as error:
            self._end(process)
            self._current = None
            self.due = self._clock()
            if isinstance(error, OSError):
                raise
            log.error("%s: %s. It is ended, and another one loads the app", BREACH, error)
            raise OSError(errno.ESRCH, "the process that has the app loaded was ended; another one loads it") from None
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return int(answer["pid"])

    def close(self) -> None:
        """Nothing is forked any more."""
        self._is_closed = True
        self.due = None
        self._drop_next()
        if self._current is not None:
            self._end(self._current)
            self._current = None

    def _give_up_next(self) -> None:
        """Where there is another one, all is well; where there is none, the code may be mended meanwhile."""
        self._drop_next()
        if self._current is None:
            self.due = self._clock() + self._policy.pause_after(0.0)

    def _drop_next(self) -> None:
        if self._next is not None:
            self._end(self._next)
            self._next = None

    def _end(self, process: _Process) -> None:
        process.end()
        self._ended.add(process.pid)


def _refuse_unasked(line: socket.socket) -> None:
    """Raise ``MisshapenError`` where something has come that would be taken for the next answer."""
    look = select.poll()
    look.register(line, select.POLLIN)
    if look.poll(0) and (message := line.recv(LONGEST)):
        raise MisshapenError(f"it was not asked: {message[:80]!r}")


def _answer(message: bytes, others: set[int]) -> Message:
    """What became of the fork.

    A worker must be a child of ours, since it is killed by its process id one day, and none of the ``others``; nor is
    it the embedded server's guardian, which has a session of its own.
    """
    if not message:
        raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
    answer = FROM_FORK_SERVER.read(message)
    if "errno" in answer:
        return answer
    try:
        pid = answer["pid"]
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        is_worker = pid not in others and os.getsid(pid) == os.getsid(0)
    except (KeyError, ChildProcessError, ProcessLookupError):
        is_worker = False
    if not is_worker:
        raise MisshapenError(f"it speaks of a process that is not a new worker: {message[:80]!r}")
    return answer


def _adopt_orphans() -> None:
    if sys.platform != "linux":
        raise StartError("--preload needs Linux, whose kernel can make orphans our children")
    import ctypes  # noqa: PLC0415 - with --preload only, so that the master stays small

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise StartError(f"--preload cannot be had: {os.strerror(ctypes.get_errno())}")
