"""Two users of one machine, alice and mallory: what is alice's, or root's, mallory neither reads nor changes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytask_core import PyTaskHelpers
from tests.ctl.conftest import Done, run_ctl
from tests.process.conftest import Start
from tests.support.processes.guardian import PROGRAM, PROGRAMS
from tests.support.processes.people import ROOT, Person
from tests.support.waiting import wait_until

SECRET = "4111-1111-SECRET"


@pytest.fixture
def alice() -> Iterator[Person]:
    with Person("alice") as person:
        yield person


@pytest.fixture
def mallory() -> Iterator[Person]:
    with Person("mallory") as person:
        yield person


@pytest.fixture
def folders() -> Iterator[list[Path]]:
    """What is removed at the end."""
    made: list[Path] = []
    yield made
    for each in made:
        shutil.rmtree(each, ignore_errors=True)


def supervise(folder: Path, *words: str, **more: object) -> subprocess.CompletedProcess[str]:
    """A supervisor that root starts, which is to end at once."""
    command = [sys.executable, "-m", "pytask_supervisor", "--app", "jobs:app", *words]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=30, check=False)


class OfAPerson:
    """A guardian of ``directory`` that runs as a person, of one server or of a cluster."""

    def __init__(self, person: Person | None, directory: Path, program: Path = PROGRAM) -> None:
        """Without a person: as root."""
        reading_end, self._writing_end = os.pipe()
        words = [str(program), "--dir", str(directory), "--hold-fd", str(reading_end)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "pass_fds": (reading_end,)}
        if person is None:
            self.process = subprocess.Popen([sys.executable, "-P", *words], text=True, **pipes)
        else:
            self.process = person.start(person.python(*words), **pipes)
        os.close(reading_end)

    def said(self) -> str:
        """Its one line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def __enter__(self) -> OfAPerson:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._writing_end)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.parametrize(
    "how", ["link", "dangling link", "hard link", "another user's file", "all may write", "a pipe"]
)
def test_a_pidfile_that_another_user_has_put_there_is_refused_and_not_read_out(
    how: str, alice: Person, mallory: Person, folder: Path, folders: list[Path]
) -> None:
    """Root overwrote what the link named, emptied it at the end, and told its first bytes in the log."""
    shared = mallory.folder("shared", 0o777)
    folders.append(shared)
    precious, pidfile = folder / "precious", shared / "sup.pid"
    if how != "dangling link":
        precious.write_text("root:x:precious")
    if how in ("link", "dangling link"):
        assert mallory.run(["ln", "-s", str(precious), str(pidfile)]).returncode == 0
    elif how == "hard link":
        # As mallory herself could on a machine with fs.protected_hardlinks=0.
        shutil.copy(precious, shared / "other")
        os.link(shared / "other", pidfile)
        precious = shared / "other"
    elif how == "a pipe":
        os.mkfifo(pidfile)
    else:
        pidfile.write_text("root:x:precious")
        if how == "another user's file":
            os.chown(pidfile, mallory.uid, mallory.gid)
        pidfile.chmod(0o666 if how == "all may write" else 0o644)
        precious = pidfile
    done = supervise(folder, "--user", alice.name, "--pidfile", str(pidfile))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(pidfile) in done.stderr
    assert "precious" not in done.stderr.replace(str(precious), "")
    if how == "dangling link":
        assert not precious.exists()
    elif how != "a pipe":
        assert precious.read_text() == "root:x:precious"


