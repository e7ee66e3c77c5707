"""The control socket's path: safe from the first moment, taken over from the dead, never from the living."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pytask_supervisor.admin import control_socket
from pytask_supervisor.admin.control_socket import open_control
from pytask_supervisor.shared.socket_path import SocketPathError, name_for, sockets

PID = 4711


@pytest.fixture(autouse=True)
def run_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The session's folder, empty."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """A socket that somebody has open."""
    path = tmp_path / "live.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen(1)
        yield path


def opened(word: str) -> Path:
    found = open_control(word, PID)
    assert found is not None
    path, listener = found
    with closing(listener), closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(str(path))
    return path


def leftover(path: Path) -> Path:
    """What a supervisor leaves that was killed."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
        dead.listen(1)
    return path


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_nobody_else_can_open_it_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = opened(str(tmp_path / "control.sock"))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_auto_makes_a_socket_named_by_the_process_in_a_folder_of_ours(run_time: Path) -> None:
    assert opened("auto") == run_time / "pytask" / f"supervisor-{PID}.sock"
    assert stat.S_IMODE((run_time / "pytask").stat().st_mode) == 0o700


def test_none_makes_none() -> None:
    assert open_control("none", PID) is None


def test_what_a_dead_supervisor_left_is_replaced(tmp_path: Path) -> None:
    path = leftover(tmp_path / "control.sock")
    assert opened(str(path)) == path


def test_auto_clears_away_what_dead_supervisors_left_and_leaves_the_living(run_time: Path) -> None:
    dead = leftover(run_time / "pytask" / name_for(1))
    with closing(socket.socket(socket.AF_UNIX)) as alive:
        alive.bind(str(run_time / "pytask" / name_for(2)))
        alive.listen(1)
        opened("auto")
        assert [path.name for path in sockets()] == [name_for(2), name_for(PID)]
    assert not dead.exists()


def test_one_that_answers_is_never_taken(live: Path) -> None:
    inode = live.stat().st_ino
    with pytest.raises(SocketPathError, match=f"another program answers at {live}: stop it, or name another path"):
        open_control(str(live), PID)
    assert live.stat().st_ino == inode


def test_one_whose_queue_is_full_is_not_taken_either(live: Path) -> None:
    crowd = []
    try:
        while True:
            client = socket.socket(socket.AF_UNIX)
            crowd.append(client)
            client.setblocking(False)
            try:
                client.connect(str(live))
            except BlockingIOError:
                break
        with pytest.raises(SocketPathError, match="another program answers"):
            open_control(str(live), PID)
    finally:
        for client in crowd:
            client.close()


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    precious = tmp_path / "control.sock"
    precious.write_text("precious")
    with pytest.raises(SocketPathError, match="exists, and is not a socket"):
        open_control(str(precious), PID)
    assert precious.read_text() == "precious"


def test_a_path_too_long_or_in_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SocketPathError, match="a unix socket's path at most"):
        open_control("/tmp/" + "x" * 200, PID)
    with pytest.raises(SocketPathError, match=f"cannot be opened: No such file or directory: {tmp_path}/no"):
        open_control(str(tmp_path / "no" / "control.sock"), PID)


@pytest.mark.parametrize("what", ["open to others", "a link", "a file"])
def test_without_a_folder_of_our_own_auto_does_without(
    run_time: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    folder = run_time / "pytask"
    if what == "open to others":
        folder.mkdir()
        folder.chmod(0o777)
    elif what == "a link":
        folder.symlink_to(tmp_path)
    else:
        folder.write_text("")
    assert open_control("auto", PID) is None
    assert "there is no control socket, so pytaskctl cannot reach this supervisor: " in caplog.text


def test_a_leftover_is_not_touched_while_another_supervisor_has_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "TURN_TIMEOUT", 0.1)
    path = leftover(tmp_path / "control.sock")
    inode = path.stat().st_ino
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(SocketPathError, match=f"some program holds the lock of {tmp_path}"):
        open_control(str(path), PID)
    assert path.stat().st_ino == inode
    os.close(fd)
    assert opened(str(path)) == path


def test_of_many_that_start_at_once_on_a_leftover_one_gets_it(tmp_path: Path) -> None:
    path = leftover(tmp_path / "control.sock")
    opened: list[socket.socket] = []
    refused: list[str] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        try:
            found = open_control(str(path), PID)
        except SocketPathError as error:
            refused.append(str(error))
        else:
            assert found is not None
            opened.append(found[1])

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for listener in opened:
        listener.close()
    assert (len(opened), len(refused)) == (1, 7), refused
