"""``ControlSocket``: takes requests of ``pytaskctl`` on a unix socket that only its owner can open.

One JSON line comes in, such as ``{"do": "scale", "workers": 4}``, one goes out: ``{"said": sentence}``, of a reload or
restart with its ``change``; ``{"told": data}``; or ``{"refused": sentence}``. ``RequestServer`` does the talking,
``Commands`` the doing. An order whose client has hung up meanwhile is not carried out.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytask_supervisor import __version__
from pytask_supervisor.admin.server import RequestServer
from pytask_supervisor.master.commands import Commands, OrderError
from pytask_supervisor.master.stats import MasterStats
from pytask_supervisor.shared.socket_path import SocketPathError, checked, name_for, own_folder, sockets

log = logging.getLogger("pytask.supervisor")

#: Bytes that a request may have; orders are short.
LONGEST = 4096
#: Seconds to wait for another supervisor that opens a socket in the same folder.
TURN_TIMEOUT = 2.0
#: Connections that may wait to be let in.
BACKLOG = 64


def open_control(word: str, pid: int) -> tuple[Path, socket.socket] | None:
    """Open the socket that ``--control-socket`` names: a path, ``auto`` or ``none``.

    Raises ``SocketPathError`` where it cannot be; with ``auto`` that is one warning and None.
    """
    if word == "none":
        return None
    try:
        path = checked(own_folder() / name_for(pid) if word == "auto" else Path(word))
        return path, _listen(path, sockets() if word == "auto" else [])
    except (SocketPathError, OSError) as error:
        why = str(error) if isinstance(error, SocketPathError) else f"{error.strerror}: {error.filename or word}"
        if word != "auto":
            raise SocketPathError(f"the control socket cannot be opened: {why}") from error
        log.warning("there is no control socket, so pytaskctl cannot reach this supervisor: %s", why)
        return None


def _listen(path: Path, leftover: list[Path]) -> socket.socket:
    with _turn(_where_to_wait(path.parent)):
        for old in leftover:
            _is_taken(old)
        if _is_taken(path):
            raise SocketPathError(f"another program answers at {path}: stop it, or name another path")
        listener = socket.socket(socket.AF_UNIX)
        # No other user may ever open it, not even between two calls.
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
    return listener


def _where_to_wait(folder: Path) -> Path:
    """A folder whose lock no other user can hold, as they can that of a folder such as ``/tmp``."""
    try:
        found = os.stat(folder)
        is_closed = found.st_uid == os.geteuid() and not found.st_mode & 0o077
        return folder if is_closed else own_folder()
    except (SocketPathError, OSError):
        return folder


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One supervisor at a time: two that find the same stale socket would remove each other's new one."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + TURN_TIMEOUT
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise SocketPathError(f"some program holds the lock of {folder}") from error
                time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _is_taken(path: Path) -> bool:
    """Whether a program answers there; what a dead supervisor has left is removed."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketPathError(f"{path} exists, and is not a socket: remove it, or name another path")
    if os.geteuid() not in (0, found.st_uid):
        raise SocketPathError(f"{path} belongs to another user: name a path in a folder of your own")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            os.unlink(path)
            return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True  # So many wait there already.
    return True


class ControlSocket:
    """``path`` and ``listener`` are what ``open_control`` gave."""

    def __init__(self, path: Path, listener: socket.socket, commands: Commands, stats: MasterStats, label: str) -> None:
        self.path = path
        self._inode = os.lstat(path).st_ino
        self._commands = commands
        self._stats = stats
        self._label = label
        self._begun = time.monotonic()
        too_long = _line({"refused": f"a request has {LONGEST} bytes at most"})
        self.server = RequestServer(listener, self._answer, too_long, longest=LONGEST)
        self._verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "show": lambda _request: {"told": self._show()},
            "deaths": lambda _request: {"told": [{**asdict(death), "text": str(death)} for death in commands.deaths]},
            "scale": lambda request: {
                "said": commands.scale(_number(request, "workers"), by="pytaskctl workers scale")
            },
            "quiet": lambda _request: {"said": commands.quiet(True)},
            "resume": lambda _request: {"said": commands.quiet(False)},
            "reload": lambda _request: self._with_change(commands.reload(by="pytaskctl workers reload")),
            "restart": lambda request: self._with_change(
                commands.restart(_slot(request), by="pytaskctl workers restart")
            ),
            "stop": lambda request: {"said": commands.stop_slot(_number(request, "slot"), by="pytaskctl workers stop")},
        }

    def remove(self) -> None:
        """Take our name out of the file system, unless another program has it by now; and let go."""
        with suppress(OSError):
            if os.lstat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        self.server.close()

    def _answer(self, received: bytes) -> bytes | None:
        line, newline, _ = received.partition(b"\n")
        return _line(self._obey(line)) if newline else None

    def _obey(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            verb = self._verbs[request["do"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"refused": f'no request; known are, as JSON: {", ".join(self._verbs)}, as in {{"do": "show"}}'}
        try:
            reply = verb(request)
        except OrderError as refusal:
            reply = {"refused": str(refusal)}
        if "told" not in reply:
            log.info("pytaskctl workers %s: %s", request["do"], next(iter(reply.values())))
        return reply

    def _with_change(self, said: str) -> dict[str, Any]:
        """The answer to an order that has just begun a change, by whose id ``show`` tells what becomes of it."""
        return {"said": said, "change": self._commands.changes[-1]}

    def _show(self) -> dict[str, Any]:
        commands = self._commands
        return {
            "supervisor": {
                "pid": os.getpid(),
                "version": __version__,
                "label": self._label,
                "uptime": round(time.monotonic() - self._begun, 1),
                "quiet": commands.is_quiet,
                "stopping": commands.is_stopping,
            },
            "workers": [asdict(slot) for slot in commands.slot_reports],
            "ended": self._stats.ended(),
            "deaths": commands.death_counts,
            "changes": commands.changes,
        }


def _number(request: dict[str, Any], name: str) -> int:
    value = request.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise OrderError(f"{name} must be a whole number, not {value!r}")
    return value


def _slot(request: dict[str, Any]) -> int | None:
    return None if request.get("slot") is None else _number(request, "slot")


def _line(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply).encode() + b"\n"