def test_a_pidfile_behind_a_link_of_another_user_is_refused(
    alice: Person, mallory: Person, folder: Path, folders: list[Path]
) -> None:
    """Root made a file wherever the link's owner liked, such as in /etc/cron.d."""
    shared, elsewhere = mallory.folder("shared", 0o755), folder / "elsewhere"
    folders.append(shared)
    elsewhere.mkdir()
    assert mallory.run(["ln", "-s", str(elsewhere), str(shared / "run")]).returncode == 0
    done = supervise(folder, "--user", alice.name, "--pidfile", str(shared / "run" / "sup.pid"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{shared / 'run'} is a link of user {mallory.uid}" in done.stderr
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("more", [[], ["--preload"]], ids=["forked", "preloaded"])
def test_a_worker_has_no_descriptor_of_the_master_s(
    more: list[str], start: Start, folder: Path, helpers: PyTaskHelpers
) -> None:
    """Through that of the pidfile a task of another user could write what only root may."""
    words = ["--workers", "2", "--pidfile", "here.pid", "--control-socket", "./c.sock", "--metrics-port", "0", *more]
    with start(*words) as supervisor:
        supervisor.wait_ready(2)

        def held(pid: int) -> dict[int, str]:
            links = {}
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    links[int(fd.name)] = os.readlink(fd)
                except FileNotFoundError:
                    continue
            return links

        masters = {link for fd, link in held(supervisor.pid).items() if fd > 2 and "pytask-log" not in link}
        assert any("here.pid" in link for link in masters)
        for pid in supervisor.workers().values():
            shared = {link for fd, link in held(pid).items() if fd > 2} & masters
            # Numbers of nameless things, such as [eventpoll], say nothing of who has them.
            assert not [link for link in shared if not link.startswith("anon_inode")], shared
        assert supervisor.stop() == 0


def test_what_the_embedded_server_writes_no_other_user_can_read(
    alice: Person, mallory: Person, folders: list[Path]
) -> None:
    data = alice.folder("data")
    folders.append(data)
    # From an earlier version, under an umask of 022.
    old = data / "appendonlydir"
    old.mkdir()
    os.chown(old, alice.uid, alice.gid)
    with OfAPerson(alice, data) as guardian:
        assert '"started": true' in guardian.said()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(data / "valkey.sock"))
            client.sendall(f"SET card {SECRET}\r\n".encode())
            assert client.recv(100) == b"+OK\r\n"
        wait_until(lambda: SECRET.encode() in b"".join(p.read_bytes() for p in data.rglob("*.aof")))
        found = mallory.run(["grep", "-r", "-a", "-l", SECRET, str(data)])
        assert found.stdout == ""
        assert "denied" in found.stderr
        for path in data.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path


def pytaskctl(person: Person, *words: str) -> Done:
    """As that person, whom our Python may be closed to."""
    run_ctl("--redis", "embedded:/nowhere/at/all", "queues")  # so that all is imported
    done = person.call(lambda: json.dumps(asdict(run_ctl(*words))))
    assert done, "it ended with an exception"
    return Done(**json.loads(done))


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o1777])
@pytest.mark.parametrize("program", ["embedded", "embedded-cluster"])
def test_a_folder_of_another_user_is_refused_by_the_server_and_by_clients(
    mode: int, program: str, alice: Person, mallory: Person, folders: list[Path]
) -> None:
    """Mallory's server answered there, got alice's tasks, and gave her mallory's."""
    shared = mallory.folder("shared", mode)
    folders.append(shared)
    with OfAPerson(alice, shared, PROGRAMS[program]) as guardian:
        said = guardian.said()
    assert f"{shared} belongs to user {mallory.name}" in said
    assert list(shared.iterdir()) == []
    with OfAPerson(mallory, shared) as theirs:
        assert '"started": true' in theirs.said() or mode != 0o755
        done = pytaskctl(alice, "--redis", f"{program}:{shared}", "start", "echo", "password=hunter2")
    assert done.code == 1
    assert f"{shared} belongs to user {mallory.name}" in done.err
    assert done.err.count("\n") == 1


def test_a_folder_of_ours_that_others_may_write_to_is_refused_with_the_remedy(
    alice: Person, folders: list[Path]
) -> None:
    data = alice.folder("data", 0o770)
    folders.append(data)
    with OfAPerson(alice, data) as guardian:
        assert f"chmod go-w {data}" in guardian.said()
    assert f"chmod go-w {data}" in pytaskctl(alice, "--redis", f"embedded:{data}", "queues").err
    data.chmod(0o750)
    with OfAPerson(alice, data) as guardian:
        assert '"started": true' in guardian.said()


