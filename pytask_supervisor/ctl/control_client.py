"""Reaches a supervisor on this machine: finds its control socket, asks, and returns the answer.

Called by ``workers``, ``replacing`` and ``top``. ``pytask_supervisor/admin/control_socket.py`` says what can be asked.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

from pytask_supervisor.shared.messages import ANSWERS, REFUSAL, SAID
from pytask_supervisor.shared.shapes import MisshapenError
from pytask_supervisor.shared.socket_path import SocketPathError, checked, sockets

#: Seconds to wait for an answer. A supervisor gives it in milliseconds, unless it is stopped.
TIMEOUT = 5.0
#: Bytes of an answer. A thousand workers need half a million.
LONGEST_ANSWER = 8_000_000
#: Seconds between tries to get in.
PAUSE = 0.02


class MasterError(Exception):
    """No supervisor answers, or it refuses; the text is a sentence."""


class NoMasterError(MasterError):
    """There is no supervisor."""


def find(named: str | None) -> Path:
    """The control socket of that name, or of the only supervisor that runs here. Raises ``MasterError``."""
    try:
        if named is not None:
            return checked(Path(named))
        alive = [path for path in sockets() if _answers(path)]
    except SocketPathError as error:
        raise MasterError(str(error)) from error
    if not alive:
        raise MasterError("none of your supervisors runs here; if its socket is elsewhere, give --control-socket PATH")
    if len(alive) > 1:
        labels = ", ".join(f"{path} ({_label(path)})" for path in alive)
        raise MasterError(f"{len(alive)} supervisors run here; name one with --control-socket: {labels}")
    return alive[0]


def ask(path: Path, **request: Any) -> Any:
    """The data or the sentence with which the supervisor answers. Raises ``MasterError``."""
    reply = order(path, **request)
    return reply["told"] if request["do"] in ANSWERS else reply["said"]


def order(path: Path, **request: Any) -> dict[str, Any]:
    """The whole answer, unless it is a refusal. Raises ``MasterError``."""
    try:
        reply = json.loads(_talk(path, json.dumps(request).encode() + b"\n"))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoMasterError(f"no supervisor answers at {path}") from error
    except PermissionError as error:
        raise MasterError(f"{path} belongs to another user") from error
    except TimeoutError as error:
        raise MasterError(
            f"the supervisor at {path} does not answer within {TIMEOUT:g} s: it may be stopped"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise MasterError(f"the supervisor at {path} gave an answer that makes no sense: {error}") from error
    is_refusal = isinstance(reply, dict) and "refused" in reply
    try:
        answer = REFUSAL if is_refusal else ANSWERS.get(request["do"], SAID)
        answer.check(reply, "it")
    except MisshapenError as error:
        raise MasterError(f"the supervisor at {path} gave an answer that makes no sense: {error}") from error
    if is_refusal:
        raise MasterError(reply["refused"])
    return dict(reply)


def connect(path: Path) -> socket.socket:
    """A connection, as soon as there is room for it. Raises ``OSError``, and ``TimeoutError`` in time.

    Only to a supervisor of our user or of root: in a folder such as ``/tmp`` another user could answer in its place.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    try:
        while True:
            try:
                connection.connect(str(path))
                _check_listener(connection)
                return connection
            except BlockingIOError as error:  # The queue is full, and the kernel does not let us wait in it.
                if time.monotonic() > deadline:
                    raise TimeoutError from error
                time.sleep(PAUSE)
    except OSError:
        connection.close()
        raise


def _check_listener(connection: socket.socket) -> None:
    peer_credentials = getattr(socket, "SO_PEERCRED", None)
    if os.geteuid() == 0 or peer_credentials is None:
        return
    found = connection.getsockopt(socket.SOL_SOCKET, peer_credentials, struct.calcsize("3i"))
    if struct.unpack("3i", found)[1] not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, "another user answers there")


def _talk(path: Path, line: bytes) -> bytes:
    deadline = time.monotonic() + TIMEOUT
    with connect(path) as connection:
        connection.sendall(line)
        received = bytearray()
        while not received.endswith(b"\n") and (chunk := connection.recv(65_536)):
            received += chunk
            if len(received) > LONGEST_ANSWER:
                raise ValueError(f"it has more than {LONGEST_ANSWER} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError
    return bytes(received)


def _answers(path: Path) -> bool:
    """Whether a process has it open; the socket of a dead supervisor refuses."""
    try:
        connect(path).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def _label(path: Path) -> str:
    try:
        return str(ask(path, do="show")["supervisor"]["label"])
    except MasterError:
        return "gives no answer"