@pytest.mark.parametrize(
    "name",
    ["valkey.log", "valkey.lock", "valkey.sock", "appendonlydir", "cluster", "plan.json", "appendonlydir/x.incr.aof"],
)
@pytest.mark.parametrize("how", ["link", "another user's"])
def test_no_link_and_no_file_of_another_user_in_the_folder_is_used(
    name: str, how: str, alice: Person, mallory: Person, folders: list[Path]
) -> None:
    """Left there while others could write to the folder."""
    data = alice.folder("data", 0o777)
    folders.append(data)
    precious = alice.home / "precious"
    precious.write_text("precious")
    os.chown(precious, alice.uid, alice.gid)
    at = data / name
    is_cluster = name in ("cluster", "plan.json")
    if name == "plan.json":
        at = data / "cluster" / name
    if at.parent != data:
        at.parent.mkdir()
        os.chown(at.parent, alice.uid, alice.gid)
        at.parent.chmod(0o777)
    made = mallory.run(["ln", "-s", str(precious), str(at)] if how == "link" else ["touch", str(at)])
    assert made.returncode == 0
    for each in (data, at.parent):
        each.chmod(0o700)
    with OfAPerson(alice, data, PROGRAM.with_name("cluster.py" if is_cluster else "server.py")) as guardian:
        said = guardian.said()
    assert f"{at} is a link" in said or f"{at} belongs to user {mallory.name}" in said, said
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("way", ["folder", "link", "link above", "group", "root's own"])
@pytest.mark.parametrize("program", ["embedded", "embedded-cluster"])
def test_a_folder_that_another_user_could_exchange_is_refused_by_the_server_and_by_clients(
    way: str, program: str, alice: Person, mallory: Person, folders: list[Path]
) -> None:
    """Alice's own folder, in a folder or behind a link of mallory's: she put hers in its place between two starts."""
    theirs = mallory.folder("theirs", 0o755)
    folders.append(theirs)
    data = alice.folder("data", 0o700)
    folders.append(data)
    named, culprit = data, theirs
    if way in ("folder", "group"):
        named = theirs / "data"
        data.rename(named)
    elif way.startswith("link"):
        culprit = theirs / "link"
        assert mallory.run(["ln", "-s", str(data), str(culprit)]).returncode == 0
        named = culprit / "inner" if way == "link above" else culprit
    if way == "group":
        os.chown(theirs, 0, mallory.gid)
        theirs.chmod(0o775)
    if way == "root's own":
        named = alice.folder("above") / "data"
        culprit = named.parent
        folders.append(culprit)
        named.mkdir(mode=0o700)
        guardian = OfAPerson(None, named, PROGRAMS[program])
    else:
        guardian = OfAPerson(alice, named, PROGRAMS[program])
    word = "others may write to" if way == "group" else "who could put another folder in the place of"
    with guardian:
        said = guardian.said()
        assert word in said
        assert str(culprit) in said
    url = f"{program}:{named}"
    done = run_ctl("--redis", url, "queues") if way == "root's own" else pytaskctl(alice, "--redis", url, "queues")
    assert done.code == 1
    assert word in done.err
    assert done.err.count("\n") == 1


def test_a_folder_behind_a_link_of_one_s_own_or_of_root_is_taken(alice: Person, folders: list[Path]) -> None:
    data = alice.folder("data", 0o700)
    folders.append(data)
    assert alice.run(["ln", "-s", str(data), str(alice.home / "mine")]).returncode == 0
    os.symlink(alice.home, data.with_name(f"{data.name}-of-root"))
    named = data.with_name(f"{data.name}-of-root") / "mine" / "inner"
    try:
        with OfAPerson(alice, named) as guardian:
            assert '"started": true' in guardian.said()
    finally:
        data.with_name(f"{data.name}-of-root").unlink()


def test_a_supervisor_of_another_user_is_not_asked_and_not_told(
    alice: Person, mallory: Person, folders: list[Path]
) -> None:
    shared = mallory.folder("shared", 0o1777)
    folders.append(shared)
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); "
        "__import__('os').chmod(sys.argv[1], 0o777); print('ready', flush=True); c, _ = s.accept(); print(c.recv(100))"
    )
    words = mallory.python("-c", program, str(shared / "x.sock"))
    with mallory.start(words, stdout=subprocess.PIPE) as theirs:
        assert theirs.stdout is not None
        assert theirs.stdout.readline() == "ready\n"
        done = pytaskctl(alice, "workers", "--control-socket", str(shared / "x.sock"))
        assert done.code == 1
        assert done.err == f"pytaskctl: {shared / 'x.sock'} belongs to another user\n"
        assert theirs.stdout.read() == "b''\n"


def test_the_lock_of_a_shared_folder_keeps_no_supervisor_from_its_socket(
    start: Start, mallory: Person, folders: list[Path]
) -> None:
    """``flock /tmp`` by anybody was exit code 2."""
    shared = mallory.folder("shared", 0o1777)
    folders.append(shared)
    words = ["flock", str(shared), "sh", "-c", "echo locked; sleep 60"]
    with mallory.start(words, stdout=subprocess.PIPE, start_new_session=True) as theirs, ExitStack() as stack:
        stack.callback(os.killpg, theirs.pid, 9)
        assert theirs.stdout is not None
        assert theirs.stdout.readline() == "locked\n"
        with start("--workers", "1", "--control-socket", str(shared / "x.sock")) as supervisor:
            supervisor.wait_ready(1)
            assert supervisor.stop() == 0
